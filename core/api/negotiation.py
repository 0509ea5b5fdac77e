"""Choosing the form of an answer where there is only one."""

from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request


class OneForm(DefaultContentNegotiation):
    """Whatever the caller accepts, it gets the form that there is."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type
