"""`make chaos`: the long storm, printed. `--items 1000 --kills 10 ...` for another."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests import servers


def main() -> int:
    options = _options()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    root = Path(__file__).resolve().parent.parent.parent
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], check=True, cwd=root, env={**os.environ, "WINNOW_AS_OWNER": "1"})
    import django

    django.setup()
    from tests.chaos.line import LineStorm
    from tests.chaos.storm import Plan, Storm

    web = options.web if options.line else 0
    plan = Plan(options.items, options.kills, options.senders_killed, options.redis, options.postgres, web, faults=options.faults)
    folder = Path(options.logs) if options.logs else servers.FOLDER / "storm"
    outcome = (LineStorm if options.line else Storm)(plan, folder, seed=options.seed, say=_Every(10)).run()
    print("\n".join(outcome.lines()))
    return 1 if outcome.lost or outcome.doubled or outcome.failed or outcome.broken_invariants else 0


class _Every:
    """Prints one line in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.last = seconds, 0.0

    def __call__(self, line: str) -> None:
        if time.monotonic() - self.last > self.seconds or "given up" in line:
            self.last = time.monotonic()
            print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--senders-killed", type=int, default=20)
    parser.add_argument("--redis", type=int, default=3)
    parser.add_argument("--postgres", type=int, default=2)
    parser.add_argument("--line", action="store_true", help="files come by the client, over HTTP, to a web server that is killed too")
    parser.add_argument("--web", type=int, default=20, help="kills of the web server, with --line")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--faults", default="before_commit=kill:0.01", help="armed fault points (portal/core/faults.py); a commit is of a batch"
    )
    parser.add_argument("--logs", default="", help="folder for the processes' logs; by default they go with the servers")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
