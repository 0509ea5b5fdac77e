"""Groups of members, in the services and in the admin."""

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from accounts.groups import group_create, group_update
from accounts.models import AuditEvent, Group, Membership
from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.api.serializers import MAX_REFERENCES

pytestmark = pytest.mark.django_db
LIST = reverse("admin:accounts_group_changelist")
ADD = reverse("admin:accounts_group_add")


@pytest.fixture
def boss() -> Membership:
    return MembershipFactory(role=Role.ADMIN)


@pytest.fixture
def ann(boss: Membership) -> Membership:
    return MembershipFactory(workspace=boss.workspace, role=Role.USER, user__email="ann@example.org")


@pytest.fixture
def stranger() -> Membership:
    return MembershipFactory()


@pytest.fixture
def office(boss: Membership) -> Client:
    client = Client()
    client.force_login(boss.user)
    return client


def page(name: str, group: Group) -> str:
    return reverse(f"admin:accounts_group_{name}", args=[group.pk])


def test_a_group_is_made_changed_and_deleted_in_the_admin(office, boss, ann):
    office.post(ADD, {"name": "Sales", "slug": "sales", "members": [str(ann.pk)]})
    group = Group.objects.for_workspace(boss.workspace_id).get()
    listed = office.get(LIST).content.decode()
    office.post(page("change", group), {"name": "Sellers", "slug": "sales", "expected_version": group.version})
    group.refresh_from_db()
    changed = (group.name, list(group.members.all()))
    office.post(page("delete", group), {"post": "yes"})

    assert "Sales" in listed
    assert changed == ("Sellers", [])
    assert not Group.objects.for_workspace(boss.workspace_id).exists()
    events = AuditEvent.objects.filter(workspace_id=boss.workspace_id, object_type="group").order_by("created_at")
    assert list(events.order_by("created_at").values_list("action", flat=True)) == ["create", "update", "delete"]


def test_a_group_takes_members_of_its_own_workspace_only(boss, ann, stranger):
    principal = principal_of(boss)

    with pytest.raises(ValidationError, match="another workspace"):
        group_create(principal=principal, values={"name": "Sales", "slug": "sales", "members": [ann, stranger]})
    group = group_create(principal=principal, values={"name": "Sales", "slug": "sales", "members": [ann]})
    with pytest.raises(ValidationError, match="another workspace"):
        group_update(group, principal=principal, values={"members": [stranger]})

    assert list(group.members.all()) == [ann]


def test_a_group_of_too_many_is_refused_by_the_api(client_of, boss, ann):
    body = {"name": "All", "slug": "all", "members": [str(ann.pk)] * (MAX_REFERENCES + 1)}

    answer = client_of(boss).post("/api/v1/groups/", body, format="json")

    assert answer.status_code == 400
    assert f"At most {MAX_REFERENCES} of them." in answer.json()["errors"][0]["detail"]


def test_a_list_of_members_is_found_by_one_query(client_of, boss, ann, django_assert_max_num_queries):
    client = client_of(boss)
    client.post("/api/v1/groups/", {"name": "First", "slug": "first"}, format="json")
    people = [MembershipFactory(workspace=boss.workspace) for _ in range(20)]
    mixed = [str(ann.pk), ann.user.email.upper(), *(one.user.email for one in people)]

    with django_assert_max_num_queries(25):
        answer = client.post("/api/v1/groups/", {"name": "All", "slug": "all", "members": mixed}, format="json")
    unknown = client.post("/api/v1/groups/", {"name": "N", "slug": "n", "members": ["who@x.test"]}, format="json")
    no_list = client.post("/api/v1/groups/", {"name": "N", "slug": "n", "members": "who@x.test"}, format="json")

    assert len(answer.json()["members"]) == 21
    assert "There is no member 'who@x.test' here." in unknown.json()["errors"][0]["detail"]
    assert (unknown.status_code, no_list.status_code) == (400, 400)


def test_slugs_are_compared_as_they_are_written(client_of, boss):
    group_create(principal=principal_of(boss), values={"name": "Sales", "slug": "Sales"})
    body = {"name": "T", "slug": "t", "variant": {"messages": [{"role": "user", "content": "Hello"}]}}
    client = client_of(boss)

    named = client.post("/api/v1/prompt-templates/", {**body, "shared_with_groups": ["Sales"]}, format="json")
    other = client.post(
        "/api/v1/prompt-templates/", {**body, "slug": "u", "shared_with_groups": ["sales"]}, format="json"
    )

    assert (named.status_code, other.status_code) == (201, 400), named.content
