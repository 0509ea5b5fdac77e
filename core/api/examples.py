"""One request and one answer of each operation: shown by the documentation, and played by a test.

Requests are written by hand, beside the views, in `<app>/api/examples.py`. Answers are recorded from the running
platform by `make examples`, into `<app>/api/answers.json`, so that none is invented. All of them tell one story, over
what a new platform comes with; `magnet/tests/test_examples.py` plays it against a web process.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings


@dataclass(frozen=True)
class Examples:
    """Of one view.

    requests: bodies by action (of a viewset) or by method (`post` of another view). path: values of the path's
    parameters; paths: the same for single actions. A value such as `rag_tools_query#/id` is what the example of that
    operation answers at that place.
    """

    requests: Mapping[str, Any] = field(default_factory=dict)
    path: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def path_of(self, action: str) -> dict[str, Any]:
        return {**self.path, **self.paths.get(action, {})}


NONE = Examples()


@dataclass(frozen=True)
class Answer:
    """What an operation answered. events: the beginning of the stream that it can answer too."""

    status: int
    body: Any = None
    events: str | None = None


def is_reference(value: Any) -> bool:
    """Whether it names a place in the answer of another example."""
    return isinstance(value, str) and "#/" in value


def place_in(answer: Any, reference: str) -> Any:
    """What stands at the place that the reference names. Raises LookupError where there is none."""
    for name in reference.partition("#/")[2].split("/"):
        answer = answer[int(name)] if isinstance(answer, list) else answer[name]
    return answer


@cache
def recorded() -> dict[str, Answer]:
    """All recorded answers, by operation."""
    found: dict[str, Answer] = {}
    for app in settings.OUR_APPS:
        path = settings.BASE_DIR / app / "api" / "answers.json"
        if path.exists():
            found |= {name: Answer(**answer) for name, answer in json.loads(path.read_text()).items()}
    return found


def as_recorded(value: Any) -> Any:
    """A value of a path as the documentation shows it; None for a reference to what is not recorded."""
    if not is_reference(value):
        return value
    answer = recorded().get(value.partition("#/")[0])
    return None if answer is None else place_in(answer.body, value)
