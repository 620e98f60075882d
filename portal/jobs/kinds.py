"""The kinds of work there are, and the queue that each waits in."""

from dataclasses import dataclass

STRIKES = 3
"""So many unexpected errors, each while claimed alone, fail a job."""
_PATIENT = 20


@dataclass(frozen=True, slots=True)
class JobKind:
    """queue: io, gpu or train. batch: how many are claimed at once. lease: seconds a claim lasts before it must be extended.

    lanes: how many batches one worker has in hand at once: while one is decoded or written, another is computed.
    deaths: so many of its workers, each while it was claimed alone, fail a job. Few where a stranger's file is opened, which may have
    killed them; many for long work on what is our own.
    owners: the table of the subjects where each has a `site_id`: among those sites the work takes turns. Named as data, as it belongs to
    a room above.
    """

    name: str
    queue: str
    batch: int
    lease: int = 120
    lanes: int = 1
    deaths: int = STRIKES
    owners: str = ""

    @property
    def bell(self) -> str:
        """The Celery queue of this kind's doorbell: one a kind, so that a worker takes turns and a long backlog starves nobody."""
        return f"{self.queue}.{self.name}"


KINDS = {
    kind.name: kind
    for kind in (
        JobKind("unpack", "io", 1, owners="images_archive"),
        JobKind("sanitise", "io", 8, owners="images_image"),
        JobKind("drop", "io", 1, deaths=_PATIENT, owners="images_image"),
        JobKind("compare", "io", 64, owners="images_image"),
        JobKind("analyse", "gpu", 16, lanes=2, owners="images_image"),
        JobKind("apply_table", "io", 1, deaths=_PATIENT, owners="images_metadatatable"),
        JobKind("assess", "io", 16, owners="images_image"),
        JobKind("freeze", "io", 1),
        JobKind("erase", "io", 1, owners="holdings_erasure"),
        JobKind("verify", "io", 1, deaths=_PATIENT),
        JobKind("walk_chain", "io", 1, deaths=_PATIENT),
        JobKind("measure_readers", "io", 1, deaths=_PATIENT),
        JobKind("train", "train", 1, lease=60),
        JobKind("evaluate", "train", 1, lease=60),
    )
}
