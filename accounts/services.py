"""Writes of people, workspaces, memberships and keys."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.keys import new_key, parse_key
from accounts.lockout import count_failure, require_unlocked, tries_of
from accounts.models import ApiKey, FailedTries, Membership, SeedRecord, User, Workspace
from accounts.selectors import key_by_public_id
from core.access import Permission, Principal, Role, Scope
from core.audit import audit, delete_row, difference, save_new, shown, snapshot
from core.compiled import execute
from core.exceptions import Conflict, InvalidInput, NotFound, PermissionRefused
from core.faults import fault
from core.seeds import WORKSPACE_SEEDS
from core.versions import save_version

LAST_USED_STEP = timedelta(minutes=1)
NO_HASH = "0" * 64
MAX_OVERLAP = timedelta(days=30)


@dataclass(frozen=True)
class IssuedKey:
    """A new key and its text, which is shown once and stored nowhere."""

    key: ApiKey
    text: str


@transaction.atomic
def workspace_create(*, actor: User, name: str, slug: str) -> Workspace:
    """A new workspace with its creator as admin. Superusers only; raises PermissionRefused else."""
    require_superuser(actor)
    workspace = Workspace(name=name, slug=slug)
    save_new(workspace)
    membership_set(workspace=workspace, user=actor, role=Role.ADMIN)
    for _, seed in WORKSPACE_SEEDS.items():
        seed(workspace.pk)
    return workspace


@transaction.atomic
def seed_once(workspace_id: uuid.UUID, name: str, create: Callable[[], None]) -> bool:
    """Create a seed of a workspace, unless it has got it before. True when it was created now."""
    _, new = SeedRecord.objects.get_or_create(workspace_id=workspace_id, name=name)
    if new:
        create()
    return new


def workspace_rename(
    workspace: Workspace, *, principal: Principal, name: str, expected: int | None = None
) -> Workspace:
    principal.require(Permission.ADMINISTER)
    workspace.name = name
    return save_version(workspace, expected=expected, fields=["name"])


@transaction.atomic
def membership_set(*, workspace: Workspace, user: User, role: Role) -> Membership:
    """Give the user this role in the workspace, instead of the one before. Raises Conflict for the last admin."""
    found = Membership.objects.filter(workspace=workspace, user=user).first()
    if found is None:
        return save_new(Membership(workspace=workspace, user=user, role=role))
    return membership_change(found, role=role)


@transaction.atomic
def membership_change(membership: Membership, *, role: Role, expected: int | None = None) -> Membership:
    """Give the member another role. Raises Conflict for the last admin: nobody could undo it."""
    if role != Role.ADMIN:
        _keep_an_admin(membership)
    membership.role = role
    return save_version(membership, expected=expected, fields=["role"])


@transaction.atomic
def membership_remove(membership: Membership) -> None:
    """Take the person out of the workspace; their keys for it stop working. Raises Conflict for the last admin."""
    _keep_an_admin(membership)
    delete_row(membership)


def _keep_an_admin(leaving: Membership) -> None:
    admins = Membership.objects.select_for_update().filter(workspace_id=leaving.workspace_id, role=Role.ADMIN)
    if [one.pk for one in admins] == [leaving.pk]:
        raise Conflict("This is the workspace's last admin.", hint="Make somebody else admin first.")


@transaction.atomic
def user_create(*, actor: User, email: str, name: str, password: str, **flags: bool) -> User:
    """A new account. Superusers only; raises PermissionRefused else."""
    require_superuser(actor)
    user = User.objects.create_user(email, password, name=name, **flags)
    audit("create", user, changes={name: {"after": value} for name, value in {"email": email, **flags}.items()})
    return user


@transaction.atomic
def user_update(user: User, *, actor: User, values: Mapping[str, Any]) -> User:
    """Change an account; an empty password keeps the present one. Superusers only, and not their own rights away."""
    require_superuser(actor)
    if user == actor and not (values.get("is_active", True) and values.get("is_superuser", True)):
        raise Conflict("You cannot switch off your own account or rights.", hint="Ask another superuser.")
    before = snapshot(User.objects.select_for_update().get(pk=user.pk))
    for field, value in values.items():
        if field != "password":
            setattr(user, field, value)
    if values.get("password"):
        user.set_password(values["password"])
    user.full_clean()
    user.save()
    audit("update", user, changes=difference(user, before))
    return user


def require_superuser(actor: User) -> None:
    """Raises PermissionRefused for everybody else."""
    if not actor.is_superuser:
        raise PermissionRefused("Only a superuser may do this.")


@transaction.atomic
def api_key_issue(
    *,
    user: User,
    workspace: Workspace,
    name: str,
    scopes: Iterable[Scope] = tuple(Scope),
    expires_at: datetime | None = None,
    tools: Iterable[uuid.UUID] = (),
) -> IssuedKey:
    """Make a key for the user. Raises InvalidInput for a user outside the workspace or a time in the past.

    tools: ids of those that the key may use, as `accounts.sharing.tools_for_key` allows them; none: all of its user.
    """
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
        tools=sorted(set(tools)),
        expires_at=expires_at,
    )
    save_new(key)
    return IssuedKey(key, str(parts))


@transaction.atomic
def api_key_revoke(key: ApiKey) -> ApiKey:
    """Stop the key for good. Doing it twice changes nothing."""
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at", "updated_at"])
        audit("revoke", key)
    return key


@transaction.atomic
def api_key_rotate(key: ApiKey, *, overlap: timedelta, expires_at: datetime | None = None) -> IssuedKey:
    """Issue the successor of a key; the old one works for `overlap` more, and never longer than it would have.

    The successor lives as long as the old one was made for, unless `expires_at` says otherwise. Raises Conflict for a
    key that has ended, InvalidInput for an overlap below zero or above 30 days.
    """
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise InvalidInput("The overlap must be from 0 to 30 days.")
    old: ApiKey = ApiKey._unscoped.select_for_update().get(pk=key.pk)
    if old.state != "active":
        raise Conflict(f"This key is {old.state}.", hint="Create a new one.")
    now = timezone.now()
    if expires_at is None and old.expires_at is not None:
        expires_at = now + (old.expires_at - old.created_at)
    issued = api_key_issue(
        user=key.user,
        workspace=key.workspace,
        name=old.name,
        scopes=[Scope(scope) for scope in old.scopes],
        tools=old.tools,
        expires_at=expires_at,
    )
    fault("key.successor_issued")
    if overlap:
        old.expires_at = min(now + overlap, old.expires_at or now + overlap)
        old.save(update_fields=["expires_at", "updated_at"])
        audit("rotate", old, changes={"expires_at": {"after": shown(old.expires_at)}})
    else:
        api_key_revoke(old)
    return issued


def api_key_authenticate(text: str, network: str = "") -> ApiKey | None:
    """The live key that this text proves, else None; notes the use at most once a minute.

    Raises TooManyTries after many wrong secrets for this key id from this address. An id that does not exist is
    treated like one that does, in work and in locks.
    """
    parts = parse_key(text)
    if parts is None:
        return None
    tries, keys = execute(
        tries_of(FailedTries.Kind.API_KEY, parts.public_id, network),
        key_by_public_id.filled(public_id=parts.public_id),
    )
    require_unlocked(tries)
    key = keys[0] if keys else None
    if not parts.proves(key.secret_hash if key is not None else NO_HASH):
        locked = count_failure(FailedTries.Kind.API_KEY, parts.public_id, network)
        if key is not None and locked:
            audit("locked_out", key)
        return None
    if key is None or key.state != "active" or not key.user.is_active:
        return None
    _note_use(key)
    return key


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
