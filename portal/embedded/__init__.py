"""The whole portal as child processes of one, for `manage.py up`; its Postgres and Redis serve the tests too. No Django here."""

from portal.embedded.processes import StartFailed, die_with_parent
from portal.embedded.servers import APP, OWNER, Postgres, Redis

__all__ = ["APP", "OWNER", "Postgres", "Redis", "StartFailed", "die_with_parent"]
