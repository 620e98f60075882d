"""Settings from a TOML file and from flags, laid over a preset. A key that nobody knows is refused with the name it is nearest to."""

from __future__ import annotations

import argparse
import difflib
import json
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from training.explained import explanation
from training.types import TrainingRefused

T = TypeVar("T")
Changes = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that may be set. `key`: dotted, as `resnest.lr`; `kind`: its type; `says`: its explanation."""

    key: str
    value: object
    kind: Any
    says: str


def settings_of(given: object, prefix: str = "") -> Iterator[Setting]:
    """All settings of a dataclass and of the dataclasses in it, in order of definition."""
    hints = get_type_hints(type(given))
    for one in fields(given):  # type: ignore[arg-type]
        value, key = getattr(given, one.name), f"{prefix}{one.name}"
        if is_dataclass(value):
            yield from settings_of(value, f"{key}.")
        else:
            yield Setting(key, value, hints[one.name], explanation(one))


def read(path: Path) -> dict[str, object]:
    """Dotted keys and values of a TOML file. Raises TrainingRefused when it cannot be read."""
    try:
        return dict(_dotted(tomllib.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise TrainingRefused(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingRefused(f"{path.name} is not valid TOML: {error}.") from error


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def refuse_unknown(given: Changes, known: list[str]) -> None:
    """Raise TrainingRefused for the first key that is not known, naming the nearest one that is."""
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else f". Known are {', '.join(known)}."
            raise TrainingRefused(f"There is no setting {key!r}{hint}")


def changed(given: T, changes: Changes, prefix: str = "") -> T:
    """The same dataclass with those of `changes` that are its own (dotted keys). Raises TrainingRefused for a value of the wrong type."""
    hints = get_type_hints(type(given))
    made: dict[str, Any] = {}
    for one in fields(given):  # type: ignore[arg-type]
        key, value = f"{prefix}{one.name}", getattr(given, one.name)
        if is_dataclass(value):
            made[one.name] = changed(value, changes, f"{key}.")
        elif key in changes:
            made[one.name] = fitted(key, changes[key], hints[one.name])
    return replace(given, **made)  # type: ignore[type-var]


def fitted(key: str, value: object, kind: Any) -> object:
    """`value` as `kind`; text is parsed, as it comes from a flag. Raises TrainingRefused."""
    try:
        return _as(value, kind)
    except (TypeError, ValueError) as error:
        raise TrainingRefused(f"{key} = {value!r} does not fit: {_name(kind)} is needed.") from error


def _as(value: object, kind: Any) -> object:
    if get_origin(kind) in (Union, types.UnionType):
        return None if value in (None, "") else _as(value, next(k for k in get_args(kind) if k is not type(None)))
    if get_origin(kind) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise TypeError
        return tuple(_as(part.strip() if isinstance(part, str) else part, get_args(kind)[0]) for part in parts)
    if kind is bool:
        return _as_bool(value)
    if isinstance(value, bool) or (kind is int and isinstance(value, float)) or (kind is str and not isinstance(value, str)):
        raise TypeError
    return kind(value)


def _as_bool(value: object) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise TypeError


def _name(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list of names"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(kind, str(kind))


def add_flags(options: argparse.ArgumentParser, *defaults: object) -> None:
    """A flag for every setting, e.g. `--resnest.lr`; what is not given stays out of the parsed namespace."""
    group = options.add_argument_group("settings", "each also as a key of the --config file (sections in TOML); flags win")
    for given in defaults:
        for one in settings_of(given):
            says = f"{one.says} (default {_shown(one.value)})".replace("%", "%%")
            short: dict[str, Any] = {"nargs": "?", "const": "true"} if one.kind is bool else {}
            group.add_argument(f"--{one.key}", dest=one.key, default=argparse.SUPPRESS, metavar="X", help=says, **short)


def flags_of(parsed: argparse.Namespace, *defaults: object) -> dict[str, object]:
    """Those of the settings that were given as flags, as text."""
    known = {one.key for given in defaults for one in settings_of(given)}
    return {key: value for key, value in vars(parsed).items() if key in known}


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def to_toml(*given: object) -> str:
    """The settings as a TOML file that `read` reads back, each with its explanation above it."""
    lines: list[str] = []
    settings = [one for part in given for one in settings_of(part)]
    section = ""
    # In TOML, what stands below a section's head belongs to it: plain keys first
    for one in sorted(settings, key=lambda one: "." in one.key):
        head, _, name = one.key.rpartition(".")
        if head != section:
            section = head
            lines += ["", f"[{head}]"]
        if one.value is None:
            lines.append(f"# {name} is not set. {one.says}")
        else:
            lines += [f"# {one.says}"] if one.says else []
            lines.append(f"{name} = {_toml(one.value)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    # JSON's texts, numbers, lists and truth values are TOML's too, but for numbers that are none
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
