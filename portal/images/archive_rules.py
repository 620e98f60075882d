"""What is taken of a ZIP archive and what is not, by its list of files and by how a file begins. Pure."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from portal.images.formats import refusal

MAX_MEMBERS = 20_000
BOMB = "The archive is built to burst what opens it. Pack the photographs anew and send that."
_FOLDS = 200
_SMALL = 1_000_000
_HIDDEN = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"})
_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods")
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


@dataclass(frozen=True, slots=True)
class Bounds:
    """`total` and `member` in bytes, unpacked."""

    total: int
    member: int
    members: int = MAX_MEMBERS


def unusable(infos: Sequence[zipfile.ZipInfo], bounds: Bounds) -> str:
    """Why nothing is taken of an archive with this list of files; empty where its members are to be looked at one by one."""
    if len(infos) > bounds.members:
        return too_many(bounds.members)
    if any(info.filename == "[Content_Types].xml" for info in infos):
        return "By its content this is an office document. Send the photographs themselves."
    if all(is_folder(info) or is_hidden(info.filename) for info in infos):
        return "The archive holds no files."
    if _overlap(infos):
        return BOMB
    total = sum(info.file_size for info in infos)
    if total > bounds.total:
        return f"Unpacked, the archive would have {total / 1e9:.1f} GB; at most {bounds.total / 1e9:.1f} GB are taken. Send it in parts."
    return ""


def unfit(info: zipfile.ZipInfo, bounds: Bounds) -> str:
    """Why this member is not opened at all, by the list of files alone; empty where it is."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.create_system == 3 and kind not in (0, stat.S_IFREG):
        return "This is a link or a device and no file. Pack the file itself."
    if info.flag_bits & 0x1:
        return "The file is locked with a password. Pack the archive without one."
    if info.compress_type not in _METHODS:
        return "The file is packed in a way that is not read here. Pack the archive as an ordinary ZIP."
    if info.file_size > bounds.member:
        return f"The file has more than {bounds.member // 10**6} MB. Send it smaller."
    if info.file_size > _SMALL and info.file_size > _FOLDS * info.compress_size:
        return f"The file is packed more than {_FOLDS}-fold, which no photograph is. Send the photograph itself."
    return ""


def is_hidden(name: str) -> bool:
    """What computers leave in folders, and nobody meant to send."""
    parts = [part for part in spelled(name).split("/") if part.strip(".")]
    return any(part.startswith(".") or part.lower() in _HIDDEN for part in parts)


def spelled(name: str) -> str:
    """A member's name with the folders as they are written everywhere here, and without those that lead nowhere."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part.strip("."))


def common_top(names: Iterable[str]) -> str:
    """The one folder that all names lie in, with its slash: left out of names, as it is when a folder is dropped on the page."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    return f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""


def not_taken(name: str, head: bytes) -> str:
    """Why a member that begins like this is no picture to take; empty where it is."""
    reason = refusal(head)
    if reason and name.lower().endswith(_TABLES):
        return "A table is not read inside an archive. Send it by itself, beside the archive."
    return reason


def is_folder(info: zipfile.ZipInfo) -> bool:
    """A folder's own entry, by its name, which is all that tells."""
    return info.filename.endswith(("/", "\\"))


def repeated(names: Sequence[str]) -> set[int]:
    """The places of those names that came before."""
    first: dict[str, int] = {}
    return {number for number, name in enumerate(names) if first.setdefault(name, number) != number}


def _overlap(infos: Iterable[zipfile.ZipInfo]) -> bool:
    """Whether two members share bytes of the archive: no packer does that, bombs do."""
    spans = sorted((info.header_offset, info.header_offset + 30 + info.compress_size) for info in infos)
    return any(ends > begins for (_, ends), (begins, _) in pairwise(spans))


def too_many(members: int) -> str:
    """In words, with the limit."""
    return f"The archive holds more than {members} files. Send it in parts."
