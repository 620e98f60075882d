"""`python -m inference FOLDER_OR_FILES... --bundle DIR --csv OUT.csv`: analyse pictures from the shell."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from inference import bundle as bundles
from inference.types import Analysis, Unreadable

COLUMNS = (
    "path", "status", "kind", "p_non_regular", "p_regular", "p_green_filter", "p_lugol_iodine", "deep_sad_distance", "detector_state",
    "detector_score", "box_x0", "box_y0", "box_x1", "box_y1", "route", "reasons",
)  # fmt: skip
MANIFEST_COLUMNS = ("path", "patient", "exam", "site")


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
        "--manifest", type=Path, metavar="M.csv", help="table path,patient,exam,site, for what needs the patient's other images"
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
        if given.manifest is not None:
            # Read now, so that a broken table is told before time is spent; context between images comes with a later bundle format
            read_manifest(given.manifest)
        return run(files, given.bundle, given.csv, device=given.device, batch=given.batch, threads=given.threads)
    except (UsageError, bundles.BundleError, OSError) as error:
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


def read_manifest(path: Path) -> dict[str, dict[str, str]]:
    """The table path -> patient, exam, site. Raises UsageError when it cannot be used."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in MANIFEST_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(f"{path.name} lacks the columns {', '.join(missing)}.")
            return {row["path"]: row for row in reader}
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not UTF-8 text: save it as CSV UTF-8.") from error


def run(files: Sequence[Path], bundle: Path, out: Path, *, device: str, batch: int, threads: int) -> int:
    """Analyse the files into `out`; returns 1 when any could not be read, else 0."""
    import torch

    from inference import api

    if threads > 0:
        torch.set_num_threads(threads)
    unreadable = 0
    answers = api.iterate(files, bundle, device=device, batch=batch)
    with out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for path, answer in zip(files, answers, strict=True):
            unreadable += isinstance(answer, Unreadable)
            writer.writerow(row(path, answer))
    print(f"{len(files) - unreadable} analysed, {unreadable} unreadable -> {out}")
    return 1 if unreadable else 0


def row(path: Path, answer: Analysis | Unreadable) -> dict[str, str]:
    """One line of the table. The p_ columns are the fused, calibrated probabilities: they sum to 1, p_regular = 1 - p_non_regular."""
    if isinstance(answer, Unreadable):
        return {"path": str(path), "status": f"{answer.code}: {answer.message}"}
    from inference.fusion import fused_probabilities

    shares = fused_probabilities(answer.p_non_regular, answer.probabilities)
    box = answer.box
    corners = {f"box_{name}": f"{getattr(box, name):.1f}" if box else "" for name in ("x0", "y0", "x1", "y1")}
    return {
        "path": str(path), "status": "ok", "kind": answer.kind.value, "p_non_regular": f"{answer.p_non_regular:.6f}",
        **{f"p_{kind}": f"{share:.6f}" for kind, share in shares.items()},
        "deep_sad_distance": f"{answer.deep_sad_distance:.6g}", "detector_state": answer.detector_state.value,
        "detector_score": f"{box.score:.4f}" if box else "", **corners, "route": answer.route.value, "reasons": ";".join(answer.reasons),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
