"""`python -m inference` as a person would call it."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from PIL import Image

from inference import bundle as bundles
from inference.__main__ import COLUMNS, main
from inference.context import Context
from tests.inference.test_context import COMPARE


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_folder_gives_one_row_per_picture_in_order(tiny_bundle: Path, pictures: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(pictures[0], folder / "b.jpg")
    shutil.copy(pictures[1], folder / "a-picture-without-suffix")
    shutil.copy(pictures[2], folder / "deep" / "c.bin")
    (folder / "notes.txt").write_text("no picture")
    assert main([str(folder), "--bundle", str(tiny_bundle), "--csv", str(tmp_path / "o.csv"), "--batch", "2"]) == 0
    rows = table(tmp_path / "o.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [Path(row["path"]).name for row in rows] == ["a-picture-without-suffix", "b.jpg", "c.bin"]
    for row in rows:
        assert row["status"] == "ok"
        assert sum(float(row[f"p_{kind}"]) for kind in ("regular", "green_filter", "lugol_iodine")) == pytest.approx(1, abs=1e-5)
        assert float(row["p_regular"]) == pytest.approx(1 - float(row["p_non_regular"]), abs=1e-5)


def test_an_unreadable_file_gets_its_row_and_the_exit_code_is_1(tiny_bundle: Path, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    (tmp_path / "text.txt").write_text("not a picture")
    files = [str(pictures[0]), str(tmp_path / "bad.jpg"), str(tmp_path / "text.txt"), str(tmp_path / "gone.png"), str(pictures[1])]
    assert main([*files, "--bundle", str(tiny_bundle), "--csv", str(tmp_path / "o.csv")]) == 1
    rows = table(tmp_path / "o.csv")
    assert [row["path"] for row in rows] == files
    assert [row["status"].split(":")[0] for row in rows][2:4] == ["not_an_image", "missing"]
    assert rows[1]["status"] != "ok"
    assert rows[1]["kind"] == rows[1]["route"] == ""
    assert rows[4]["status"] == "ok"


def test_the_batch_does_not_change_the_answers(tiny_bundle: Path, pictures: list[Path], tmp_path: Path) -> None:
    for batch in ("1", "5"):
        main([*map(str, pictures), "--bundle", str(tiny_bundle), "--csv", str(tmp_path / f"{batch}.csv"), "--batch", batch])
    for one, two in zip(table(tmp_path / "1.csv"), table(tmp_path / "5.csv"), strict=True):
        assert (one["kind"], one["route"]) == (two["kind"], two["route"])
        assert float(one["p_non_regular"]) == pytest.approx(float(two["p_non_regular"]), abs=1e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"path,patient\na,b\n", "lacks the columns exam, site"), (b"path,patient,exam,site\n\xe9,b,c,d\n", "not UTF-8")],
)
def test_a_manifest_that_cannot_be_used_is_told_at_once(
    tiny_bundle: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes, said: str
) -> None:
    (tmp_path / "m.csv").write_bytes(text)
    given = [str(pictures[0]), "--bundle", str(tiny_bundle), "--csv", str(tmp_path / "o.csv"), "--manifest", str(tmp_path / "m.csv")]
    assert main(given) == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def comparing(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The toy bundle with a comparison that looks at red and green alone; by itself every picture looks regular to it."""
    fusion = {**bundles.verify(tiny_bundle)[0]["fusion"], "intercept": -2.0, "w_logit": 0.0, "w_distance": 0.0}
    bundles.amend(tiny_bundle, tmp_path / "comparing", {"context": Context(COMPARE, {}).as_json(), "fusion": fusion})
    return tmp_path / "comparing"


def colour(folder: Path, name: str, rgb: tuple[int, int, int]) -> Path:
    Image.new("RGB", (80, 60), rgb).save(folder / name)
    return folder / name


PINK, GREENISH = (200, 120, 120), (140, 150, 150)


def test_files_of_one_exam_are_judged_beside_each_other(comparing: Path, tmp_path: Path) -> None:
    one = [colour(tmp_path, f"{n}.png", PINK) for n in range(2)]
    faint, stranger = colour(tmp_path, "faint.png", GREENISH), colour(tmp_path, "stranger.png", GREENISH)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    files = [one[0], stranger, faint, tmp_path / "broken.png", one[1]]
    rows = "".join(f"{path.name},P1,E1,S\n" for path in files if path != stranger)
    (tmp_path / "m.csv").write_text(f"path,patient,exam,site\n{rows}stranger.png,P2,E1,S\n", encoding="utf-8")

    def answers(*more: str) -> dict[str, dict[str, str]]:
        command = [*map(str, files), "--bundle", str(comparing), "--csv", str(tmp_path / "o.csv"), "--batch", "2", *more]
        assert main(command) == 1  # one cannot be read, and stops nobody
        found = table(tmp_path / "o.csv")
        assert [Path(row["path"]) for row in found] == files
        return {Path(row["path"]).name: row for row in found}

    alone, beside = answers(), answers("--manifest", str(tmp_path / "m.csv"))
    assert alone["faint.png"]["p_green_filter"] == alone["stranger.png"]["p_green_filter"]
    assert float(beside["faint.png"]["p_green_filter"]) > float(alone["faint.png"]["p_green_filter"]) + 0.1
    assert float(beside["0.png"]["p_green_filter"]) < float(alone["0.png"]["p_green_filter"])
    assert beside["stranger.png"] == alone["stranger.png"]
    assert beside["broken.png"] == alone["broken.png"]
    for row in beside.values():
        if row["status"] == "ok":
            assert sum(float(row[f"p_{kind}"]) for kind in ("regular", "green_filter", "lugol_iodine")) == pytest.approx(1, abs=1e-5)


def test_another_device_is_not_compared_with_and_an_unknown_one_is_asked_about(comparing: Path, tmp_path: Path) -> None:
    files = [colour(tmp_path, "a.png", PINK), colour(tmp_path, "b.png", GREENISH)]
    lines = "path,patient,exam,site,device\na.png,P1,E1,S,one\nb.png,P1,E1,S,other\n"
    (tmp_path / "m.csv").write_text(lines, encoding="utf-8")
    given = [*map(str, files), "--bundle", str(comparing), "--csv", str(tmp_path / "o.csv")]
    assert main(given) == 0
    alone = table(tmp_path / "o.csv")
    assert main([*given, "--manifest", str(tmp_path / "m.csv")]) == 0
    assert table(tmp_path / "o.csv") == alone
    assert main([*given, "--manifest", str(tmp_path / "m.csv"), "--known-devices-only"]) == 0
    assert all(row["route"] == "review" and "no_calibration_for_device" in row["reasons"] for row in table(tmp_path / "o.csv"))


def test_a_broken_bundle_and_an_empty_folder_are_told(tmp_path: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(pictures[0]), "--bundle", str(tmp_path), "--csv", str(tmp_path / "o.csv")]) == 2
    assert "not a bundle" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--csv", str(tmp_path / "o.csv")]) == 2
    assert "no picture" in capsys.readouterr().err
