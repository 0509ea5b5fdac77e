"""Seeds: what a new platform comes with. Apps register theirs; `manage.py seed` runs them all.

A seed is idempotent and never overwrites what an operator has changed. Names run in sorted order, so a seed that needs
another one's rows is named after it: `10-llm`, `20-prompts`, `30-knowledge`, `40-rag`.
"""

import uuid
from collections.abc import Callable

from core.registry import Registry

SEEDS: Registry[Callable[[], None]] = Registry("seed")

WORKSPACE_SEEDS: Registry[Callable[[uuid.UUID], None]] = Registry("workspace seed")
"""What every new workspace begins with; called with its id, inside the transaction that creates it."""
