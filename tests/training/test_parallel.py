"""Several processes that train one model, and batches that are made ahead of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training import parallel
from training.loader import Ahead

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from torch import nn
from torch.nn import functional as F
from training import parallel
from training.engine import Loop, Reporter, fit

parallel.join("cpu")
out = Path(sys.argv[1])
torch.manual_seed(100 + torch.distributed.get_rank())
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
data = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
truth = (data.mean((1, 2, 3)) > 0.5).long()
shown = []

def batches(epoch, rng):
    for chosen in torch.split(torch.randperm(64, generator=rng), 16):
        mine = parallel.mine(chosen)
        shown.append(mine)
        yield data[mine], truth[mine]

loop = Loop("x", 3, 4, 1e-2, 0.0, out / "x.ckpt", 1, ema=0.9, amp=False)
lines = []
reporter = Reporter(lines.append, lambda: False, {"x": 1.0})
fit(model, batches, lambda b: F.cross_entropy(model(b[0]), b[1]), loop, reporter, score_of=lambda m: float(torch.distributed.get_rank()))
torch.save({"state": model.state_dict(), "shown": torch.stack(shown)}, out / f"rank-{torch.distributed.get_rank()}.pt")
parallel.leave()
"""


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def test_two_processes_end_with_equal_weights(tmp_path: Path) -> None:
    """They start from different random weights, see different halves of every batch, and end alike: as DistributedDataParallel must."""
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")
    common = {**os.environ, "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), str(tmp_path)], env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    assert [child.wait(timeout=300) for child in children] == [0, 0]
    one, other = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(one["state"][name], other["state"][name]) for name in one["state"])
    together = torch.cat([one["shown"], other["shown"]], dim=1)
    assert all(len(set(batch.tolist())) == 16 for batch in together)
    assert (tmp_path / "x.ckpt").exists()


def test_alone_nothing_is_shared() -> None:
    chosen = torch.arange(5)
    assert (parallel.size(), parallel.leads(), parallel.together()) == (1, True, False)
    assert parallel.mine(chosen) is chosen
    assert parallel.agreed(2.5) == 2.5


def test_batches_come_in_order_and_while_the_model_works() -> None:
    def made() -> Iterator[int]:
        for number in range(5):
            time.sleep(0.05)
            yield number

    got = []
    with Ahead(made()) as ready:
        for item in ready:
            time.sleep(0.1)
            got.append(item)
        waiting = ready.waiting
    assert got == [0, 1, 2, 3, 4]
    assert waiting < 0.5


def test_a_slow_loader_is_told_from_a_slow_model() -> None:
    def made() -> Iterator[int]:
        for number in range(4):
            time.sleep(0.1)
            yield number

    with Ahead(made()) as ready:
        assert list(ready) == [0, 1, 2, 3]
        assert ready.waiting > 0.8


def test_what_the_maker_raises_is_raised_at_the_reader() -> None:
    def made() -> Iterator[int]:
        yield 1
        raise ValueError("broken picture")

    with Ahead(made()) as ready, pytest.raises(ValueError, match="broken picture"):
        list(ready)


def test_leaving_early_stops_the_maker() -> None:
    made: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    with Ahead(endless()) as ready:
        next(iter(ready))
    count = len(made)
    time.sleep(0.3)
    assert len(made) == count
