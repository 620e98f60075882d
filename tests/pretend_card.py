"""A graphics card that is none: tensors "on cuda" are computed on the processor, and what a real card would refuse is refused.

For machines without a card. A tensor that was sent to `cuda` remembers its place; an operation that mixes places, reads a card's memory as
an array, or leaves a checkpoint's tensors on another card raises as CUDA would. The arithmetic is the processor's, so that a training "on
the card" must end with the very weights of one without. It says nothing of a card's speed, memory, rounding or kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import safetensors.torch as st
import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from training import engine, loader

CPU = torch.device("cpu")
CROSSING = {"aten::_to_copy", "aten::to", "aten::copy_"}
"""Operations that may read from one place and write to another."""
INDEXING = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_", "aten::_unsafe_index"}
"""Indices may lie with the processor where the values lie on a card, not the other way round."""
LIKE = {"aten::new_zeros", "aten::new_empty", "aten::new_full", "aten::new_ones", "aten::new_empty_strided"}
"""Made where their first argument lies: torch's own formulas of derivatives name the device, and know of the processor alone here. So a
gradient that changes its type on the way back stays where it is, too."""
used: set[str] = set()
"""Operations that a card has been asked for since `inserted`."""


class Misplaced(RuntimeError):
    """What CUDA would have refused."""


class Lent(torch.Tensor):
    """A tensor that is said to lie on a card; `held` are its values."""

    held: torch.Tensor
    place: torch.device

    @staticmethod
    def __new__(cls, inner: torch.Tensor, place: torch.device) -> Lent:
        made: Lent = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype, device=CPU,
        )  # fmt: skip
        return made

    def __init__(self, inner: torch.Tensor, place: torch.device) -> None:
        assert not isinstance(inner, Lent)
        self.held, self.place = inner, place

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As torch's, which would take the processor for the place where this lies already."""
        device, kind, *_ = torch._C._nn._parse_to(*args, **kwargs)
        if device is None or torch.device(device.type, device.index or 0) == self.place:
            return self if kind is None else super().to(kind)
        moved: torch.Tensor = torch.ops.aten._to_copy.default(self, dtype=kind, device=device)
        return moved

    def cpu(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.to(CPU)

    def numpy(self, **_: Any) -> Any:
        raise Misplaced("can't convert a tensor on a card to numpy: .cpu() first")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.held.tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Lent({tuple(self.shape)}, {self.place})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return carry_out(func, args, kwargs or {})


class Card(TorchDispatchMode):
    """Where this is on, `device="cuda"` makes Lent tensors."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carry_out(func, args, kwargs or {})


def place_of(leaf: object) -> torch.device:
    return leaf.place if isinstance(leaf, Lent) else CPU


def carry_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the processor, its result where a card would have it."""
    name = func._schema.name
    named = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
    stays = name in LIKE or (name in CROSSING and torch._C._current_graph_task_id() != -1)
    there = place_of(args[0]) if stays else named[0] if named else _together(name, args, kwargs)
    if there.type == "cuda":
        used.add(name)
        there = torch.device("cuda", there.index or 0)
    plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
    answer = func(*plain_args, **plain_kwargs)
    if there.type != "cuda":
        return answer
    lent = tree_map(lambda leaf: Lent(leaf, there) if isinstance(leaf, torch.Tensor) else leaf, answer)
    # In-place operations give back the tensor that they were given, views stay tied to what they look at
    return return_and_correct_aliasing(func, args, kwargs, lent)


def _plain(leaf: object) -> object:
    if isinstance(leaf, torch.device):
        return CPU
    return leaf.held if isinstance(leaf, Lent) else leaf


def _together(name: str, args: Any, kwargs: dict[str, Any]) -> torch.device:
    """The one place of all tensors. Raises Misplaced for two; a number (no dimensions) of the processor may go with a card's."""
    if name in CROSSING:
        return place_of(args[0])
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    if name in INDEXING:
        tensors = [leaf for leaf in tensors if leaf is args[0] or place_of(leaf) != CPU]
    places = {place_of(leaf) for leaf in tensors if leaf.ndim or place_of(leaf) != CPU}
    if len(places) > 1:
        raise Misplaced(f"{name}: tensors on {' and '.join(sorted(map(str, places)))}")
    return places.pop() if places else CPU


@contextmanager
def inserted(monkeypatch: pytest.MonkeyPatch, at: int = 0) -> Iterator[None]:
    """A machine with cards, of which the one with this number is the process's own."""
    used.clear()
    torch._C._ensureCUDADeviceGuardSet()
    write, save, load, make, tensor = st.save_file, torch.save, torch.load, loader.Ahead._make, torch.tensor

    def saved(what: Any, *rest: Any, **named: Any) -> None:
        save(tree_map(lambda leaf: {"lent": leaf.held, "at": at} if isinstance(leaf, Lent) else leaf, what), *rest, **named)

    def loaded(path: Any, *, map_location: Any = None, weights_only: bool = True) -> Any:
        return _back(load(path, map_location="cpu", weights_only=weights_only), map_location)

    def made(self: Any, batches: Any) -> None:
        with Card():
            make(self, batches)

    def of_values(*rest: Any, device: Any = None, **named: Any) -> torch.Tensor:
        plain: torch.Tensor = tensor(*rest, **named)
        return plain if device is None else plain.to(device)

    autocast, bfloat16 = torch.autocast, engine.fast_bfloat16("cpu")
    for where, name, value in (
        (torch, "save", saved), (torch, "load", loaded), (torch, "tensor", of_values), (loader.Ahead, "_make", made),
        (st, "save_file", lambda tensors, path: write({name: one.cpu() for name, one in tensors.items()}, path)),
        # What the processor would cast, so that the answers can be the same to the last bit
        (torch, "autocast", lambda _, **named: autocast("cpu", **named)), (engine, "fast_bfloat16", lambda _: bfloat16),
        (torch.cuda, "_lazy_init", lambda: None), (torch.cuda, "is_available", lambda: True),
        (torch.cuda, "max_memory_allocated", lambda: 2**20), (torch.cuda, "reset_peak_memory_stats", lambda: None),
        # A module's parameters become Lent ones, which cannot be told a plain tensor's storage
        (torch.__future__, "_overwrite_module_params_on_conversion", True),
    ):  # fmt: skip
        monkeypatch.setattr(where, name, value)
    with Card():
        yield


def _back(what: Any, location: Any) -> Any:
    """What was saved, at its old place or where it is asked for."""
    if isinstance(what, dict) and what.keys() == {"lent", "at"}:
        place = torch.device(location) if location is not None else torch.device("cuda", what["at"])
        return what["lent"] if place == CPU else Lent(what["lent"], torch.device("cuda", place.index or 0))
    if isinstance(what, dict):
        return type(what)((key, _back(value, location)) for key, value in what.items())
    if isinstance(what, list | tuple):
        return type(what)(_back(value, location) for value in what)
    return what if location is None or not isinstance(what, torch.Tensor) else what.to(location)
