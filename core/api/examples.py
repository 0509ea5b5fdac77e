"""One request and one answer of each operation: shown by the documentation, sent by a test.

They stand beside the views, in `<app>/api/examples.py`, and a view names its own as `examples`. All of them tell one
story: what `create` sends is the object that `row` shows, and an id that one example names is the same object wherever
it stands. `magnet/tests/test_examples.py` plays that story against a running web process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})
ROW_ACTIONS = frozenset({"retrieve", "create", "partial_update"})


@dataclass(frozen=True)
class Examples:
    """Of one view.

    row: the object as `retrieve`, `create` and `partial_update` answer it; `list` answers a page of it.
    requests, answers: by action (of a viewset) or by method (`get`, `post` of another view); an answer that is not
    the row's. listed: a row of the list, where that shows less. path: values of the path's parameters; without `id`
    there, it is the row's slug or id. A text is an answer as it is: a stream of events, or the content of a file.
    """

    row: Mapping[str, Any] | None = None
    listed: Mapping[str, Any] | None = None
    requests: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    path: Mapping[str, Any] = field(default_factory=dict)

    def request(self, action: str) -> Any:
        """The body that the example of this action sends; None when it has none."""
        return self.requests.get(action)

    def answer(self, action: str) -> Any:
        """What this action answers; None when it is not told, or when it answers nothing."""
        if action in self.answers:
            return self.answers[action]
        if action == "list":
            row = self.listed or self.row
            return None if row is None else {"results": [row], "next": None, "prev": None}
        return self.row if action in ROW_ACTIONS else None

    def parameter(self, name: str) -> Any:
        """The value of a path's parameter; None when no example tells it."""
        if name in self.path or name != "id" or self.row is None:
            return self.path.get(name)
        return self.row.get("slug") or self.row.get("id")


NONE = Examples()
