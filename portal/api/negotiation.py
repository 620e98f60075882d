"""Which form an answer has: where what is asked for is not to be had, JSON, instead of a refusal that tells nothing of the thing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class JSONAnyway(DefaultContentNegotiation):
    """There is no browsable interface; a browser that asks for a page alone gets what there is."""

    def select_renderer(self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None) -> Any:  # type: ignore[override]
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            return renderers[0], renderers[0].media_type
