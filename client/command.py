"""`winnow upload`: opens an upload or goes on with it, sends what is missing, says what became of every file."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from client.folder import Item, items
from client.line import Broken, Line, Refused, Reply, Stop
from client.sending import Outcome, Patience, Paused, Sender

PARALLEL = 4
_TABLE_BYTES = 20_000_000


class Run:
    """One call of the command, from the first question to the last outcome."""

    def __init__(self, options: argparse.Namespace, token: str) -> None:
        self.options, self.token = options, token
        self.line = Line(options.server, token)
        self.stop = threading.Event()
        self.patience = Patience(options.patience * 60, self.stop, self._trouble)
        self.outcomes: dict[str, Outcome] = {}
        self.ended: BaseException | None = None
        self._said = threading.Lock()
        self._last_trouble = ""

    def run(self) -> int:
        """0: every file is in. 1: some are not."""
        wanted, left = items(Path(self.options.folder))
        if not wanted:
            raise Refused(f"There is no file to send in {self.options.folder}.")
        self._check_site()
        upload = self._open(len(wanted))
        if left:
            say(f"{len(left)} left out (tables, links): {', '.join(left[:5])}{' ...' if len(left) > 5 else ''}")
        if self.options.metadata:
            self._table(upload["table"])
        self._send(wanted, upload)
        everything = len(self.outcomes) == len(wanted) and not any(o.outcome == "not sent" for o in self.outcomes.values())
        if everything:
            self._persist(lambda: self.line.ask("POST", upload["close"]))
        self._sum_up(wanted, upload, everything)
        return 0 if everything and all(outcome.is_in for outcome in self.outcomes.values()) else 1

    def _check_site(self) -> None:
        site = self._persist(lambda: self.line.ask("GET", "/api/v1/token/")).said.get("site", "")
        if site != self.options.site:
            raise Refused(f"This token is for the site '{site}', not for '{self.options.site}'.")

    def _open(self, expected: int) -> dict[str, Any]:
        """The open upload of the same note, or a new one."""
        note = self.options.note or Path(self.options.folder).resolve().name
        found = self._persist(lambda: self.line.ask("GET", "/api/v1/uploads/")).said.get("uploads", [])
        again = next((upload for upload in found if upload["note"] == note), None)
        if again and not self.options.new:
            say(f"going on with upload {again['upload']} ({note})")
            return dict(again)
        body = json.dumps({"note": note, "expected": expected}).encode()
        made: Reply = self._persist(lambda: self.line.ask("POST", "/api/v1/uploads/", body, {"Content-Type": "application/json"}))
        if made.status != 201:
            raise Refused(made.message)
        say(f"upload {made.said['upload']} ({note}) is open")
        return made.said

    def _table(self, address: str) -> None:
        path = Path(self.options.metadata)
        data = path.read_bytes()
        if len(data) > _TABLE_BYTES:
            raise Refused(f"The table {path.name} has more than {_TABLE_BYTES // 10**6} MB.")
        reply = self._persist(lambda: self.line.ask("POST", address, data, {"Content-Type": "application/octet-stream"}))
        if reply.status >= 400:
            raise Refused(f"The table was not used. {reply.message}")
        later = reply.status == 202
        say(f"table: {reply.said['rows']} rows, " + ("applied by the portal now" if later else f"{len(reply.said['errors'])} with remarks"))
        for error in reply.said["errors"]:
            say(f"  row {error['row']}: {error['message']}")

    def _send(self, wanted: list[Item], upload: dict[str, Any]) -> None:
        held = self._persist(lambda: self.line.ask("GET", upload["held"])).said
        whole = {(file["name"], file["size"]): file for file in held["files"]}
        part = {(file["name"], file["mark"]): file["address"] for file in held["partial"]}
        waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
        for item in wanted:
            if known := whole.get((item.name, item.size)):
                self._note(Outcome(item.name, known["outcome"], known["message"]), len(wanted), again=True)
            else:
                waiting.put(item)
        threads = [
            threading.Thread(target=self._work, args=(waiting, part, upload["tus"], len(wanted)), daemon=True)
            for _ in range(self.options.parallel)
        ]
        for thread in threads:
            thread.start()
        with _stopping(self.stop):
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
        if self.ended is not None:
            raise self.ended

    def _work(self, waiting: queue.SimpleQueue[Item], part: dict[tuple[str, str], str], base: str, total: int) -> None:
        sender = Sender(Line(self.options.server, self.token), base, self.patience)
        while not self.stop.is_set():
            try:
                item = waiting.get_nowait()
                self._note(sender.send(item, part.get((item.name, item.mark))), total)
            except queue.Empty:
                return
            except (Stop, Paused) as end:
                self.ended = self.ended or end
                self.stop.set()
            except Refused as refused:
                self._note(Outcome(item.name, "not sent", str(refused)), total)

    def _persist(self, ask: Callable[[], Any]) -> Any:
        tries = 0
        while True:
            try:
                return ask()
            except Broken as broken:
                if tries >= 8:
                    raise Refused(str(broken)) from broken
                self.patience.wait(str(broken), tries, float("inf"))
                tries += 1

    # ---- words ----------------------------------------------------------------------------------------------------------

    def _note(self, outcome: Outcome, total: int, *, again: bool = False) -> None:
        with self._said:
            self.outcomes[outcome.name] = outcome
            self._last_trouble = ""
            more = f": {outcome.message}" if outcome.message else " (was here already)" if again else ""
            say(f"[{len(self.outcomes)}/{total}] {outcome.outcome}  {outcome.name}{more}")

    def _trouble(self, words: str) -> None:
        with self._said:
            if words != self._last_trouble:
                say(words)
            self._last_trouble = words

    def _sum_up(self, wanted: list[Item], upload: dict[str, Any], everything: bool) -> None:
        counts = Counter(outcome.outcome for outcome in self.outcomes.values())
        say(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) + f" of {len(wanted)} files")
        say(f"see {self.options.server.rstrip('/')}{upload['page']}")
        if not everything:
            say("Some files were not sent: run the same command again.")
        if self.options.outcomes:
            with open(self.options.outcomes, "w", newline="", encoding="utf-8") as sink:
                table = csv.writer(sink)
                table.writerow(["file", "outcome", "message"])
                table.writerows(sorted((o.name, o.outcome, o.message) for o in self.outcomes.values()))


@contextlib.contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C: what is under way ends, what arrived is kept."""
    try:
        yield
    except KeyboardInterrupt:
        stop.set()
        raise Paused from None


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _token(options: argparse.Namespace) -> str:
    """From a file that only its owner can read, or from the environment; never from the command line, which others can see."""
    if options.token_file:
        path = Path(options.token_file)
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise Refused(f"Others can read {path}: chmod 600 {path}")
        return path.read_text(encoding="ascii").strip()
    token = os.environ.get("WINNOW_TOKEN", "").strip()
    if not token:
        raise Refused("No token: put it into a file and say --token-file FILE, or into the variable WINNOW_TOKEN.")
    return token


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="winnow", description="Sends photographs to a Winnow portal.")
    upload = parser.add_subparsers(dest="command", required=True).add_parser("upload", help="send a folder; run again to go on")
    upload.add_argument("folder")
    upload.add_argument("--site", required=True, help="short name of the site that the token is for")
    upload.add_argument("--metadata", default="", help="table with a row for each file")
    upload.add_argument("--server", default=os.environ.get("WINNOW_SERVER", "http://127.0.0.1:8000"), help="or WINNOW_SERVER")
    upload.add_argument("--token-file", default="", help="file with the token; else the variable WINNOW_TOKEN")
    upload.add_argument("--note", default="", help="name of the upload; by default the folder's")
    upload.add_argument("--new", action="store_true", help="begin a new upload though one of this name is open")
    upload.add_argument("--outcomes", default="", help="write every file's outcome to this CSV file")
    upload.add_argument("--parallel", type=int, default=PARALLEL, choices=range(1, 9), help="files at once")
    upload.add_argument("--patience", type=float, default=60, help="minutes that the line may stay broken")
    return parser


def main(arguments: list[str]) -> int:
    """The exit status: 0 all files are in, 1 some are not, 2 it could not begin or go on, 130 paused by Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        if not Path(options.folder).is_dir():
            raise Refused(f"{options.folder} is no folder.")
        return Run(options, _token(options)).run()
    except (Paused, KeyboardInterrupt):
        say("paused; run the same command again to go on.")
        return 130
    except (Refused, OSError) as refused:
        print(f"winnow: {refused}", file=sys.stderr)  # noqa: T201
        return 2
