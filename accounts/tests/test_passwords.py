"""Setting a password by a link: by mail, from the command, from the admin; and inviting people."""

import json
import re
import statistics
import time
from datetime import timedelta
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.links import Purpose, token_for
from accounts.lockout import MAX_TRIES
from accounts.mail import mail_findings, send_link
from accounts.members import invitation_renew, member_add
from accounts.models import AuditEvent, FailedTries, Membership, User
from accounts.services import api_key_authenticate, api_key_issue, membership_set
from accounts.tasks import send_invitation, send_reset
from accounts.tests.factories import MembershipFactory, UserFactory, WorkspaceFactory, principal_of
from accounts.tests.smtp import mail_server
from core.access import Role
from core.exceptions import Conflict
from magnet.environment import Environment, SettingError
from magnet.settings.mail import mail

pytestmark = pytest.mark.django_db
PAGE = "/panel/password/"
OLD, NEW = "correct horse battery", "a quite different staple"


@pytest.fixture
def ann() -> User:
    return MembershipFactory(user=UserFactory(email="ann@example.org"), role=Role.USER).user


@pytest.fixture
def post_office(settings):
    """A real mail server; what the broker would hand to a worker is done when the test says so."""
    with mail_server() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.DEFAULT_FROM_EMAIL = "magnet@example.org"
        yield server


def set_with(token: str, password: str = NEW, client: Client | None = None, **extra):
    body = {"token": token, "password": password, "again": password}
    return (client or Client()).post(f"{PAGE}?set", body, **extra)


def ago(passed: timedelta):
    """What is signed inside was signed so long ago."""
    return mock.patch("django.core.signing.time.time", return_value=time.time() - passed.total_seconds())


def signs_in(email: str, password: str) -> bool:
    client = Client()
    return client.post("/panel/login/", {"username": email, "password": password}).status_code == 302


def published(capture) -> list[tuple[str, tuple[str, ...]]]:
    """The tasks that the request hands to the broker."""
    sent: list[tuple[str, tuple[str, ...]]] = []
    with mock.patch("core.queue.current_app.send_task", lambda name, args, **_: sent.append((name, tuple(args)))):
        for callback in capture:
            callback()
    return sent


# --- the link


def test_a_link_sets_the_password_ends_sessions_and_leaves_keys(ann):
    session = Client()
    session.force_login(ann)
    key = api_key_issue(user=ann, workspace=ann.workspaces.get(), name="kept").text
    ann.refresh_from_db()

    answer = set_with(token_for(ann, Purpose.RESET))

    assert (answer.status_code, answer["Location"]) == (302, "/panel/login/")
    assert session.get("/panel/").status_code == 302
    assert session.get("/api/v1/session/").status_code == 401
    assert api_key_authenticate(key) is not None
    assert (signs_in("ann@example.org", NEW), signs_in("ann@example.org", OLD)) == (True, False)
    assert AuditEvent.objects.filter(action="password_reset", object_id=ann.pk).count() == 1


@pytest.mark.parametrize(
    "kind", ["null", "empty", "garbage", "reused", "expired", "other user", "signed in", "changed"]
)
def test_a_link_that_is_not_good_changes_nothing(ann, kind):
    bob, token = UserFactory(), token_for(ann, Purpose.RESET)
    if kind in ("null", "empty", "garbage"):
        token = {"null": "null", "empty": "", "garbage": "x" * 5000}[kind]
    elif kind == "reused":
        assert set_with(token, OLD).status_code == 302
    elif kind == "expired":
        with ago(timedelta(minutes=61)):
            token = token_for(ann, Purpose.RESET)
    elif kind == "other user":
        token = token.replace(ann.pk.hex, bob.pk.hex)
    elif kind == "signed in":
        User.objects.filter(pk=ann.pk).update(last_login=timezone.now())
    else:
        User.objects.filter(pk=ann.pk).update(email="anna@example.org")

    before = set(User.objects.values_list("pk", "password"))
    answer = set_with(token)

    assert answer.status_code == 400
    assert set(User.objects.values_list("pk", "password")) == before


