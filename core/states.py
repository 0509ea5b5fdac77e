"""State machines: one transition table per model; an illegal move raises."""

from collections.abc import Mapping
from typing import ClassVar

from django.db import models

from core.exceptions import IllegalTransition

Transitions = Mapping[str, frozenset[str]]


class StatefulModel(models.Model):
    """A row with a `status` field whose moves are listed in TRANSITIONS (from → allowed targets)."""

    TRANSITIONS: ClassVar[Transitions] = {}

    class Meta:
        abstract = True

    def move_to(self, status: str) -> None:
        """Set the status, or raise IllegalTransition. Saving is the caller's, in its transaction."""
        current = str(getattr(self, "status"))  # noqa: B009  # declared by the concrete model, with its choices
        if status not in self.TRANSITIONS.get(current, frozenset()):
            name = self._meta.verbose_name
            raise IllegalTransition(f"This {name} is {current} and cannot become {status}.")
        setattr(self, "status", status)  # noqa: B010  # as above

    @classmethod
    def is_terminal(cls, status: str) -> bool:
        return not cls.TRANSITIONS.get(status)
