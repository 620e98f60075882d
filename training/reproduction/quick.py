"""The quick form: the same methods on fewer images, smaller networks and fewer epochs. It shows that everything works, not how well."""

from __future__ import annotations

from dataclasses import replace

from training.config import BINARY, DeepSADRecipe, DetectorRecipe, HeadRecipe, ResNeStRecipe
from training.methods import Recipe

MOST = {"train": 600, "validation": 240, "test": 420}
"""Images a role."""
SAID = (
    "Quick form: at most 600 / 240 / 420 images for training, validation and test; detectors at 128 px for 1 to 4 short epochs; "
    "ResNeSt-14 at 64 px instead of ResNeSt-50 at 224 px, 3 epochs of at most 384 crops; Deep SAD for 4 epochs (paper preset) and 12 "
    "(default); heads on one view for 8 epochs. Its figures say that the experiment runs, not how good a method is."
)
SKIPPED = frozenset({("retinanet_v2", "default"), ("retinanet_lite", "paper")})
"""In the quick form they would be repetitions: the sizes and epochs are the quick form's own."""


def shrunk(recipe: Recipe) -> Recipe:
    """The recipe in its quick form; what makes the method itself (losses, sampling, views, optimizer) stays."""
    if isinstance(recipe, DetectorRecipe):
        if recipe.arch == "retinanet_v2":
            return replace(recipe, size=128, epochs=1, epoch_images=16, batch=4)
        return replace(recipe, backbone="resnet10t", size=128, epochs=4, epoch_images=96)
    if isinstance(recipe, ResNeStRecipe):
        backbone = "resnest14d" if recipe.backbone.startswith("resnest") else recipe.backbone
        images = min(recipe.epoch_images or 384, 384)
        rate = recipe.lr if recipe.objective == BINARY else 1e-3
        return replace(recipe, backbone=backbone, size=min(recipe.size, 64), epochs=3, epoch_images=images, batch=32, lr=rate)
    if isinstance(recipe, DeepSADRecipe):
        few = not recipe.schedule
        return replace(recipe, epochs=4 if few else 12, ae_epochs=2 if few else 4)
    return _head(recipe)


def _head(recipe: HeadRecipe) -> HeadRecipe:
    return replace(recipe, epochs=8, views=1)
