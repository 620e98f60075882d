"""One HTTP connection to the portal that is made again when it breaks. The token goes into a header and nowhere else."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

_SECONDS = 60.0
_BLOCK = 1 << 16
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Broken(Exception):
    """It may go well another time: the line broke, or the portal is away, busy or full."""


class Refused(Exception):
    """It will not go well by trying again; the text says why."""


class Stop(Refused):
    """Nothing more can be sent at all: the token has ended, or the upload was closed."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    said: dict[str, Any]

    @property
    def message(self) -> str:
        return str(self.said.get("message", "")) or f"The portal answered {self.status}."


class Line:
    """Not for several threads at once: each has its own."""

    def __init__(self, server: str, token: str) -> None:
        self.parts = urlsplit(server)
        if self.parts.scheme not in ("http", "https") or not self.parts.hostname:
            raise Refused(f"'{server}' is no address of a portal. Give one like https://winnow.example.org.")
        if self.parts.scheme == "http" and self.parts.hostname not in _LOCAL:
            raise Refused("Use https: over plain http everybody on the way could read the token.")
        self._token = token
        self._connection: http.client.HTTPConnection | None = None

    def ask(
        self, method: str, path: str, body: bytes | IO[bytes] | None = None, headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> Reply:  # fmt: skip
        """The portal's reply. Raises Broken for what passes, Stop where no further request can succeed; all other refusals are replies."""
        sent = {"Authorization": f"Token {self._token}", "Accept": "application/json", **(headers or {})}
        if length is not None:
            sent["Content-Length"] = str(length)
        try:
            reply = self._ask(method, path, body, sent)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Broken(f"The line to the portal broke ({type(error).__name__}).") from error
        if reply.status in (401, 403):
            raise Stop(reply.message)
        if reply.status in (408, 425, 429) or reply.status >= 500:
            raise Broken(reply.message)
        if reply.status == 409 and reply.said.get("code") == "wrong_state":
            raise Stop(reply.message)
        return reply

    def _ask(self, method: str, path: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]) -> Reply:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(method, path, body, dict(headers))
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.will_close:
            self.close()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, _parsed(text))

    def _connect(self) -> http.client.HTTPConnection:
        host, port = str(self.parts.hostname), self.parts.port
        if self.parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=_SECONDS, blocksize=_BLOCK, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=_SECONDS, blocksize=_BLOCK)

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
