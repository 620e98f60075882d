"""Slow lines hold threads of the web server: not all of them."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.accounts import tokens
from portal.images.models import UploadFile
from portal.images.services import open_upload
from tests.cast import Cast, make_cast
from tests.serving import Web, serving

pytestmark = pytest.mark.django_db(transaction=True)
PICTURE = b"\xff\xd8\xff" + os.urandom(200_000)


@pytest.fixture
def web(transactional_db: None, tmp_path: Path) -> Iterator[Web]:
    with serving(tmp_path / "web", WINNOW_SENDERS="2") as running:
        yield running


def test_senders_on_slow_lines_leave_room_for_pages_and_who_comes_later_is_told_to_try_again(web: Web) -> None:
    cast: Cast = make_cast()
    upload = open_upload(site=cast.north, actor=cast.alice, expected=3)
    secret = tokens.make(site=cast.north, name="laptop", days=1, actor=cast.alice)[1]

    slow = [_begin(web, upload.pk, secret, f"{number}.jpg") for number in range(2)]
    until = time.monotonic() + 30
    while (refused := _send(web, upload.pk, secret, "late.jpg"))[0] != 503 and time.monotonic() < until:
        time.sleep(0.1)  # the two have not sat down yet
    assert refused[:2] == (503, "2")
    assert b"sent again by itself" in refused[2]
    assert _get(web, "/health") == 200

    for line in slow:
        line.sendall(PICTURE[1000:])
        assert b'"outcome": ' in _answer(line)
        line.close()
    assert _send(web, upload.pk, secret, "late.jpg")[0] in (200, 201)
    names = set(UploadFile.objects.filter(upload=upload).values_list("name", flat=True))
    assert {"0.jpg", "1.jpg", "late.jpg"} <= names


def _headers(secret: str, name: str) -> dict[str, str]:
    return {
        "Authorization": f"Token {secret}", "Accept": "application/json",
        "Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream",
        "Upload-Length": str(len(PICTURE)), "Upload-Metadata": f"name {base64.b64encode(name.encode()).decode()}",
    }  # fmt: skip


def _begin(web: Web, upload: int, secret: str, name: str) -> socket.socket:
    """A creation whose bytes do not come."""
    line = socket.create_connection(("127.0.0.1", web.port), timeout=60)
    head = {**_headers(secret, name), "Host": f"127.0.0.1:{web.port}", "Content-Length": str(len(PICTURE)), "Connection": "close"}
    text = "".join(f"{key}: {value}\r\n" for key, value in head.items())
    line.sendall(f"POST /api/v1/uploads/{upload}/tus/ HTTP/1.1\r\n{text}\r\n".encode() + PICTURE[:1000])
    return line


def _answer(line: socket.socket) -> bytes:
    said = b""
    while sip := line.recv(1 << 16):
        said += sip
    return said


def _send(web: Web, upload: int, secret: str, name: str) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.request("POST", f"/api/v1/uploads/{upload}/tus/", PICTURE, _headers(secret, name))
    answer = connection.getresponse()
    return answer.status, answer.headers["Retry-After"], answer.read()


def _get(web: Web, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().status
