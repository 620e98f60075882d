"""What the paper published, as far as it is known here (METHODS 8), and the slips in it."""

from __future__ import annotations

from dataclasses import dataclass

from training.metrics import wilson
from training.types import Interval

PATIENTS = 79
"""Of the test source, Peru: 101 non-regular images (58 green, 43 Lugol's iodine) and 307 regular ones."""
NON_REGULAR, REGULAR, GREEN, IODINE = 101, 307, 58, 43


@dataclass(frozen=True, slots=True)
class Published:
    """Counts of one method on Peru; None where they are not known here."""

    method: str
    found: int
    kept: int | None = None
    green: int | None = None
    iodine: int | None = None

    def figures(self) -> dict[str, Interval]:
        """Those of the figures that follow from the counts, with Wilson intervals."""
        counted = {
            "sensitivity": (self.found, NON_REGULAR), "specificity": (self.kept, REGULAR), "green found": (self.green, GREEN),
            "iodine found": (self.iodine, IODINE),
        }  # fmt: skip
        known = {name: wilson(hits, total, PATIENTS) for name, (hits, total) in counted.items() if hits is not None}
        if self.kept is not None:
            wrong = REGULAR - self.kept
            known["accuracy"] = wilson(self.found + self.kept, NON_REGULAR + REGULAR, PATIENTS)
            known["precision"] = wilson(self.found, self.found + wrong, PATIENTS)
        return known


PUBLISHED = {
    "deep_sad": Published("deep_sad", 94, 307, 51, 43),
    "resnest_224": Published("resnest_224", 91),
    "resnest_32": Published("resnest_32", 63),
}
SLIPS = (
    "Its Table 6 prints an accuracy of 0.981; (94 + 307) / 408 is 0.983.",
    "Its Table 1 counts 427 patients for training, which fit neither its Table 2 (about 380) nor the 475 patients in all.",
    "All seven misses of its Deep SAD are green: 51 of 58 green images were found, and 43 of 43 with Lugol's iodine.",
    "Whether its Deep SAD started from an autoencoder is open: the authors' code loses those weights silently. Both are trained here.",
)
