"""What a page asks of its reader and shows them. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asks:
    """`box`: to be drawn before the answer. `opinion`: the model's, shown after it.

    By the rule that is in force for the image's site at that moment, of every question alike, and not by the rule that the question began
    with: a question that measures a reader is always a new one, so that after a change of rules it would be known by what its page asks.
    """

    box: bool = False
    opinion: bool = False
