"""What a site calls our columns, kinds and devices: what is known, and guesses by likeness for what is not. Pure."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from portal.ml import Kind

COLUMNS = ("file", "image", "patient", "exam", "device", "stated_kind", "captured")
MEANING = {
    "file": "name of the file",
    "image": "number of an image in the portal",
    "patient": "your pseudonym of the patient",
    "exam": "your code of the visit",
    "device": "colposcope or camera",
    "stated_kind": "what the picture is",
    "captured": "day it was taken",
}
NOT_READ = ""
_OUTCOMES_ONLY = (
    "outcome", "message", "state", "reason", "table_row", "table_error", "findings", "near_duplicate_of", "advice",
)  # fmt: skip
_USUAL = {
    **dict.fromkeys(_OUTCOMES_ONLY, NOT_READ),
    "filename": "file", "file_name": "file", "path": "file", "name": "file",
    "patient_id": "patient", "patient_code": "patient", "subject": "patient",
    "exam_id": "exam", "exam_code": "exam", "visit": "exam", "camera": "device", "kind": "stated_kind",
    "image_number": "image", "image_id": "image", "capture_day": "captured", "capture_date": "captured",
}  # fmt: skip
"""Read without asking; any other name is asked about once. An upload's outcomes can be corrected and sent back as they are."""
_LIKE = {
    "file": ("file", "datei", "dateiname", "fichier", "archivo", "arquivo", "bild", "foto", "photo", "picture", "image name", "filename"),
    "patient": ("patient", "patient no", "patientin", "paciente", "subject", "case", "pat", "pid", "study id", "participant", "woman"),
    "exam": ("exam", "visit", "visite", "untersuchung", "besuch", "examen", "consultation", "encounter", "visita"),
    "device": ("device", "camera", "kamera", "colposcope", "kolposkop", "appareil", "equipment", "gerät"),
    "stated_kind": ("kind", "type", "art", "filter", "stain", "klasse", "category", "label", "diagnosis", "aufnahmeart", "färbung"),
    "captured": ("captured", "date", "datum", "day", "capture date", "aufnahmedatum", "fecha", "exam date", "taken"),
    "image": ("image number", "image id", "image no"),
}  # fmt: skip
_USUAL_KINDS = {"green": "green_filter", "lugol": "lugol_iodine", "iodine": "lugol_iodine", "white_light": "regular"}
_LIKE_KINDS = {
    "regular": ("regular", "normal", "native", "nativ", "white", "white light", "weiss", "blanc", "plain", "acetic acid", "via", "aceto"),
    "green_filter": ("green", "green filter", "grün", "grünfilter", "vert", "verde"),
    "lugol_iodine": ("lugol", "iodine", "vili", "jod", "schiller", "iode", "yodo"),
    "not_cervix": ("not cervix", "other", "anders", "vulva", "form", "no cervix"),
    "post_treatment": ("post treatment", "after treatment", "post", "leep", "treated", "nach therapie", "cryo"),
    "unusable": ("unusable", "bad", "blurred", "unscharf", "discard", "schlecht"),
}  # fmt: skip
_ENOUGH = 0.72


@dataclass(frozen=True, slots=True)
class Words:
    """A site's own words by key: columns, kinds and devices. `devices`: the names by which its devices are known already."""

    columns: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    known_devices: Sequence[str] = ()


def key(text: str) -> str:
    """What spellings of one word have in common: capitals, spaces, hyphens, dots and hidden characters aside."""
    shown = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return re.sub(r"[\s\-_.:]+", "_", shown.casefold()).strip("_")[:120]


def column(name: str, words: Words, header: Iterable[str] = ()) -> str | None:
    """Our name of a column, NOT_READ for one that the site does not want read, None for one that nobody knows.

    `image` is a number of ours beside a column `file`, and a file's name without one.
    """
    plain = key(name)
    if plain in words.columns:
        return words.columns[plain]
    if plain == "image":
        return "image" if any(key(other) in ("file", "filename", "file_name") for other in header) else "file"
    return plain if plain in COLUMNS else _USUAL.get(plain)


def kind(word: str, words: Words) -> str | None:
    """Our kind for a word; None for one that nobody knows."""
    plain = key(word)
    found = words.kinds.get(plain) or _USUAL_KINDS.get(plain, plain)
    return found if found in list(Kind) else None


def device(word: str, words: Words) -> str:
    """The device's name here; a device is named freely, so that an unknown word is a new device."""
    return words.devices.get(key(word), word)


def guess_column(name: str, taken: Iterable[str] = ()) -> str:
    """The likeliest of our columns, NOT_READ where none is likely or the likely one is there already."""
    found = _likeliest(key(name), {ours: [key(word) for word in like] for ours, like in _LIKE.items()})
    return NOT_READ if found in set(taken) else found


def guess_kind(word: str) -> str:
    return _likeliest(key(word), {ours: [key(like) for like in words] for ours, words in _LIKE_KINDS.items()})


def guess_device(word: str, known: Iterable[str]) -> str:
    """A known device that is written a little differently, or nothing."""
    return _likeliest(key(word), {name: [key(name)] for name in known})


def _likeliest(plain: str, like: Mapping[str, Sequence[str]]) -> str:
    scores = {ours: max((_likeness(plain, word) for word in words), default=0.0) for ours, words in like.items()}
    best = max(scores, key=lambda ours: scores[ours], default="")
    return best if best and scores[best] >= _ENOUGH else ""


def _likeness(plain: str, word: str) -> float:
    if plain == word:
        return 1.0
    if len(word) > 2 and word in plain.split("_"):
        return 0.9
    return difflib.SequenceMatcher(None, plain, word).ratio()
