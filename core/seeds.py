"""Seeds: what a new platform comes with. Apps register theirs; `manage.py seed` runs them all.

A seed is idempotent and never overwrites what an operator has changed. Names run in sorted order, so a seed that needs
another one's rows is named after it: `10-llm`, `20-prompts`, `30-knowledge`, `40-rag`.
"""

from collections.abc import Callable

from core.registry import Registry

SEEDS: Registry[Callable[[], None]] = Registry("seed")
