"""The backend itself, where Django looks for it."""

from __future__ import annotations

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is kept from request to request."""

    def is_usable(self) -> bool:
        """Whether the kept connection still leads somewhere. A server that went away has closed it, which shows at the socket without a
        word being sent; only where something is to be read there is the server asked, as Django asks it before every request."""
        if self.connection is None or self.connection.closed:
            return False
        if not _readable(self.connection.fileno()):
            return True
        return bool(super().is_usable())


def _readable(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
