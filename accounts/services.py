"""Writes of people, workspaces, memberships and keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounts.keys import new_key, parse_key
from accounts.models import ApiKey, Membership, User, Workspace
from core.access import Permission, Principal, Role, Scope
from core.exceptions import InvalidInput, NotFound, PermissionRefused
from core.versions import save_version

LAST_USED_STEP = timedelta(minutes=1)


@dataclass(frozen=True)
class IssuedKey:
    """A new key and its text, which is shown once and stored nowhere."""

    key: ApiKey
    text: str


@transaction.atomic
def workspace_create(*, actor: User, name: str, slug: str) -> Workspace:
    """A new workspace with its creator as admin. Superusers only; raises PermissionRefused else."""
    if not actor.is_superuser:
        raise PermissionRefused("Only a superuser may create a workspace.")
    workspace = Workspace(name=name, slug=slug)
    workspace.full_clean()
    workspace.save()
    membership_set(workspace=workspace, user=actor, role=Role.ADMIN)
    return workspace


def workspace_rename(
    workspace: Workspace, *, principal: Principal, name: str, expected: int | None = None
) -> Workspace:
    principal.require(Permission.ADMINISTER)
    workspace.name = name
    return save_version(workspace, expected=expected, fields=["name"])


def membership_set(*, workspace: Workspace, user: User, role: Role) -> Membership:
    """Give the user this role in the workspace, instead of the one before."""
    membership, _ = Membership.objects.update_or_create(workspace=workspace, user=user, defaults={"role": role})
    return membership


def api_key_issue(
    *,
    user: User,
    workspace: Workspace,
    name: str,
    scopes: Iterable[Scope] = tuple(Scope),
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Make a key for the user. Raises InvalidInput for a user outside the workspace or a time in the past."""
    if not Membership.objects.filter(user=user, workspace=workspace).exists():
        raise InvalidInput(f"{user.email} has no role in the workspace '{workspace.slug}'.")
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput("The expiry is in the past.")
    parts = new_key()
    key = ApiKey(
        workspace=workspace,
        user=user,
        name=name,
        public_id=parts.public_id,
        secret_hash=parts.secret_hash,
        scopes=sorted({scope.value for scope in scopes}),
        expires_at=expires_at,
    )
    key.full_clean()
    key.save()
    return IssuedKey(key, str(parts))


def api_key_revoke(key: ApiKey) -> ApiKey:
    """Stop the key for good. Doing it twice changes nothing."""
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at", "updated_at"])
    return key


def api_key_authenticate(text: str) -> ApiKey | None:
    """The live key that this text proves, else None; notes the use at most once a minute."""
    parts = parse_key(text)
    if parts is None:
        return None
    key = ApiKey._unscoped.select_related("user").filter(public_id=parts.public_id).first()
    if key is None or not parts.proves(key.secret_hash) or key.state != "active" or not key.user.is_active:
        return None
    _note_use(key)
    live: ApiKey = key
    return live


def _note_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > LAST_USED_STEP:
        ApiKey._unscoped.filter(pk=key.pk).update(last_used_at=now)


@transaction.atomic
def first_admin_ensure(*, email: str, password: str) -> bool:
    """Create the first superuser and the workspace Default. True when the user was created now."""
    workspace, _ = Workspace.objects.get_or_create(slug="default", defaults={"name": "Default"})
    if User.objects.filter(is_superuser=True).exists():
        return False
    user = User.objects.create_superuser(email, password)
    membership_set(workspace=workspace, user=user, role=Role.ADMIN)
    return True


def command_user(email: str | None, workspace: Workspace) -> User:
    """The user on whose behalf a command acts: the one named, else the first superuser, who is made admin of the
    workspace when without a role in it."""
    if email:
        user = User.objects.filter(email__iexact=email, is_active=True).first()
        if user is None:
            raise NotFound(f"There is no active user '{email}'.")
        return user
    user = User.objects.filter(is_superuser=True, is_active=True).order_by("created_at").first()
    if user is None:
        raise NotFound("There is no superuser yet.", hint="Run `make run` once, or `manage.py createsuperuser`.")
    if not Membership.objects.filter(user=user, workspace=workspace).exists():
        membership_set(workspace=workspace, user=user, role=Role.ADMIN)
    return user