def test_a_deactivated_person_sets_no_password(ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)

    assert set_with(token_for(ann, Purpose.RESET)).status_code == 400


def test_an_invitation_lasts_a_week_and_a_reset_an_hour(ann):
    with ago(timedelta(days=6)):
        invitation, reset = token_for(ann, Purpose.INVITE), token_for(ann, Purpose.RESET)

    assert set_with(reset).status_code == 400
    assert set_with(invitation).status_code == 302


def test_a_weak_password_is_refused_and_the_link_stays_good(ann):
    token = token_for(ann, Purpose.RESET)

    assert "too common" in set_with(token, "password").content.decode()
    assert set_with(token).status_code == 302


def test_wrong_links_are_limited_however_the_caller_says_where_it_comes_from(ann):
    answers = [set_with("x.y.z", HTTP_X_FORWARDED_FOR=f"192.0.2.{n}").status_code for n in range(30)]

    assert answers == [400] * MAX_TRIES + [429] * (30 - MAX_TRIES)
    assert set_with(token_for(ann, Purpose.RESET)).status_code == 429
    assert signs_in("ann@example.org", OLD)


def test_the_page_takes_no_form_of_another_site(ann):
    answer = set_with(token_for(ann, Purpose.RESET), client=Client(enforce_csrf_checks=True))

    assert answer.status_code == 403
    assert signs_in("ann@example.org", OLD)


# --- by mail


