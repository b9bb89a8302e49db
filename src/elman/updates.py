"""What optimisers have in common: settings that are checked, memory by name, and the way through the arrays of an update.

What an optimiser carries from update to update is a flat mapping from name to array, which a file stores as it is. Nothing
is changed in place, and equal arguments give equal bits.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, NamedTuple, NoReturn

import numpy as np

from elman.checks import checked_share
from elman.errors import DataError, SettingError, ShapeError
from elman.gates import Array
from elman.packs import BLOCK, blocks, packed, packs, unpacked
from elman.rooms import rooms
from elman.shapes import written

Arrays = Mapping[str, Array]

COUNT = "count"
"""The name, in a memory, of the number of updates."""

SWEEP = 64
"""Every so many updates memory that has faded away becomes zero."""


class Block(NamedTuple):
    """A part of the arrays of an update, at most `BLOCK` numbers: what is given, what is to be filled, room to work in."""

    p: Array
    g: Array
    old: dict[str, Array]
    new_p: Array
    new: dict[str, Array]
    room: Array


class Optimiser(ABC):
    """A rule that makes new parameters of parameters, gradients, and memory of the gradients before."""

    weight_decay: float
    """How strongly parameters are drawn to zero."""

    decays_gradient: ClassVar[bool] = True
    """Whether that is the gradient of a penalty, g + weight_decay p, or has a place of its own in the rule."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # each rule is a dataclass
            _check(f"{type(self).__name__}: {field.name}", field.name, getattr(self, field.name))

    @property
    @abstractmethod
    def kinds(self) -> tuple[str, ...]:
        """What is remembered of each parameter: "first", a mean of gradients, and "second", one of their squares."""

    @abstractmethod
    def rule(self, at: Block, rate: float, count: int) -> None:
        """Fill `new_p` and `new` of a block; `count` is 1 at the first update."""

    def memory(self, parameters: Arrays) -> dict[str, Array]:
        """The memory before the first update: "count", an int64, and zeros by name, "first/waa" and so on."""
        zeros = {f"{kind}/{name}": np.zeros(p.shape, p.dtype) for kind in self.kinds for name, p in parameters.items()}
        return {COUNT: np.array(0, np.int64), **zeros}

    def update(
        self, parameters: Arrays, gradients: Arrays, memory: Arrays, rate: float
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One update: new parameters, of the types that they had, and new memory; what was given stays as it is.

        Parameters that are left out stay as they are, whether they have gradients or not. Raises `SettingError`,
        `ShapeError` or `DataError` where gradients or memory do not fit the parameters.
        """
        _check(f"{type(self).__name__}: rate", "rate", rate)
        self._check_arrays(parameters, gradients, memory)
        count = int(memory[COUNT]) + 1
        updated: dict[str, Array] = {}
        kept = dict(memory) | {COUNT: np.array(count, np.int64)}
        for names in packs(parameters):
            like = {name: parameters[name] for name in names}
            p = packed(list(like.values()))
            g = packed([gradients[name].astype(p.dtype, copy=False) for name in names])
            old = {kind: packed([memory[f"{kind}/{name}"] for name in names]) for kind in self.kinds}
            new_p, new = self._updated(p, g, old, rate, count)
            updated |= unpacked(new_p, like)
            for kind, flat in new.items():
                kept |= unpacked(flat, {f"{kind}/{name}": value for name, value in like.items()})
        return {name: updated[name] for name in parameters}, kept

    # --- inside -------------------------------------------------------------------------------------------------------

    def _updated(self, p: Array, g: Array, old: dict[str, Array], rate: float, count: int) -> tuple[Array, dict[str, Array]]:
        """Flat parameters and memory after an update, in arrays of their own."""
        new_p, new = (
            rooms.take(p.shape, p.dtype),
            {kind: rooms.take(value.shape, value.dtype) for kind, value in old.items()},
        )
        room, decayed = np.empty((2, min(BLOCK, p.size)), p.dtype)
        for part in blocks(p.size):
            inner, part_g = slice(0, part.stop - part.start), g[part]
            if self.weight_decay and self.decays_gradient:
                part_g = np.multiply(p[part], self.weight_decay, out=decayed[inner])
                np.add(part_g, g[part], out=part_g)
            olds, news = ({kind: value[part] for kind, value in held.items()} for held in (old, new))
            self.rule(Block(p[part], part_g, olds, new_p[part], news, room[inner]), rate, count)
            if count % SWEEP == 0:
                for value in news.values():
                    _sweep(value)
        return new_p, new

    def _check_arrays(self, parameters: Arrays, gradients: Arrays, memory: Arrays) -> None:
        """Raises an error that names the array that is missing or of another shape."""
        who = type(self).__name__
        if COUNT not in memory:
            raise SettingError(f"{who}: the memory has no {COUNT}; memory(parameters) makes the first one")
        for name, p in parameters.items():
            if name not in gradients:
                told = ", ".join(gradients) or "none"
                raise SettingError(f"{who}: {name} has no gradient; there are {told}. What is to stay is left out")
            if p.dtype.kind != "f":
                raise DataError(f"{who}: the parameter {name} holds {p.dtype}, floats are wanted")
            if gradients[name].shape != p.shape:
                _fail_by_shape(f"{who}: the gradient of {name}", gradients[name], p)
        for key, p in ((f"{kind}/{name}", p) for kind in self.kinds for name, p in parameters.items()):
            if key not in memory:
                raise SettingError(f"{who}: the memory has no {key}; memory(parameters) makes the first one")
            if memory[key].shape != p.shape:
                _fail_by_shape(f"{who}: the memory {key}", memory[key], p)


def _fail_by_shape(what: str, array: Array, p: Array) -> NoReturn:
    raise ShapeError(f"{what} is {written(array.shape)}, the parameter is {written(p.shape)}")


def _check(whose: str, name: str, value: Any) -> None:
    """Raises `SettingError` for a setting or rate that is out of range."""
    if name in ("momentum", "decay", "beta1", "beta2"):
        checked_share(whose, value)
    elif name == "nesterov":
        if not isinstance(value, bool):
            raise SettingError(f"{whose}={value!r} must be True or False")
    else:
        least = "above 0" if name == "epsilon" else "0 or more"
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < 0 or (name == "epsilon" and value == 0):
            raise SettingError(f"{whose}={value!r} must be a finite number, {least}")


def _sweep(memory: Array) -> None:
    """Set to zero what has faded away.

    A mean of gradients that are zero, as for a symbol that no longer comes, falls until it is denormal and stays so, since
    the smallest numbers times 0.9 round to themselves. Operations on them take 40 times as long.
    """
    memory[np.abs(memory) < np.finfo(memory.dtype).tiny * 2.0**26] = 0
