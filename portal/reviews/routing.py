"""Who may read what, and in which order. Pure; `selectors.readable_by` says the same in SQL, and a test holds the two together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReaderFacts:
    """`sites`: where this person works, by any role."""

    id: int
    sites: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """`readers`: who has answered as reader. `holders`: who holds a live lease."""

    id: int
    site: int
    priority: float
    reads_needed: int
    readers: frozenset[int] = frozenset()
    holders: frozenset[int] = frozenset()
    adjudication: bool = False


def may_read(reader: ReaderFacts, task: TaskFacts, *, own_site_first: bool) -> bool:
    """Never twice, never more people than answers still needed, and the first answer comes from outside the image's site."""
    if task.adjudication or reader.id in task.readers:
        return False
    if task.site in reader.sites and not task.readers and not own_site_first:
        return False
    return len(task.readers | task.holders - {reader.id}) < task.reads_needed


def may_adjudicate(reader: ReaderFacts, task: TaskFacts) -> bool:
    """An adjudicator never settles what they have read, and one at a time is enough."""
    return task.adjudication and reader.id not in task.readers and not task.holders - {reader.id}


def order(tasks: Iterable[TaskFacts]) -> list[TaskFacts]:
    """The queue: what the models are least sure of first, then the oldest."""
    return sorted(tasks, key=lambda task: (-task.priority, task.id))
