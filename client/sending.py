"""One file to the portal by tus: as far as it came, and on from there after every break."""

from __future__ import annotations

import base64
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from client.folder import Item
from client.line import Broken, Line, Refused, Reply

SMALL = 1_000_000
"""A file up to so many bytes comes with its creation, in one request."""
_PIECE = "application/offset+octet-stream"
_TUS = {"Tus-Resumable": "1.0.0"}
_LONGEST_PAUSE = 30.0


class Paused(Exception):
    """Ctrl-C: what arrived is kept."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file: the portal's word, or `not sent` and why."""

    name: str
    outcome: str
    message: str = ""

    @property
    def is_in(self) -> bool:
        return self.outcome in ("accepted", "duplicate")


@dataclass
class Patience:
    """How long a line may stay broken; told of every break. `stop` ends all waiting."""

    seconds: float
    stop: threading.Event
    tell: Callable[[str], None]

    def wait(self, why: str, tries: int, since: float) -> None:
        """Wait before the next try. Raises Refused once it has lasted too long, Paused when told to stop."""
        if time.monotonic() - since > self.seconds:
            raise Refused(f"{why} Given up after {self.seconds / 60:.0f} minutes; run it again later.")
        self.tell(f"{why} Trying again ...")
        if self.stop.wait(min(_LONGEST_PAUSE, 0.5 * 2**tries) * (0.5 + random.random())):
            raise Paused


class Sender:
    """Sends files to one upload, one after the other."""

    def __init__(self, line: Line, base: str, patience: Patience) -> None:
        self.line, self.base, self.patience = line, base, patience
        self._offset = 0

    def send(self, item: Item, address: str | None) -> Outcome:
        """The file's outcome. `address`: where an earlier run left it. Raises Stop, Paused; other refusals are outcomes."""
        tries, since, self._offset = 0, time.monotonic(), 0
        try:
            while not self.patience.stop.is_set():
                before = self._offset
                try:
                    address, reply = self._go_on(item, address) if address else self._create(item)
                    if reply is not None:
                        return _outcome(item, reply)
                    tries, since = 0, time.monotonic()
                except Broken as broken:
                    if self._offset > before:
                        tries, since = 0, time.monotonic()
                    self.patience.wait(str(broken), tries, since)
                    tries += 1
            raise Paused
        except OSError as error:
            return Outcome(item.name, "not sent", f"The file cannot be read ({error.strerror}).")

    def _create(self, item: Item) -> tuple[str | None, Reply | None]:
        """A new file at the portal, with all of its bytes if they are few."""
        body = _read(item) if item.size <= SMALL else b""
        said = {"name": item.name, "mark": item.mark}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items())
        headers = {**_TUS, "Upload-Length": str(item.size), "Upload-Metadata": metadata, "Content-Type": _PIECE}
        reply = self.line.ask("POST", self.base, body, headers)
        if reply.said.get("outcome"):
            return None, reply
        if reply.status != 201:
            raise Refused(reply.message)
        return reply.headers["location"], None

    def _go_on(self, item: Item, address: str) -> tuple[str | None, Reply | None]:
        """Ask how far it is, and send the rest."""
        reply = self.line.ask("HEAD", address, headers=_TUS)
        if reply.status in (404, 410):
            return None, None
        if reply.status >= 400:
            raise Broken(reply.message)
        if outcome := reply.headers.get("winnow-outcome"):
            return address, Reply(200, reply.headers, {"outcome": outcome})
        self._offset = offset = int(reply.headers["upload-offset"])
        headers = {**_TUS, "Upload-Offset": str(offset), "Content-Type": _PIECE}
        with open(item.path, "rb") as file:
            file.seek(offset)
            reply = self.line.ask("PATCH", address, file, headers, length=item.size - offset)
        if reply.status in (404, 410):
            return None, None
        if reply.status in (409, 423):
            raise Broken(reply.message)
        return address, reply if reply.said.get("outcome") else None


def _read(item: Item) -> bytes:
    data = item.path.read_bytes()
    if len(data) != item.size:
        raise Refused("The file changed while it was sent. Run it again.")
    return data


def _outcome(item: Item, reply: Reply) -> Outcome:
    return Outcome(item.name, str(reply.said["outcome"]), str(reply.said.get("message", "")))
