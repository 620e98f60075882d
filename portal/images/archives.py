"""The unpacking of archives: each member comes in as a file that was sent, and what was done of an archive is never done again."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from portal.accounts.models import User
from portal.audit.services import record
from portal.core.faults import fault
from portal.core.text import counted
from portal.images import room, services, storage, unzip
from portal.images.archive_rules import Bounds
from portal.images.cleaning import StoreTrouble
from portal.images.locks import lock
from portal.images.models import Archive, FileOutcome, Upload, UploadFile
from portal.images.naming import choose
from portal.jobs import bell
from portal.jobs import services as jobs

_BATCH = 16
"""Members written in one transaction."""
_TURN_SECONDS = 10.0
"""Then the archive goes back into the queue, so that others get their turn; it goes on where it stopped."""
_WORDS = {"accepted": "accepted", "duplicate": "already here", "rejected": "rejected"}
GONE = "The archive is no longer in the store. Send it again."


class _Stopped(Exception):
    """The upload was cancelled, or another worker has the archive now."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A member that was read: kept in `spooled`, or refused."""

    number: int
    path: str
    spooled: storage.Spooled | None
    reason: str = ""


def unpack_claimed(claims: list[jobs.Claim]) -> None:
    """Bring in the members of these archives, each archive for a while. Raises StoreTrouble where the store failed."""
    for claim in claims:
        archive = _waiting(claim)
        if archive is None:
            jobs.finish(claim, lambda: None)
        else:
            _unpack(claim, archive)


def give_up(claim: jobs.Claim, error: str) -> None:
    """Inside a transaction: the archive killed its worker, or failed, too often. Sent again, it is tried again."""
    archive = _waiting(claim)
    if archive is not None:
        _end(claim, archive, FileOutcome.REJECTED, f"The archive could not be unpacked: {error} Send the files by themselves."[:400])
        archive.delete()
    jobs.fail(claim, error)


def sweep_archives() -> int:
    """Remove archives that a crash left in the store, where no row waits for them any more. Returns how many."""
    removed = 0
    for upload_id, sha256, path in storage.archives_on_disk():
        if not Archive.objects.filter(upload=upload_id, sha256=sha256, file__outcome=FileOutcome.UNPACKING).exists():
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _waiting(claim: jobs.Claim) -> Archive | None:
    rows = Archive.objects.select_related("upload", "file")
    return rows.filter(pk=claim.subject_id, file__outcome=FileOutcome.UNPACKING).first()


def _unpack(claim: jobs.Claim, archive: Archive) -> None:
    try:
        through = _Unpacking(claim, archive).go_on()
    except _Stopped:
        jobs.finish(claim, lambda: None, end=jobs.stop)
    except unzip.Unusable as refused:
        jobs.finish(claim, partial(_end, claim, archive, FileOutcome.REJECTED, str(refused)))
    except FileNotFoundError:
        jobs.finish(claim, partial(_end, claim, archive, FileOutcome.REJECTED, GONE))
    except OSError as error:
        raise StoreTrouble(f"The store could not be read or written ({error.strerror}).") from error
    else:
        if through:
            jobs.finish(claim, partial(_end, claim, archive, FileOutcome.UNPACKED, ""))
        else:
            jobs.release([claim])
            bell.ring(claim.kind)


