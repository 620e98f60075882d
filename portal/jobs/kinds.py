"""The kinds of work there are, and the queue that each waits in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobKind:
    """queue: io, gpu or train. batch: how many are claimed at once. lease: seconds a claim lasts before it must be extended.

    lanes: how many batches one worker has in hand at once: while one is decoded or written, another is computed.
    """

    name: str
    queue: str
    batch: int
    lease: int = 120
    lanes: int = 1

    @property
    def bell(self) -> str:
        """The Celery queue of this kind's doorbell: one a kind, so that a worker takes turns and a long backlog starves nobody."""
        return f"{self.queue}.{self.name}"


KINDS = {
    kind.name: kind
    for kind in (
        JobKind("sanitise", "io", 8),
        JobKind("analyse", "gpu", 16, lanes=2),
        JobKind("assess", "io", 16),
        JobKind("freeze", "io", 1),
        JobKind("train", "train", 1, lease=60),
        JobKind("evaluate", "train", 1, lease=60),
    )
}
