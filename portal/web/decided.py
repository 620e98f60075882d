"""How a label came about, in words: by which rule, from which answers. Pure but for the rows that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from portal.labels.models import Label
from portal.reviews.models import Read, ReviewRules, ReviewTask

_NUMBERS = {1: "one read", 2: "two independent reads", 3: "three independent reads"}


def decided(label: Label, tasks: Sequence[ReviewTask]) -> str:
    """Of a label that people settled; else nothing. `tasks`: those of its image, with their rules and reads."""
    basis = label.basis
    task = next((task for task in tasks if task.pk == basis.get("task")), None)
    if task is None or "reads" not in basis:
        return ""
    reads = [read for read in task.reads.all() if read.pk in basis["reads"]]
    parts = [f"Task {task.pk}, {_rule(task.rules)}: {_said(reads)}", _clear(basis.get("posterior"))]
    if "restored" in basis:
        parts.append("stands again since a later answer was taken back")
    return "; ".join(part for part in parts if part) + "."


def _rule(rules: ReviewRules | None) -> str:
    if rules is None:
        return "by the built-in rule of one read"
    words = [f"by rule {rules.pk} of {rules.created:%-d %b %Y}: {_NUMBERS[rules.reads_needed]}"]
    if rules.adaptive:
        words.append("asked on until it is clear by how well they read")
    if rules.unsure_asks:
        words.append("one more where somebody is unsure")
    return ", ".join(words)


def _said(reads: Sequence[Read]) -> str:
    counted = Counter(read.kind.replace("_", " ") for read in reads if read.role == "reader")
    words = [f"{count} × {kind}" for kind, count in counted.items()]
    words += [f"then an adjudicator: {read.kind.replace('_', ' ')}" for read in reads if read.role == "adjudicator"]
    return ", ".join(words)


def _clear(posterior: float | None) -> str:
    """How clear, and by which measurement of readers, the label's basis keeps. It is not told: both follow from what the same readers said
    of other sites' images."""
    return "" if posterior is None else "clear enough by how well these readers read"
