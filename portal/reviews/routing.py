"""Who may read what. Pure; `selectors.readable_by` and `queue.py` say the same in SQL, and a test holds the three together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ReaderFacts:
    """`sites`: where this person works, by any role."""

    id: int
    sites: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """`readers`: who has answered as reader. `holders`: who holds a live lease. `where`: the sites of all of these, by person.

    Of its image, by this question or an earlier one: `told` was shown the model's opinion, `settlers` what others said, to settle it.
    """

    id: int
    site: int
    priority: float
    reads_needed: int
    readers: frozenset[int] = frozenset()
    holders: frozenset[int] = frozenset()
    where: Mapping[int, frozenset[int]] = field(default_factory=dict)
    adjudication: bool = False
    told: frozenset[int] = frozenset()
    settlers: frozenset[int] = frozenset()


def may_read(reader: ReaderFacts, task: TaskFacts, *, own_site_first: bool) -> bool:
    """Never twice, never who knows more of the image than the picture, never more people than answers still needed, the first answer comes
    from outside the image's site, and the second from another site than the first. A third may come from anywhere: where few sites take
    part, it could not come otherwise."""
    if task.adjudication or reader.id in task.readers | task.told | task.settlers:
        return False
    if not own_site_first and not _from_elsewhere(reader, task):
        return False
    return len(task.readers | task.holders - {reader.id}) < task.reads_needed


def _from_elsewhere(reader: ReaderFacts, task: TaskFacts) -> bool:
    if not task.readers and task.site in reader.sites:
        return False
    others = task.readers | task.holders - {reader.id}
    return len(task.readers) >= 2 or not any(task.where.get(other, frozenset()) & reader.sites for other in others)


def takes_part(reader: ReaderFacts, only_sites: Collection[int], only_readers: Collection[int]) -> bool:
    """Whether a rule that names who takes part means this person; one that names nobody means everybody."""
    return not (only_sites or only_readers) or reader.id in only_readers or not reader.sites.isdisjoint(only_sites)


def may_adjudicate(reader: ReaderFacts, task: TaskFacts) -> bool:
    """An adjudicator never settles what they have read, or of which they know what the model says; and one at a time is enough."""
    return task.adjudication and reader.id not in task.readers | task.told and not task.holders - {reader.id}


def roughly(waiting: int) -> str:
    """How much waits for a reader, in words. Not the number: it would fall by one with an answer that settles something, and stand still
    with one that only measures the reader."""
    if waiting == 0:
        return "Nothing waits for you."
    return next(words for least, words in _ROUGHLY if waiting >= least)


_ROUGHLY = (
    (1000, "More than a thousand pictures wait for you."),
    (100, "Hundreds of pictures wait for you."),
    (20, "Dozens of pictures wait for you."),
    (1, "Some pictures wait for you."),
)
MOST_NEEDED = 3
"""Whatever a rule asks for: where readers disagree, or cannot tell, it takes a third."""


def can_be_read(site: int, reads: int, readers: Iterable[ReaderFacts], *, own_site_first: bool) -> bool:
    """Whether these people could give so many answers about a picture of that site, by the rules above. If not, its questions wait on."""
    people = list(readers)
    if len(people) < reads:
        return False
    if own_site_first:
        return True
    first = [reader for reader in people if site not in reader.sites]
    if reads == 1:
        return bool(first)
    return any(one.id != other.id and not one.sites & other.sites for one in first for other in people)
