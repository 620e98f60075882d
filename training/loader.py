"""Batches made in a thread of their own while the model works, and the share of the time that the model waited for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
AHEAD = 2
"""Batches that wait ready; more only cost memory."""
_END = object()


class Ahead(Generic[T]):
    """Iterates over what another iterator makes, up to two items ahead of its reader, in order.

    What the maker raises is raised at the reader. Closing (or leaving the `with` block) stops the maker.
    `waiting`: share of the reader's time since the first item was asked for that it spent waiting, in [0, 1].
    """

    def __init__(self, made: Iterator[T]) -> None:
        self._ready: queue.Queue[object] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._waited, self._began = 0.0, 0.0
        self._maker = threading.Thread(target=self._make, args=(made,), name="batches", daemon=True)

    def __enter__(self) -> Ahead[T]:
        self._began = time.monotonic()
        self._maker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._maker.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            asked = time.monotonic()
            item = self._ready.get()
            self._waited += time.monotonic() - asked
            if item is _END:
                return
            if isinstance(item, _Failed):
                raise item.error
            yield item  # type: ignore[misc]

    @property
    def waiting(self) -> float:
        return self._waited / max(1e-9, time.monotonic() - self._began)

    def _make(self, made: Iterator[T]) -> None:
        try:
            for item in made:
                if not self._hand(item):
                    return
            self._hand(_END)
        except BaseException as error:
            self._hand(_Failed(error))

    def _hand(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error
