"""Claim, lease, fence. The contract that the rooms above code against."""

from __future__ import annotations

from dataclasses import dataclass

from portal.jobs.models import Job


@dataclass(frozen=True, slots=True)
class Claim:
    """One job in the hands of one worker. `attempt` is its fence."""

    job_id: int
    kind: str
    subject_id: int
    actor_id: int | None
    attempt: int


class LostClaim(Exception):
    """Another attempt has taken the job over, or it was cancelled: the late writer is refused and its transaction rolled back."""


def enqueue(*, kind: str, subject_id: int, actor_id: int | None = None) -> Job:
    """Put one piece of work in the queue, in the caller's transaction; once per kind and subject while in work. Rings after commit."""
    raise NotImplementedError


def claim(kind: str, *, worker: str, limit: int | None = None) -> list[Claim]:
    """Take up to a batch of claimable jobs for one worker (`FOR UPDATE SKIP LOCKED`); commits at once."""
    raise NotImplementedError


def extend(claims: list[Claim], *, progress: dict[str, object] | None = None) -> set[int]:
    """Prove life. Returns the ids of jobs still held and not asked to cancel."""
    raise NotImplementedError


def complete(claim: Claim) -> None:
    """Inside the transaction that writes the result: mark done if the fence holds, else raise LostClaim (everything rolls back)."""
    raise NotImplementedError


def fail(claim: Claim, error: str) -> None:
    """Inside a transaction: mark failed for good with its reason (a Retry button exists), if the fence holds, else raise LostClaim."""
    raise NotImplementedError


def retry(*, job: Job, actor_id: int) -> Job:
    """Queue a failed or cancelled job again."""
    raise NotImplementedError


def cancel(*, job: Job, actor_id: int) -> None:
    """A queued job is cancelled at once; a claimed one is asked to stop."""
    raise NotImplementedError
