"""One namespace of slugs in a workspace, for all kinds of objects that callers run by slug alone."""

from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils.translation import gettext as _

RESERVED = frozenset({"default-chat", "default-embedding"})
"""Stand for the default models in /v1."""

_LOCK_SPACE = 0x736C7567  # "slug": the first half of the advisory lock, so that it meets no other


def require_free_slug(row: Any) -> None:
    """Raise ValidationError when another kind of object has the slug of this new or renamed row.

    Rows that clashed before this rule are left alone until they are renamed; their prefixes tell them apart. Inside a
    transaction the workspace's namespace is held to its end, as no constraint reaches over several tables.
    """
    if _is_kept(row):
        return
    if row.slug in RESERVED:
        raise ValidationError({"slug": ValidationError(_("This name stands for a default model."), code="reserved")})
    if connection.in_atomic_block:
        _hold_namespace(row)
    for kind in apps.get_models():
        if getattr(kind, "SHARES_SLUGS", False) and not isinstance(row, kind) and _has(kind, row):
            text = _("A %(kind)s has this slug; prompt templates, RAG tools and agents share theirs.")
            named = text % {"kind": kind._meta.verbose_name}
            raise ValidationError({"slug": ValidationError(named, code="slug_taken")})


def _is_kept(row: Any) -> bool:
    stored = not row._state.adding
    return stored and type(row)._base_manager.filter(pk=row.pk, slug=row.slug).exists()


def _hold_namespace(row: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_SPACE, str(row.workspace_id)])


def _has(kind: Any, row: Any) -> bool:
    return bool(kind.objects.for_workspace(row.workspace_id).filter(slug=row.slug).exists())
