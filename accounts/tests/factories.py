"""People and workspaces for tests."""

import factory

from accounts.models import Membership, User, Workspace
from core.access import Principal, Role


class UserFactory(factory.django.DjangoModelFactory[User]):
    class Meta:
        model = User
        skip_postgeneration_save = True

    email = factory.Sequence(lambda n: f"person{n}@example.org")
    name = factory.Sequence(lambda n: f"Person {n}")
    password = factory.django.Password("correct horse battery")


class WorkspaceFactory(factory.django.DjangoModelFactory[Workspace]):
    class Meta:
        model = Workspace

    name = factory.Sequence(lambda n: f"Workspace {n}")
    slug = factory.Sequence(lambda n: f"workspace-{n}")


class MembershipFactory(factory.django.DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    workspace = factory.SubFactory(WorkspaceFactory)
    user = factory.SubFactory(UserFactory)
    role = Role.OPERATOR


def principal_of(membership: Membership) -> Principal:
    """The session principal of this member."""
    return Principal(
        user=membership.user,
        workspace_id=membership.workspace_id,
        workspace_slug=membership.workspace.slug,
        role=Role(membership.role),
    )
