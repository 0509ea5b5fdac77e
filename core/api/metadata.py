"""What OPTIONS answers."""

from typing import Any

from rest_framework.metadata import SimpleMetadata
from rest_framework.request import Request


class ViewMetadata(SimpleMetadata):
    """What the view is and which forms it takes. Its fields stand in the OpenAPI description; some views have none."""

    def determine_actions(self, request: Request, view: Any) -> dict[str, Any]:
        del request, view
        return {}
