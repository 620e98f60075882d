"""The command line client as a process of its own, against the portal over HTTP."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from portal.accounts import tokens
from portal.accounts.models import UploadToken
from portal.images.models import Image, Upload, UploadFile
from tests.cast import Cast, make_cast, picture_bytes

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parent.parent.parent
Winnow = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


@pytest.fixture
def secret(cast: Cast) -> str:
    return tokens.make(site=cast.north, name="laptop", days=1, actor=cast.alice)[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    here = tmp_path / "May clinic"
    (here / "second").mkdir(parents=True)
    for number in range(4):
        (here / f"{number}.jpg").write_bytes(picture_bytes())
    (here / "second" / "big.jpg").write_bytes(b"\xff\xd8\xff" + os.urandom(2_500_000))
    (here / ".DS_Store").write_bytes(b"x")
    (here / "table.csv").write_text("file,patient\n0.jpg,P1\nnot there.jpg,P2\n")
    (here / "link.jpg").symlink_to("/etc/passwd")
    return here


@pytest.fixture
def winnow(live_server: Any, settings: Any, tmp_path: Path, secret: str) -> Winnow:
    settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path / "originals", tmp_path / "clean"

    def start(*arguments: str, token: str = secret, site: str = "north") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "client", "upload", *arguments, "--site", site, "--server", live_server.url]
        env = {"PATH": os.environ["PATH"], "WINNOW_TOKEN": token, "PYTHONPATH": str(ROOT)}
        # A shell that runs the tests in the background has told them, and so this process, to ignore Ctrl-C
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen(
            command, cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=heed
        )

    return start


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def test_a_folder_arrives_with_its_table_and_each_file_has_its_outcome(winnow: Winnow, folder: Path, tmp_path: Path, secret: str) -> None:
    status, said = ended(winnow(str(folder), "--metadata", str(folder / "table.csv"), "--outcomes", str(tmp_path / "out.csv")))
    assert status == 0, said
    assert "accepted  second/big.jpg" in said
    assert "2 left out (tables, links): link.jpg, table.csv" in said
    assert "5 accepted of 5 files" in said
    assert secret not in said
    with open(tmp_path / "out.csv", newline="") as source:
        assert {row["file"]: row["outcome"] for row in csv.DictReader(source)} == {
            **{f"{number}.jpg": "accepted" for number in range(4)},
            "second/big.jpg": "accepted",
        }
    upload = Upload.objects.get()
    assert (upload.note, upload.expected, upload.closed is not None) == ("May clinic", 5, True)
    assert UploadFile.objects.get(name="0.jpg").patient_code == "P1"
    assert UploadFile.objects.get(name="not there.jpg").outcome == "missing"


def test_what_is_not_in_shows_in_the_exit_status_and_sent_again_nothing_doubles(winnow: Winnow, folder: Path) -> None:
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.jpg").write_bytes(b"not a picture at all")
    status, said = ended(winnow(str(folder)))
    assert status == 1
    assert "rejected  empty.jpg: The file is empty" in said
    (folder / "empty.jpg").unlink()
    (folder / "notes.jpg").unlink()
    status, said = ended(winnow(str(folder)))
    assert status == 0, said
    assert "5 duplicate of 5 files" in said
    assert Image.objects.count() == 5


def test_ctrl_c_pauses_and_the_same_command_goes_on(winnow: Winnow, folder: Path) -> None:
    for number in range(10, 90):
        (folder / f"{number}.jpg").write_bytes(picture_bytes())
    process, said = winnow(str(folder), "--parallel", "1"), ""
    assert process.stdout is not None
    while "[5/85]" not in said:
        said += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    status, rest = ended(process)
    assert status == 130, rest
    assert "paused; run the same command again" in rest
    before = Image.objects.count()
    assert 5 <= before < 85
    status, said = ended(winnow(str(folder)))
    assert status == 0, said
    assert "going on with upload" in said
    assert said.count("(was here already)") >= before
    assert (Upload.objects.count(), Image.objects.count(), UploadFile.objects.count()) == (1, 85, 85)


def test_a_token_that_was_revoked_or_is_for_another_site_sends_nothing(winnow: Winnow, folder: Path, cast: Cast) -> None:
    status, said = ended(winnow(str(folder), site="river"))
    assert (status, "for the site 'north', not for 'river'" in said) == (2, True)
    tokens.revoke(token=UploadToken.objects.get(), actor=cast.alice)
    status, said = ended(winnow(str(folder)))
    assert (status, "may have expired or been revoked" in said) == (2, True)
    status, said = ended(winnow(str(folder), token=""))
    assert (status, "--token-file FILE" in said) == (2, True)
    assert not Upload.objects.exists()


def test_a_token_file_that_others_can_read_and_plain_http_are_refused(winnow: Winnow, folder: Path, tmp_path: Path, secret: str) -> None:
    file = tmp_path / "token"
    file.write_text(secret)
    file.chmod(0o644)
    status, said = ended(winnow(str(folder), "--token-file", str(file), token=""))
    assert (status, "Others can read" in said) == (2, True)
    file.chmod(0o600)
    assert ended(winnow(str(folder), "--token-file", str(file), token=""))[0] == 0
    away = [sys.executable, "-m", "client", "upload", str(folder), "--site", "north", "--server", "http://portal.example.org"]
    done = subprocess.run(away, cwd=ROOT, env={**os.environ, "WINNOW_TOKEN": secret}, capture_output=True, text=True)
    assert (done.returncode, "Use https" in done.stderr) == (2, True)
