"""Tool calls that arrive in pieces, put together as they came."""

import uuid
from collections.abc import Hashable
from dataclasses import dataclass

from plugins.contracts import ToolCall


@dataclass
class _Begun:
    id: str
    name: str = ""
    arguments: str = ""


class CallCollector:
    """The calls of one answer. It joins and numbers; whether a call may run is decided in `llm.tool_calls`."""

    def __init__(self) -> None:
        self._begun: list[_Begun] = []
        self._places: dict[Hashable, _Begun] = {}

    def add(self, place: Hashable, *, id: str = "", name: str = "", arguments: str = "") -> None:
        """A piece of the call at this place of the answer. Another id at a known place begins another call, as some
        vendors number all their calls 0; None is the place of the call before, where there is no id."""
        call = self._places.get(place)
        if call is None or (id and call.id and id != call.id):
            call = self._places[place] = _Begun(id)
            self._begun.append(call)
        call.id = call.id or id
        call.name = call.name or name
        call.arguments += arguments

    def calls(self) -> tuple[ToolCall, ...]:
        """All that had begun, in their order; whoever sends no ids is given some."""
        return tuple(ToolCall(call.id or new_call_id(), call.name, call.arguments) for call in self._begun)


def new_call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