class _Unpacking:
    """One turn at one archive."""

    def __init__(self, claim: jobs.Claim, archive: Archive) -> None:
        self.claim, self.archive = claim, archive
        self.actor = User.objects.get(pk=claim.actor_id or archive.upload.created_by_id)
        self.plan = unzip.Plan(0, 0, "")
        self.read: list[_Taken] = []

    def go_on(self) -> bool:
        """Take in members until the turn is over. True where the archive is through."""
        bounds = Bounds(settings.MAX_ARCHIVE_BYTES, settings.MAX_FILE_BYTES)
        path = storage.archive_path(self.archive.upload_id, self.archive.sha256)
        due = time.monotonic() + _TURN_SECONDS
        try:
            with closing(unzip.read(path, bounds, start=self.archive.done)) as found:
                for one in found:
                    if isinstance(one, unzip.Plan):
                        self.plan = one
                        continue
                    self.read.append(_spool(one))
                    if len(self.read) >= _BATCH:
                        self._write()
                        if time.monotonic() > due:
                            return False
            self._write()
        finally:
            for left in self.read:
                if left.spooled:
                    left.spooled.path.unlink(missing_ok=True)
        return True

    def _write(self) -> None:
        """The rows of what was read, and how far the archive is, in one transaction."""
        with transaction.atomic():
            upload = lock(self.archive.upload)
            if upload.cancelled or self.claim.job_id not in jobs.extend([self.claim]):
                raise _Stopped
            for member in self.read:
                row = self._take(upload, member)
                self.archive.outcomes[row.outcome] = self.archive.outcomes.get(row.outcome, 0) + 1
                self.archive.done = member.number + 1
            self.archive.members = self.plan.members
            self.archive.outcomes["hidden"] = self.plan.hidden
            self.archive.save(update_fields=["members", "done", "outcomes"])
            fault("before_unpack_commit")
        self.read = []
        fault("after_unpack_commit")

    def _take(self, upload: Upload, member: _Taken) -> UploadFile:
        name = _name(upload, self.archive.file.name, self.plan.top, member)
        if member.spooled is None:
            return services.refuse(upload, name, self.actor, member.reason, archived=True)
        if reason := room.refusal_now(upload.site_id, member.spooled.sha256, member.spooled.size):
            return services.refuse(upload, name, self.actor, reason, archived=True)
        storage.keep_original(upload.site_id, member.spooled)
        return services.take_in(upload, name, self.actor, member.spooled, archived=True)


def _spool(member: unzip.Member) -> _Taken:
    try:
        return _Taken(member.number, member.name, storage.spool(member, limit=lambda _: settings.MAX_FILE_BYTES))
    except unzip.BadMember as bad:
        return _Taken(member.number, member.name, None, str(bad))
    except storage.TooBig as big:
        return _Taken(member.number, member.name, None, f"The file has more than {big.limit // 10**6} MB. Send it smaller.")


def _name(upload: Upload, archive: str, top: str, member: _Taken) -> str:
    """What the member is called in the upload: see `naming.choose`."""
    names = [services.plain_name(name) for name in (member.path.removeprefix(top), member.path, f"{archive}/{member.path}")]
    rows = upload.files.filter(Q(name__iexact=names[0]) | Q(name__iexact=names[1]) | Q(name__iexact=names[2])).select_related("image")
    sha256 = member.spooled.sha256 if member.spooled else ""
    waiting = {row.name.casefold() for row in rows if row.outcome in (FileOutcome.EXPECTED, FileOutcome.MISSING)}
    taken = {row.name for row in rows if row.name.casefold() not in waiting and not (row.image and row.image.sha256 == sha256)}
    return choose(names, waiting, taken)


def _end(claim: jobs.Claim, archive: Archive, outcome: FileOutcome, reason: str) -> None:
    """Inside a transaction: the archive's row says what became of it, the table is settled, the archive itself is gone."""
    upload = lock(archive.upload)
    row = upload.files.filter(pk=archive.file_id, outcome=FileOutcome.UNPACKING)
    if not row.update(outcome=outcome, message=reason or _told(archive)):
        return
    if upload.closed:
        services.settle_table(upload, upload.created_by)
    counts = {name: archive.outcomes.get(name, 0) for name in (*_WORDS, "hidden")}
    record(
        actor_id=claim.actor_id, action=f"archive.{outcome}", subject=archive.file, site_id=upload.site_id,
        members=archive.members, reason=reason, **counts,
    )  # fmt: skip
    transaction.on_commit(partial(storage.archive_path(upload.pk, archive.sha256).unlink, missing_ok=True))


def _told(archive: Archive) -> str:
    counts = Counter(archive.outcomes)
    parts = ", ".join(f"{counts[name]} {words}" for name, words in _WORDS.items() if counts[name]) or "none"
    hidden = f" Left out: {counted(counts['hidden'], 'hidden file')} of the computer." if counts["hidden"] else ""
    return f"Files in it: {archive.members or 0} ({parts}).{hidden} The archive itself was not kept."
