"""Citation markers in streamed text: found, resolved against the numbered context, normalised.

Models write `[1]`, `[1][2]`, `[1, 2]` and `【1】`. What leaves here is `[n]` alone, one marker each, for numbers
that exist in the context; unknown numbers are dropped and counted. Text is held back from an opening bracket until
it is decided, so that half a marker is never shown.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

DECIDED = re.compile(r"[\[【]\s*(?:source\s*)?([1-9]\d{0,3}(?:\s*[,;]\s*[1-9]\d{0,3})*)\s*[\]】]", re.IGNORECASE)
# A dropped marker takes the blank before it along, so that one is held back too.
UNDECIDED = re.compile(r" ?(?:[\[【][\s\d,;source]{0,40})?\Z", re.IGNORECASE)


@dataclass
class MarkerResolver:
    """Feed it the text as it comes; it gives back what may be shown.

    known: the numbers of the context. dropped: how many unknown numbers were removed.
    """

    known: Collection[int]
    dropped: int = 0
    seen: list[int] = field(default_factory=list)
    _held: str = ""

    def feed(self, text: str) -> str:
        """The part of the answer that is decided now."""
        pending = self._held + text
        undecided = UNDECIDED.search(pending)
        cut = undecided.start() if undecided else len(pending)
        self._held = pending[cut:]
        return self._resolve(pending[:cut])

    def finish(self) -> str:
        """What was still held back when the answer ended: text after all."""
        rest, self._held = self._held, ""
        return self._resolve(rest)

    def _resolve(self, text: str) -> str:
        return re.sub(r"( ?)" + DECIDED.pattern, self._replace, text, flags=re.IGNORECASE)

    def _replace(self, match: re.Match[str]) -> str:
        numbers = [int(number) for number in re.split(r"\s*[,;]\s*", match[2])]
        known = [number for number in numbers if number in self.known]
        self.dropped += len(numbers) - len(known)
        self.seen.extend(known)
        return match[1] + "".join(f"[{number}]" for number in known) if known else ""