def test_a_forgotten_password_is_set_by_mail(ann, post_office, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as capture:
        page = Client().post(PAGE, {"email": "ANN@example.org"})
    assert "a link is on its way" in page.content.decode()
    assert published(capture) == [("accounts.tasks.send_reset", (str(ann.pk),))]

    send_reset(str(ann.pk))

    (letter,) = post_office.mails
    assert (letter["To"], letter["From"]) == ("ann@example.org", "magnet@example.org")
    token = re.search(r"/panel/password/\?set#(\S+)", letter.get_content())[1]
    assert set_with(token).status_code == 302
    assert signs_in("ann@example.org", NEW)


def test_known_and_unknown_people_get_the_same_answer_and_the_same_work(
    ann, post_office, django_capture_on_commit_callbacks, django_assert_num_queries
):
    pages, tasks = [], []
    for email in ("ann@example.org", "nobody@example.org"):
        with django_capture_on_commit_callbacks() as capture:
            pages.append(Client().post(PAGE, {"email": email}).content)
        tasks.append([name for name, _ in published(capture)])
        send_reset(published(capture)[0][1][0])

    assert pages[0] == pages[1]
    assert tasks[0] == tasks[1]
    assert [letter["To"] for letter in post_office.mails] == ["ann@example.org"]
    assert "nobody@example.org" not in str(list(AuditEvent.objects.values()))


@pytest.mark.exhaustive
def test_known_and_unknown_people_wait_equally_long(ann, post_office, monkeypatch):
    monkeypatch.setattr("accounts.lockout.MAX_TRIES", 10_000)
    taken: dict[str, list[float]] = {"ann@example.org": [], "nobody@example.org": []}
    client = Client()

    for _ in range(200):
        for email, times in taken.items():
            begun = time.perf_counter()
            assert client.post(PAGE, {"email": email}).status_code == 200
            times.append(time.perf_counter() - begun)

    known, unknown = (statistics.median(times) for times in taken.values())
    assert abs(known - unknown) / max(known, unknown) < 0.2


def test_requests_for_one_address_are_limited(ann, post_office):
    answers = [Client().post(PAGE, {"email": "ann@example.org"}).status_code for _ in range(MAX_TRIES + 2)]

    assert answers == [200] * MAX_TRIES + [429] * 2


def test_nobodys_mailbox_is_flooded_from_many_addresses(ann, post_office):
    for _ in range(MAX_TRIES + 3):
        send_reset(str(ann.pk))

    assert len(post_office.mails) == MAX_TRIES


def test_a_mail_server_that_is_down_is_tried_again(ann, post_office):
    post_office.refuses = True

    with pytest.raises(OSError):
        send_link(ann, Purpose.RESET)
    assert post_office.mails == []


def test_without_a_mail_server_the_page_says_who_helps(ann):
    page = Client().get(PAGE).content.decode()

    assert "manage.py reset_password" in page
    assert Client().post(PAGE, {"email": "ann@example.org"}).status_code == 400
    assert FailedTries.objects.count() == 0


def test_the_doctor_says_whether_mail_goes_out(post_office, settings):
    assert [(one.subject, one.level.value) for one in mail_findings()] == [("Mail", "ok")]

    settings.EMAIL_PORT = 1
    assert [one.level.value for one in mail_findings()] == ["warning"]


# --- from administrators


def test_the_command_prints_a_link_that_works_once(ann, capsys):
    call_command("reset_password", "ANN@example.org")

    link = capsys.readouterr().out.strip()
    token = link.partition("#")[2]
    assert link.startswith("http://localhost:")
    assert PAGE in link
    assert [set_with(token).status_code for _ in range(2)] == [302, 400]


def test_the_command_says_who_is_unknown():
    with pytest.raises(CommandError, match="There is no user"):
        call_command("reset_password", "x@example.org")


def test_a_superuser_makes_a_link_in_the_admin_and_nobody_else_does(ann):
    boss, admin = Client(), Client()
    boss.force_login(UserFactory(is_superuser=True))
    admin.force_login(MembershipFactory(role=Role.ADMIN, workspace=ann.workspaces.get()).user)
    page = f"/admin/accounts/user/{ann.pk}/reset-link/"

    assert "Make the link" in boss.get(page).content.decode()
    answer = boss.post(page)
    token = re.search(r"set#([^<\s]+)", answer.content.decode())[1]

    assert "no-store" in answer["Cache-Control"]
    assert admin.post(page).status_code in (403, 404)
    assert set_with(token).status_code == 302


# --- invitations


def admin_of(workspace) -> Membership:
    return MembershipFactory(role=Role.ADMIN, workspace=workspace)


def test_an_unknown_address_is_invited_with_a_link_that_is_shown_once():
    admin = admin_of(WorkspaceFactory())

    added = member_add(principal=principal_of(admin), email="new@example.org", role=Role.USER)

    assert not added.membership.user.has_usable_password()
    assert not signs_in("new@example.org", "")
    assert set_with(added.invitation_link.partition("#")[2]).status_code == 302
    assert signs_in("new@example.org", NEW)


def test_with_a_mail_server_the_link_is_mailed_and_not_shown(post_office):
    admin = admin_of(WorkspaceFactory())

    added = member_add(principal=principal_of(admin), email="new@example.org", role=Role.USER)
    send_invitation(str(added.membership.user_id))

    assert (added.invitation_mailed, added.invitation_link) == (True, "")
    (letter,) = post_office.mails
    assert letter["To"] == "new@example.org"


def test_nobody_is_shown_the_way_into_an_account_of_another_workspace():
    """Whoever sees the link could use it, and would have the rights of the person everywhere."""
    first, second = admin_of(WorkspaceFactory()), admin_of(WorkspaceFactory())
    invited = member_add(principal=principal_of(first), email="new@example.org", role=Role.ADMIN).membership

    added = member_add(principal=principal_of(second), email="new@example.org", role=Role.USER)

    assert added.invitation_link == ""
    for membership, admin in ((added.membership, second), (invited, first)):
        with pytest.raises(Conflict):
            invitation_renew(membership, principal=principal_of(admin))


def test_whoever_has_an_account_is_not_invited_again(ann):
    admin = admin_of(ann.workspaces.get())

    with pytest.raises(Conflict, match="a member already"):
        member_add(principal=principal_of(admin), email="ann@example.org", role=Role.USER)
    with pytest.raises(Conflict, match="has an account already"):
        invitation_renew(ann.memberships.get(), principal=principal_of(admin))


def test_the_api_adds_changes_and_removes_members_and_keeps_the_last_admin():
    admin = admin_of(WorkspaceFactory())
    issued = api_key_issue(user=admin.user, workspace=admin.workspace, name="x")
    client = Client(headers={"Authorization": f"Bearer {issued.text}", "If-Match": "*"})

    def call(method: str, path: str = "", body: dict | None = None):
        return client.generic(method, f"/api/v1/members/{path}", json.dumps(body or {}), "application/json")

    made = call("POST", body={"email": "new@example.org", "role": "user"})
    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    assert "#" in made.json()["invitation_link"]
    one = made.json()["id"]
    assert "invitation_link" not in call("GET", f"{one}/").json()
    assert call("POST", body={"email": "new@example.org", "role": "admin"}).status_code == 409
    assert call("PATCH", f"{one}/", {"role": "operator", "email": "other@example.org"}).json()["role"] == "operator"
    assert call("PATCH", f"{admin.pk}/", {"role": "user"}).status_code == 409
    assert call("DELETE", f"{admin.pk}/").status_code == 409
    assert call("DELETE", f"{one}/").status_code == 204
    assert list(Membership.objects.values_list("user__email", "role")) == [(admin.user.email, "admin")]


def test_the_admin_shows_the_invitation_once():
    admin = admin_of(WorkspaceFactory())
    browser = Client()
    browser.force_login(admin.user)

    page = browser.post("/admin/accounts/membership/add/", {"email": "new@example.org", "role": "user"})
    assert "A link for new@example.org" in page.content.decode()
    invite = f"/admin/accounts/membership/{Membership.objects.get(role='user').pk}/invite/"
    again = browser.post(invite)
    assert "set#" in again.content.decode()

    membership_set(workspace=WorkspaceFactory(), user=User.objects.get(email="new@example.org"), role=Role.USER)
    assert browser.post(invite).status_code == 302


# --- EMAIL_URL


def parsed(text: str):
    return mail(Environment({"EMAIL_URL": text}), "magnet.example.org")


def test_the_address_of_the_mail_server_is_read():
    found = parsed("smtp+tls://ann%40x:p%2Fw@mail.example.org?from=magnet@example.org")

    assert (found.host, found.port, found.user, found.password) == ("mail.example.org", 587, "ann@x", "p/w")
    assert (found.starttls, found.ssl, found.sender) == (True, False, "magnet@example.org")
    assert parsed("smtps://mail.example.org").port == 465
    assert parsed("smtp://localhost:2525").sender == "magnet@magnet.example.org"
    assert parsed("").host == ""
    assert "p/w" not in repr(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mail.example.org", "must be a URL"),
        ("http://mail.example.org", "must be a URL"),
        ("smtp://mail.example.org:99999", "is not a URL"),
        ("smtp://ann:secret@mail.example.org", "in the clear"),
        ("smtps://mail.example.org?from=nobody", "must be an e-mail address"),
        ("smtps://mail.example.org/path", "takes nothing behind the host"),
    ],
)
def test_a_wrong_address_is_refused_in_one_line(text, reason):
    with pytest.raises(SettingError, match=reason) as refused:
        parsed(text)

    assert "secret" not in str(refused.value)


def test_a_deactivated_person_gets_no_link(ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)

    with pytest.raises(CommandError, match=r"ann@example\.org is deactivated"):
        call_command("reset_password", "ann@example.org")


def test_the_admin_says_that_an_invitation_is_mailed(post_office):
    boss = MembershipFactory(role=Role.ADMIN)
    client = Client()
    client.force_login(boss.user)

    body = {"email": "new@example.org", "role": "viewer"}
    answer = client.post("/admin/accounts/membership/add/", body, follow=True)

    assert "An invitation to new@example.org is on its way." in answer.content.decode()
