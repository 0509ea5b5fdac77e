"""Examples of session, workspaces, keys and the audit log."""

from core.api.examples import Examples

SESSION = Examples(requests={"post": {"email": "you@example.org", "password": "correct horse battery staple"}})

WORKSPACES = Examples(
    requests={
        "create": {"name": "Legal", "slug": "legal"},
        "partial_update": {"name": "Lindenhof Instruments"},
    },
    path={"id": "default"},
)

API_KEYS = Examples(
    requests={
        "create": {"name": "Intranet search", "scopes": ["read", "run"], "expires_at": "2030-01-01T00:00:00Z"},
        "rotate": {"overlap_seconds": 3600},
    },
    path={"id": "api_keys_create#/id"},
)

AUDIT_EVENTS = Examples(path={"id": "audit_events_list#/results/0/id"})

MEMBERS = Examples(
    requests={
        "create": {"email": "colleague@example.org", "role": "viewer"},
        "partial_update": {"role": "operator"},
    },
    path={"id": "members_create#/id"},
)

GROUPS = Examples(
    requests={
        "create": {"name": "Reception", "slug": "reception", "members": ["you@example.org"]},
        "partial_update": {"description": "Whoever sits at the front desk."},
    },
    path={"id": "reception"},
)
