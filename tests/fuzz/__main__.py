"""`make fuzz`: mutated pictures through the decoder. `FUZZ_ARGS='--count 100000 --processes 2 --seed 7'` for another number."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
REAL = Path(os.environ.get("WINNOW_REAL_DATA", ROOT.parent / "shared" / "data"))


def main() -> int:
    options = _options()
    if options.one:
        return _one(options)
    share = -(-options.count // options.processes)
    argv = [sys.executable, "-m", "tests.fuzz", "--one", "--count", str(share), "--real", options.real]
    running = [subprocess.Popen([*argv, "--seed", str(options.seed + n)], cwd=ROOT) for n in range(options.processes)]
    ends = [process.wait() for process in running]
    print("every parent came to its end" if not any(ends) else f"PARENTS DIED OR FOUND SOMETHING: {ends}")
    return 1 if any(ends) else 0


def _one(options: argparse.Namespace) -> int:
    os.environ.setdefault("WINNOW_DEVELOPMENT", "1")
    from tests.fuzz.mutations import originals
    from tests.fuzz.run import Tally, judge

    said = [time.monotonic()]

    def say(tally: Tally) -> None:
        if time.monotonic() - said[0] > 20:
            said[0] = time.monotonic()
            print(f"seed {options.seed}: {tally.judged} in {tally.seconds} s {json.dumps(tally.outcomes)}", flush=True)

    tally = judge(originals(Path(options.real)), options.count, seed=options.seed, say=say)
    print(f"seed {options.seed}: {json.dumps(asdict(tally))}", flush=True)
    return 1 if tally.left_behind or tally.unreadable else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--real", default=str(REAL), help="folder of real pictures that are broken too, where it is there")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
