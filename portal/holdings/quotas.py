"""How much a site may hold: decisions on numbers, in words for the person who sends. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from portal.core.text import counted


@dataclass(frozen=True, slots=True)
class Limits:
    """0 means none."""

    bytes: int = 0
    files: int = 0
    in_work: int = 0


@dataclass(frozen=True, slots=True)
class Use:
    bytes: int = 0
    files: int = 0
    in_work: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One limit beside its use. `limit` and `left` are None where there is no limit."""

    name: str
    used: int
    limit: int | None

    @property
    def left(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def said(self) -> str:
        """`3 of 5 files`, `1.2 GB of 1.0 TB`."""
        if self.name == "bytes":
            return said(self.used) + (f" of {said(self.limit)}" if self.limit is not None else "")
        return f"{self.used:,}" + (f" of {self.limit:,}" if self.limit is not None else "") + f" {self.name}"

    @property
    def share(self) -> float:
        return min(1.0, self.used / self.limit) if self.limit else 0.0


def lines(use: Use, limits: Limits) -> list[Line]:
    return [
        Line("bytes", use.bytes, limits.bytes or None),
        Line("files", use.files, limits.files or None),
        Line("images in work", use.in_work, limits.in_work or None),
    ]


def full(use: Use, limits: Limits, size: int = 0) -> str:
    """Why a file of `size` bytes finds no room; empty where it does."""
    if limits.files and use.files >= limits.files:
        return f"Your site has stored {use.files:,} files, as many as it may. Ask your administrator for more room, then send this again."
    if limits.bytes and (use.bytes + size > limits.bytes or use.bytes >= limits.bytes):
        held, most = said(use.bytes), said(limits.bytes)
        return f"Your site has stored {held} of the {most} that it may. Ask your administrator for more room, then send this again."
    return ""


def busy(use: Use, limits: Limits) -> str:
    """Why the site must wait before it sends more; empty where it need not."""
    if limits.in_work and use.in_work >= limits.in_work:
        return f"In work are {counted(use.in_work, 'image')} of your site, as many as may be at once. Wait a while, then go on."
    return ""


def said(count: int) -> str:
    """Bytes as people say them."""
    value, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
