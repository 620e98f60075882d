"""The time left of an experiment: what each training still has to do, at the pace seen so far in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from inference.types import Progress
from training.config import DeepSADRecipe, DetectorRecipe, ResNeStRecipe
from training.methods import Recipe

DECODING = 1.7
"""What a pass of the autoencoder takes, with its decoder, compared with one of Deep SAD."""


def work(recipe: Recipe, images: int) -> float:
    """Seconds of one core that a training takes, roughly; only how trainings compare matters. `images`: in the training split.

    From trainings on two machines (docs/LOG-ml.md): a picture at 160 px costs the light detector 0.04 s, a crop at 32 px ResNeSt-50 0.02 s,
    Deep SAD in small batches 0.006 s. A network's work grows with its pixels; `v2` at the same size costs some 20 times the light one.
    """
    if isinstance(recipe, DetectorRecipe):
        heavier = 20 if recipe.arch == "retinanet_v2" else 1
        return 0.04 * heavier * (recipe.size / 160) ** 2 * recipe.epochs * (recipe.epoch_images or images)
    if isinstance(recipe, ResNeStRecipe):
        return 0.02 * (recipe.size / 32) ** 2 * recipe.epochs * (recipe.epoch_images or images)
    if isinstance(recipe, DeepSADRecipe):
        return (0.002 + 0.016 / recipe.batch) * (recipe.epochs + DECODING * recipe.ae_epochs * recipe.ae_init) * images
    # Views are embedded once by a network at 224 px, forward only; the head on top costs next to nothing
    return 0.3 * recipe.views * images


@dataclass(slots=True)
class Pace:
    """Tells each training's progress as the whole experiment's: fractions that only grow, and the time left of everything.

    `costs`: `work` by training, in the order of the experiment. Only what was trained in this process tells how fast it is; checkpoints of
    an earlier one say no more than how much is done.
    """

    costs: Mapping[str, float]
    report: Callable[[Progress], None]
    seen: dict[str, float] = field(default_factory=dict)

    def of(self, name: str) -> Callable[[Progress], None]:
        """What to call with the progress of the training of that name alone."""
        place = list(self.costs).index(name)
        begin, total, cost = sum(list(self.costs.values())[:place]), sum(self.costs.values()), self.costs[name]

        def tell(progress: Progress) -> None:
            left, todo = progress.seconds_left, cost * (1 - progress.fraction)
            if left is not None:
                if todo > 0:
                    self.seen[name] = left / todo
                left += (total - begin - cost) * sum(self.seen.values()) / max(1, len(self.seen))
            fraction = (begin + cost * progress.fraction) / total
            self.report(replace(progress, stage=f"{name} {progress.stage}", fraction=fraction, seconds_left=left))

        return tell
