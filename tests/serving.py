"""The portal's web server as a process that can be killed: gunicorn, as in production, on the tests' own database."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from portal.embedded.processes import die_with_parent

ROOT = Path(__file__).resolve().parent.parent


class Web:
    """One gunicorn with workers as given; the port stays its own over restarts."""

    def __init__(self, folder: Path, *, workers: int = 1, **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "web.log"
        stores = {"WINNOW_ORIGINALS": str(folder / "originals"), "WINNOW_CLEAN": str(folder / "clean")}
        self.env = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings", **stores, **environ}
        self.workers = workers
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "portal.wsgi", "--bind", f"fd://{self.listener.fileno()}", "--worker-class", "gthread",
                   "--workers", str(self.workers), "--threads", "16", "--timeout", "120", "--no-control-socket"]  # fmt: skip
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.env, stdout=log, stderr=log, pass_fds=(self.listener.fileno(),), start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )  # fmt: skip
        self.starts += 1
        self._wait()

    def kill(self) -> None:
        """kill -9 for the whole group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        self.kill()
        self.listener.close()

    def _wait(self) -> None:
        until = time.monotonic() + 180
        while time.monotonic() < until:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise AssertionError(self.log.read_text()[-3000:])


@contextlib.contextmanager
def serving(folder: Path, *, workers: int = 1, **environ: str) -> Iterator[Web]:
    web = Web(folder, workers=workers, **environ)
    try:
        web.start()
        yield web
    finally:
        web.close()
