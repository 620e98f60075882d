"""The two stores in an S3-compatible object store: the same names as on a disk. The local folders are a cache of it then.

Nothing of it is ever shown to a browser: no address, no signature. An object is whole or absent; its name is its hash, so that one that is
there already is not sent again, and one that comes back is believed only if it hashes to its name.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from storages.backends.s3 import S3Storage

from portal.core.errors import WinnowError
from portal.jobs.services import TryLater

_CHUNK = 1 << 20
_SECONDS = {"connect_timeout": 5, "read_timeout": 60}


class Unreachable(WinnowError, TryLater, OSError):
    """The object store did not answer, or refused us. Nothing was changed: work is given back, a person is told to try again."""

    status = 503
    code = "store_unreachable"
    seconds = 30

    def __init__(self, why: str) -> None:
        super().__init__("The store of pictures cannot be reached at this moment. Nothing is lost: try again in a minute.")
        self.strerror = f"the object store cannot be used: {why}"


@dataclass(frozen=True, slots=True)
class Held:
    """An object: its key, how many bytes, when it came (seconds since 1970)."""

    key: str
    size: int
    time: float


def in_use() -> bool:
    return bool(settings.STORE == "s3")


def put(store: str, key: str, path: Path, *, again: bool = False) -> None:
    """Send a complete local file. What is there already in the same size is the same; `again` writes over it."""
    if not again and (held := find(store, key)) is not None and held.size == path.stat().st_size:
        return
    with open(path, "rb") as file:
        md5 = base64.b64encode(hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()).decode()
        file.seek(0)
        _ask("put_object", store, Key=_key(key), Body=file, ContentMD5=md5, **_encryption())


def fetch(store: str, key: str, path: Path) -> bool:
    """Write the object's bytes to `path`, a new file; False where there is no such object. Leaves no file behind on any error."""
    body = read(store, key)
    if body is None:
        return False
    try:
        with closing(body), open(path, "xb") as out:
            while chunk := chunk_of(body):
                out.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def read(store: str, key: str) -> BinaryIO | None:
    """The object's bytes as a stream, or None where there is no such object."""
    try:
        return _ask("get_object", store, Key=_key(key))["Body"]  # type: ignore[no-any-return]
    except FileNotFoundError:
        return None


def find(store: str, key: str) -> Held | None:
    try:
        said = _ask("head_object", store, Key=_key(key))
    except FileNotFoundError:
        return None
    return Held(key, said["ContentLength"], said["LastModified"].timestamp())


def remove(store: str, key: str) -> None:
    """Safe to repeat."""
    _ask("delete_object", store, Key=_key(key))


def rename(store: str, key: str, new: str) -> None:
    """Copy, then remove: a crash in between leaves both."""
    _ask("copy_object", store, Key=_key(new), CopySource={"Bucket": _bucket(store), "Key": _key(key)}, **_encryption())
    remove(store, key)


def held(store: str, prefix: str, after: str = "") -> Iterator[Held]:
    """What lies under `prefix` (a folder, with its slash) itself, in the order of the names, from behind `after` on."""
    begin, token = _key(prefix + after) if after else "", ""
    while True:
        more: dict[str, Any] = {"ContinuationToken": token} if token else {"StartAfter": begin} if begin else {}
        said = _ask("list_objects_v2", store, Prefix=_key(prefix), Delimiter="/", **more)
        for one in said.get("Contents", []):
            yield Held(one["Key"].removeprefix(_key("")), one["Size"], one["LastModified"].timestamp())
        token = said.get("NextContinuationToken", "")
        if not token:
            return


def trouble() -> str:
    """Why the store cannot be used at this moment; empty where it can."""
    try:
        for store in ("originals", "clean"):
            _ask("list_objects_v2", store, Prefix=_key("."), MaxKeys=1)
    except OSError as error:
        return error.strerror or str(error)
    return ""


# ---- the library ------------------------------------------------------------------------------------------------------


def _ask(what: str, store: str, **about: Any) -> Any:
    try:
        return getattr(_storage(_bucket(store)).connection.meta.client, what)(Bucket=_bucket(store), **about)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("404", "NoSuchKey", "NotFound"):
            raise FileNotFoundError(about.get("Key")) from None
        raise Unreachable(code) from error
    except BotoCoreError as error:
        raise Unreachable(type(error).__name__) from error


def chunk_of(body: BinaryIO) -> bytes:
    """The next piece of an object. Raises Unreachable where the line breaks."""
    try:
        return body.read(_CHUNK)
    except (BotoCoreError, OSError) as error:
        raise Unreachable(type(error).__name__) from error


@cache
def _storage(bucket: str) -> S3Storage:
    """One a process and bucket; its connections are each thread's own."""
    config = Config(
        signature_version="s3v4", request_checksum_calculation="when_required", response_checksum_validation="when_required",
        retries={"max_attempts": 3, "mode": "standard"}, s3={"addressing_style": "path"}, **_SECONDS,
    )  # fmt: skip
    return S3Storage(
        bucket_name=bucket, endpoint_url=settings.S3_ENDPOINT or None, region_name=settings.S3_REGION or None,
        access_key=settings.S3_KEY, secret_key=settings.S3_SECRET, client_config=config,
    )  # fmt: skip


def _bucket(store: str) -> str:
    return str(settings.S3_ORIGINALS if store == "originals" else settings.S3_CLEAN)


def _key(key: str) -> str:
    return f"{settings.S3_PREFIX.strip('/')}/{key}" if settings.S3_PREFIX else key


def _encryption() -> dict[str, str]:
    return {"ServerSideEncryption": settings.S3_ENCRYPTION} if settings.S3_ENCRYPTION else {}
