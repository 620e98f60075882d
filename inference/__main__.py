"""`python -m inference FOLDER_OR_FILES... --bundle DIR --csv OUT.csv`: analyse pictures from the shell."""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from inference import assessment, exams
from inference import bundle as bundles
from inference.types import Analysis, Assessed, Evidence, Unreadable

COLUMNS = (
    "path", "status", "kind", "p_non_regular", "p_regular", "p_green_filter", "p_lugol_iodine", "deep_sad_distance", "detector_state",
    "detector_score", "box_x0", "box_y0", "box_x1", "box_y1", "route", "reasons",
)  # fmt: skip


class UsageError(ValueError):
    """The command cannot be carried out as given; the message says why."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m inference", description="Tell regular cervix photographs from green-filter and Lugol's-iodine ones.",
        epilog="Exit code: 0 all files analysed, 1 some could not be read (see `status`), 2 the command itself is wrong.",
    )  # fmt: skip
    made.add_argument(
        "inputs", nargs="+", type=Path, metavar="FOLDER_OR_FILES", help="folders are searched through, by content and not by name"
    )
    made.add_argument("--bundle", type=Path, default=bundles.BASELINE, help="bundle folder (default: the one that ships)")
    made.add_argument("--csv", type=Path, required=True, metavar="OUT.csv", help="one row per file, in order")
    made.add_argument(
        "--manifest", type=Path, metavar="M.csv", help="table path,patient,exam,site[,device]: files of one exam are compared"
    )
    made.add_argument(
        "--known-devices-only", action="store_true", help="send to review what comes from a device that the bundle was not calibrated on"
    )
    made.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    made.add_argument("--batch", type=int, default=16, help="pictures a batch (default 16); it changes the speed, not the answers")
    made.add_argument("--threads", type=int, default=0, help="torch threads (default: all cores)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    given = parser().parse_args(arguments)
    try:
        if given.batch < 1:
            raise UsageError("--batch must be at least 1.")
        files = list(expand(given.inputs))
        if not files:
            raise UsageError("There is no picture in what was given.")
        # Read first, so that a broken table is told before time is spent
        rows = exams.read(given.manifest) if given.manifest is not None else []
        visits = exams.visits(files, rows, given.manifest.parent if given.manifest else Path())
        judge = partial(assessment.opened(given.bundle).assess, known_devices_only=given.known_devices_only)
        if given.manifest is not None:
            print(f"{sum(not visit.alone for visit in visits)} of {len(files)} files have an exam in {given.manifest.name}")
        return run(files, visits, judge, given)
    except (UsageError, exams.TableError, bundles.BundleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def expand(inputs: Sequence[Path]) -> Iterator[Path]:
    """The files, in order; folders recursively in order of name, only what looks like a picture by its first bytes.

    A file that is named outright is always kept, so that it gets its row, whatever it holds.
    """
    for given in inputs:
        if given.is_dir():
            inside = (path for path in sorted(given.rglob("*")) if path.is_file() and not _hidden(path.relative_to(given)))
            yield from (path for path in inside if looks_like_picture(path))
        else:
            yield given


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


PICTURE_NAMES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".gif", ".bmp", ".heic", ".heif"})
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\x00", b"MM\x00*", b"GIF8", b"BM")


def looks_like_picture(path: Path) -> bool:
    """By content, or by a name that promises a picture: a file that breaks such a promise shall have a row that says so."""
    if path.suffix.lower() in PICTURE_NAMES:
        return True
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError:
        return True
    return start.startswith(SIGNATURES) or start[8:12] == b"WEBP" or start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc")


Judge = Callable[[Sequence[Evidence]], list[Assessed]]


def run(files: Sequence[Path], visits: Sequence[exams.Visit], judge: Judge, given: argparse.Namespace) -> int:
    """Analyse the files into `given.csv`; returns 1 when any could not be read, else 0."""
    import torch

    from inference import api

    if given.threads > 0:
        torch.set_num_threads(given.threads)
    unreadable = 0
    answers = api.iterate(files, given.bundle, device=given.device, batch=given.batch)
    with given.csv.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for path, answer, assessed in beside_each_other(files, visits, answers, judge):
            unreadable += isinstance(answer, Unreadable)
            writer.writerow(row(path, answer, assessed))
    print(f"{len(files) - unreadable} analysed, {unreadable} unreadable -> {given.csv}")
    return 1 if unreadable else 0


def beside_each_other(
    files: Sequence[Path], visits: Sequence[exams.Visit], answers: Iterable[Analysis | Unreadable], judge: Judge
) -> Iterator[tuple[Path, Analysis | Unreadable, Assessed | None]]:
    """Each file with its Analysis and what its exam's other files make of it, in order, as soon as its exam and all before are analysed."""
    left = Counter(visit.exam for visit in visits)
    evidence: dict[tuple[str, ...], dict[int, Evidence]] = {}
    judged: dict[int, Assessed] = {}
    waiting: deque[tuple[int, Analysis | Unreadable]] = deque()
    for number, (visit, answer) in enumerate(zip(visits, answers, strict=True)):
        waiting.append((number, answer))
        if isinstance(answer, Analysis):
            evidence.setdefault(visit.exam, {})[number] = assessment.evidence(answer, device=visit.device)
        left[visit.exam] -= 1
        if not left[visit.exam]:
            of_exam = evidence.pop(visit.exam, {})
            judged |= dict(zip(of_exam, judge(list(of_exam.values())), strict=True))
        while waiting and (isinstance(waiting[0][1], Unreadable) or waiting[0][0] in judged):
            done, said = waiting.popleft()
            yield files[done], said, judged.pop(done, None)


def row(path: Path, answer: Analysis | Unreadable, assessed: Assessed | None) -> dict[str, str]:
    """One line of the table. The p_ columns are fused, calibrated and seen beside the exam's other images; they sum to 1."""
    if isinstance(answer, Unreadable):
        return {"path": str(path), "status": f"{answer.code}: {answer.message}"}
    assert assessed is not None
    box = answer.box
    corners = {f"box_{name}": f"{getattr(box, name):.1f}" if box else "" for name in ("x0", "y0", "x1", "y1")}
    return {
        "path": str(path), "status": "ok", "kind": assessed.kind.value, "p_non_regular": f"{assessed.p_non_regular:.6f}",
        **{f"p_{kind}": f"{share:.6f}" for kind, share in assessed.probabilities.items()},
        "deep_sad_distance": f"{answer.deep_sad_distance:.6g}", "detector_state": answer.detector_state.value,
        "detector_score": f"{box.score:.4f}" if box else "", **corners, "route": assessed.route.value,
        "reasons": ";".join(assessed.reasons),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
