"""Named places where a chaos test may make the process die or stall. Silent unless `WINNOW_FAULTS` arms them."""

import os
import random
import signal
import time

from django.conf import settings


def fault(point: str) -> None:
    """Die, stall or raise here if armed: `WINNOW_FAULTS="after_claim=kill:0.01,before_commit=sleep:0.5"`."""
    if not settings.FAULTS:
        return
    for armed in settings.FAULTS.split(","):
        name, _, action = armed.partition("=")
        if name.strip() == point:
            _act(action)


def _act(action: str) -> None:
    kind, _, amount = action.partition(":")
    if kind == "kill" and random.random() < float(amount or 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "sleep":
        time.sleep(float(amount or 1))
    if kind == "raise" and random.random() < float(amount or 1):
        raise RuntimeError("an armed fault point")
