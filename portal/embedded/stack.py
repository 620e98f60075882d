"""`manage.py up`: servers, migrations, web, workers; all of it or nothing. Ends all of it when told to."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from portal.embedded import place
from portal.embedded.children import Child, Children
from portal.embedded.environment import FILE, ROOT
from portal.embedded.processes import Keeper, StartFailed, die_with_parent
from portal.embedded.servers import OWNER, Postgres, Redis
from portal.pipeline.commands import worker_commands

_WEB_SECONDS = 180
"""For a machine that is busy: a web server that ended is noticed at once."""
_STEADY_AFTER_SECONDS = 15


class _Stopped(Exception):
    """Asked to stop while still starting."""


def say(line: str) -> None:
    print(f"winnow: {line}", flush=True)  # noqa: T201


class Stack:
    """One run, from the lock to the last process's end."""

    def __init__(self, *, var: Path, port: int, environ: Mapping[str, str], workers: Mapping[str, list[str]]) -> None:
        self.var = var.resolve()
        self.port = port
        self.env = dict(environ)
        self.workers = workers
        """Role -> command line, from `portal.pipeline.commands`."""
        self.undo = ExitStack()
        self.stop_asked = threading.Event()
        self.postgres: Postgres | None = None
        self.redis: Redis | None = None
        self.address = f"http://127.0.0.1:{port}"

    def run(self) -> int:
        """Start, serve until told to stop, stop. Returns the exit status."""
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if sig != signal.SIGHUP or signal.getsignal(sig) != signal.SIG_IGN:  # `nohup` ignores it, and means it
                signal.signal(sig, self._asked)
        began = time.monotonic()
        os.umask(0o077)  # pictures of patients and passwords: for this user alone
        try:
            with self.undo:
                self._start(began)
                self._serve()
                say("stopping ...")
        except _Stopped:
            say("stopped before it was up.")
            return 130
        except StartFailed as error:
            print(f"winnow: did not start: {error}", file=sys.stderr, flush=True)  # noqa: T201
            return 1
        say("stopped; everything is in " + str(self.var))
        return 0

    def _asked(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self.stop_asked.set()

    # ---- start ----------------------------------------------------------------------------------------------------------

    def _start(self, began: float) -> None:
        place.prepare_folder(self.var)
        lock = place.lock_folder(self.var)
        self.undo.callback(os.close, lock)
        listener = place.take_port(self.port)
        self.undo.callback(listener.close)
        self.keeper = Keeper(lock)
        self.undo.callback(self.keeper.close)
        self.env |= {"SECRET_KEY": self.env.get("SECRET_KEY") or place.secret_key(self.var), "WINNOW_VAR": str(self.var)}
        self._start_servers()
        self._note_environment()
        say("migrating the database ...")
        self._manage("migrate", "-v0", "--skip-checks", WINNOW_AS_OWNER="1")
        self._collect_static()
        say("starting web and workers ...")  # workers second: the first page should not wait for them
        self.children = Children(self.keeper)
        self.undo.callback(self.children.stop)
        web = self._start_web(listener)
        link = self._prepare()
        self._wait_for(web)
        for role, command in self.workers.items():
            self._child(role, command)
        place.note_address(lock, self.address)
        self._greet(link, time.monotonic() - began)
        if self.env.get("EXAMPLE", "1") != "0":
            self._child("example set", [sys.executable, "manage.py", "example", "--if-empty"], once=True)

    def _start_servers(self) -> None:
        if self.env.get("DATABASE_URL"):
            say("using the Postgres of DATABASE_URL")
        else:
            say("starting Postgres ...")
            self.postgres = Postgres(self.var / "pg")
            self.undo.callback(self.postgres.stop)
            self.postgres.start()
            self._watch(self.postgres)
            self.env |= {"DATABASE_URL": self.postgres.url(), "DATABASE_OWNER_URL": self.postgres.url(role=OWNER)}
        if self.env.get("REDIS_URL"):
            say("using the Redis of REDIS_URL")
        else:
            say("starting Redis ...")
            self.redis = Redis(self.var / "redis")
            self.undo.callback(self.redis.stop)
            self.redis.start()
            self._watch(self.redis)
            self.env["REDIS_URL"] = self.redis.url()
        self._check_stop()

    def _watch(self, server: Postgres | Redis) -> None:
        assert server.process is not None
        pid = server.process.pid
        self.keeper.watch(pid)
        self.undo.callback(self.keeper.forget, pid)

    def _note_environment(self) -> None:
        """So that `manage.py` in another terminal finds the servers of this run (see manage.py)."""
        names = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "SECRET_KEY", "WINNOW_DEVELOPMENT", "WINNOW_SINGLE_ADMINISTRATOR")
        path = self.var / FILE
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps({name: self.env[name] for name in names if name in self.env}))
        self.undo.callback(path.unlink, missing_ok=True)

    def _manage(self, *arguments: str, **extra: str) -> str:
        """Run one management command to its end; its output's end is the message if it fails."""
        env = {**self.env, **extra}
        if "WINNOW_AS_OWNER" not in extra:
            env.pop("DATABASE_OWNER_URL", None)
        with subprocess.Popen(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=die_with_parent(signal.SIGKILL),
        ) as process:  # fmt: skip
            out, err = self._outcome(process)
        if process.returncode:
            raise StartFailed(f"`manage.py {' '.join(arguments)}` failed:\n{(err or out).strip()[-1500:]}")
        return out

    def _outcome(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        while True:
            try:
                return process.communicate(timeout=0.3)
            except subprocess.TimeoutExpired:
                if self.stop_asked.is_set():
                    process.kill()
                    raise _Stopped from None

    def _check_stop(self) -> None:
        if self.stop_asked.is_set():
            raise _Stopped

    def _collect_static(self) -> None:
        """Only where something changed: it takes seconds."""
        stamp, now = self.var / "static.stamp", _static_fingerprint()
        collected = Path(self.env.get("WINNOW_STATIC") or self.var / "static")
        if collected.is_dir() and stamp.exists() and stamp.read_text() == now:
            return
        say("collecting static files ...")
        self._manage("collectstatic", "--noinput", "-v0", "--skip-checks")
        stamp.write_text(now)

    def _start_web(self, listener: socket.socket) -> Child:
        command = [sys.executable, "-m", "gunicorn", "portal.wsgi", "--bind", f"fd://{listener.fileno()}", "--worker-class", "gthread",
                   "--workers", str(min(4, os.cpu_count() or 1)), "--threads", "16", "--timeout", "120", "--graceful-timeout", "5",
                   "--no-control-socket"]  # fmt: skip
        return self._child("web", command, pass_fds=(listener.fileno(),))

    def _child(self, name: str, command: list[str], *, pass_fds: tuple[int, ...] = (), once: bool = False) -> Child:
        env = {name: value for name, value in self.env.items() if name != "DATABASE_OWNER_URL"}
        log = self.var / "log" / f"{name.replace(' ', '-')}.log"
        return self.children.start(Child(name, command, env, ROOT, log, pass_fds=pass_fds, once=once))

    def _prepare(self) -> str | None:
        """Register the baseline bundle; ask for the first administrator's link."""
        answer = json.loads(self._manage("prepare").strip().splitlines()[-1])
        for note in answer["notes"]:
            say(note)
        link: str | None = answer["link"]
        return link

    def _wait_for(self, web: Child) -> None:
        until = time.monotonic() + _WEB_SECONDS
        host = self.env.get("ALLOWED_HOSTS", "127.0.0.1").split(",")[0].lstrip(".")
        while time.monotonic() < until:
            self._check_stop()
            self._refuse_early_end()
            if _healthy(self.port, host):
                return
            self.stop_asked.wait(0.1)
        raise StartFailed(f"the web server does not answer. The end of {web.log}:\n{web.tail()}")

    def _refuse_early_end(self) -> None:
        """Who ends in the first seconds cannot start at all: better no portal than half of one."""
        ended = next((child for child in self.children.all if child.ended()), None)
        if ended:
            raise StartFailed(f"{ended.name} ended at once. The end of {ended.log}:\n{ended.tail()}")

    def _greet(self, link: str | None, seconds: float) -> None:
        say(f"up in {seconds:.0f} s at {self.address}   (Ctrl-C stops it; logs are in {self.var / 'log'})")
        if link:
            say(f"there is no administrator yet. Become the first, once, here: {self.address}{link}")

    # ---- serve ----------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        steady = time.monotonic() + _STEADY_AFTER_SECONDS
        while not self.stop_asked.wait(0.5):
            if time.monotonic() < steady:
                self._refuse_early_end()
            for line in self.children.look():
                say(line)
            self._revive(self.postgres, "Postgres")
            self._revive(self.redis, "Redis")

    def _revive(self, server: Postgres | Redis | None, name: str) -> None:
        if server is None or server.process is None or server.process.poll() is None:
            return
        say(f"{name} ended unexpectedly; starting it again ...")
        self.keeper.forget(server.process.pid)
        server.start()
        self._watch(server)
        say(f"{name} runs again")


def _healthy(port: int, host: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health", headers={"Host": host})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _static_fingerprint() -> str:
    """Changes when a static file of ours, or a package that brings some, changes."""
    digest = hashlib.sha256()
    for lock in ("package-lock.json", "requirements/dev.txt"):
        digest.update((ROOT / lock).read_bytes())
    for path in sorted((ROOT / "portal" / "web" / "static").rglob("*")):
        digest.update(f"{path}{path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def main() -> int:
    """`manage.py up`."""
    port = os.environ.get("PORT") or "8000"
    refusal = None
    if not port.isdigit():
        refusal = f"PORT={port} is not a number."
    if os.environ.get("WINNOW_DEVELOPMENT", "1").lower() in ("0", "false", "no", "off"):
        refusal = "`make run` is for one machine and plain HTTP. For a server see docker/compose.yaml, or leave WINNOW_DEVELOPMENT out."
    if refusal:
        print(f"winnow: did not start: {refusal}", file=sys.stderr)  # noqa: T201
        return 1
    var = Path(os.environ.get("WINNOW_VAR") or ROOT / "var")
    return Stack(var=var, port=int(port), environ=os.environ, workers=worker_commands()).run()
