"""What optimisers have in common: settings that are checked, memory by name, and the way through the arrays of an update.

What an optimiser carries from update to update is a flat mapping from name to array, which a file stores as it is. Nothing
is changed in place, and equal arguments give equal bits.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from itertools import zip_longest
from typing import Any, ClassVar, NamedTuple, NoReturn

import numpy as np

from elman.checks import checked_share
from elman.errors import DataError, SettingError, ShapeError
from elman.gates import Array, absolute, greater, where
from elman.graph import Builder, Graph
from elman.nodes import Result
from elman.packs import Flats, Layout, together
from elman.program import elementwise
from elman.shapes import written
from elman.targets import circumstances
from elman.targets.interface import Elementwise, Many
from elman.values import Value

Arrays = Mapping[str, Array]

COUNT = "count"
"""The name, in a memory, of the number of updates."""

SCALE = "scale"
"""The name, among the numbers of an update, of what gradients are multiplied by."""

SWEEP = 64
"""Every so many updates memory that has faded away becomes zero."""


class Numbers(NamedTuple):
    """An element of the arrays of an update: parameter, gradient, what is remembered by kind, and what `numbers` gives.

    They are arrays, or values that are traced.
    """

    p: Any
    g: Any
    old: dict[str, Any]
    now: dict[str, Any]


Alike = tuple[np.dtype[Any], Layout, Mapping[str, Many]]
"""Parameters of one type: how they stand in a flat array, and what an update reads of them and beside them."""


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
    def rule(self, at: Numbers) -> tuple[Any, dict[str, Any]]:
        """The equations: the new parameter, and what is remembered by kind. They are traced."""

    def numbers(self, rate: float, count: int) -> dict[str, float]:
        """What is the same for all elements of an update, by name; `count` is 1 at the first."""
        return {"rate": rate}

    def memory(self, parameters: Arrays) -> dict[str, Array]:
        """The memory before the first update: "count", an int64, and zeros by name, "first/waa" and so on."""
        zeros = {f"{kind}/{name}": np.zeros(p.shape, p.dtype) for kind in self.kinds for name, p in parameters.items()}
        return {COUNT: np.array(0, np.int64), **zeros}

    def update(
        self, parameters: Arrays, gradients: Arrays, memory: Arrays, rate: float, *, scale: float = 1.0
    ) -> tuple[Flats, Flats]:
        """One update: new parameters, of the types that they had, and new memory; what was given stays as it is.

        Gradients count `scale` times. Parameters that are left out stay as they are, whether they have gradients or not.
        Raises `SettingError`, `ShapeError` or `DataError` where gradients or memory do not fit the parameters.
        """
        if not (type(rate) is float and 0 <= rate < math.inf):
            _check(f"{type(self).__name__}: rate", "rate", rate)
        one = self._in_one(parameters, gradients, memory)
        if one is None:
            self._check_arrays(parameters, gradients, memory)
        known = memory.beside if isinstance(memory, Flats) and one is not None else memory
        count = int(known[COUNT]) + 1
        numbers = self.numbers(rate, count) | {SCALE: scale}
        updated, kept, finite = list[tuple[Array, Layout]](), list[tuple[Array, Layout]](), True
        for dtype, layout, given in self._by_type(parameters, gradients, memory) if one is None else [one]:
            [new_p, *new], fine = _compiled(self, dtype, count % SWEEP == 0, circumstances())(given, numbers)
            updated.append((new_p, layout))
            kept += zip(new, map(layout.under, self.kinds), strict=True)
            finite = finite and fine
        beside = {name: array for name, array in known.items() if one is None and not _is_in(name, kept)}
        beside[COUNT] = np.array(count, np.int64)
        return Flats({} if len(updated) == 1 else parameters, updated, finite=finite), Flats(beside, kept)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _by_type(self, parameters: Arrays, gradients: Arrays, memory: Arrays) -> Iterator[Alike]:
        """What an update reads, for the parameters of each type."""
        for dtype in dict.fromkeys(p.dtype for p in parameters.values()):
            layout = Layout.of({name: p for name, p in parameters.items() if p.dtype == dtype})
            given: dict[str, Many] = {"p": together(parameters, layout.names, dtype)}
            given |= {"g": together(gradients, layout.names, dtype)}
            given |= {kind: together(memory, layout.under(kind).names, dtype) for kind in self.kinds}
            yield dtype, layout, given

    def _in_one(self, parameters: Arrays, gradients: Arrays, memory: Arrays) -> Alike | None:
        """The same where each stands in one flat array, as the last update left it: there is nothing to check then."""
        if not (isinstance(parameters, Flats) and isinstance(gradients, Flats) and isinstance(memory, Flats)):
            return None
        p, g = parameters.only, gradients.only
        if p is None or g is None or g.layout is not p.layout or memory.beside.keys() != {COUNT}:
            return None
        given = {"p": p.whole, "g": g.whole}
        for kind, flat in zip_longest(self.kinds, memory.flats):
            if kind is None or flat is None or flat.layout is not p.layout.under(kind):
                return None
            given[kind] = flat.whole
        dtype = p.whole.dtype
        return (dtype, p.layout, given) if all(whole.dtype == dtype for whole in given.values()) else None

    def _check_arrays(self, parameters: Arrays, gradients: Arrays, memory: Arrays) -> None:
        """Raises an error that names the array that is missing or of another shape."""
        who = type(self).__name__
        if COUNT not in memory:
            raise SettingError(f"{who}: the memory has no {COUNT}; memory(parameters) makes the first one")
        for name, p in parameters.items():
            if name not in gradients:
                told = ", ".join(gradients) or "none"
                raise SettingError(f"{who}: {name} has no gradient; there are {told}. What is to stay is left out")
            if checked_array(f"{who}: the parameter {name}", p).dtype.kind != "f":
                raise DataError(f"{who}: the parameter {name} holds {p.dtype}, floats are wanted")
            if checked_array(f"{who}: the gradient of {name}", gradients[name]).shape != p.shape:
                _fail_by_shape(f"{who}: the gradient of {name}", gradients[name], p)
        for key, p in ((f"{kind}/{name}", p) for kind in self.kinds for name, p in parameters.items()):
            if key not in memory:
                raise SettingError(f"{who}: the memory has no {key}; memory(parameters) makes the first one")
            if checked_array(f"{who}: the memory {key}", memory[key]).shape != p.shape:
                _fail_by_shape(f"{who}: the memory {key}", memory[key], p)


def _is_in(name: str, flats: Iterable[tuple[Array, Layout]]) -> bool:
    return any(name in layout.names for _, layout in flats)


def checked_array(what: str, array: Any) -> Array:
    """An array as it is. Raises `DataError` for what is none, such as a list."""
    if not isinstance(array, np.ndarray | np.generic):
        raise DataError(f"{what} is a {type(array).__name__}; an array is wanted, as numpy.asarray makes it")
    found: Array = array  # type: ignore[assignment]  # a number of NumPy has a type and a shape too
    return found


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


@lru_cache(maxsize=64)
def _compiled(rule: Optimiser, dtype: np.dtype[Any], is_swept: bool, _: object) -> Elementwise:
    return elementwise(_traced(rule, dtype if is_swept else None), dtype)


@lru_cache(maxsize=64)
def _traced(rule: Optimiser, swept: np.dtype[Any] | None) -> Graph:
    """The rule, and what stands before and behind it: gradients scaled, weight decay, memory swept for a type."""
    builder = Builder(type(rule).__name__, notes=repr(rule))
    p, g, *kinds = (Value(builder, builder.leaf("input", name, ())) for name in ("p", "g", *rule.kinds))
    scale, *same = (Value(builder, builder.leaf("parameter", name, ())) for name in (SCALE, *rule.numbers(0.0, 1)))
    g = g * scale
    if rule.weight_decay and rule.decays_gradient:
        g = g + rule.weight_decay * p
    now = dict(zip(rule.numbers(0.0, 1), same, strict=True))
    new_p, new = rule.rule(Numbers(p, g, dict(zip(rule.kinds, kinds, strict=True)), now))
    results = {"new_p": new_p} | {
        f"new_{kind}": new[kind] if swept is None else _swept(new[kind], swept) for kind in rule.kinds
    }
    return builder.finish([Result(name, "output", value.index) for name, value in results.items()])


def _swept(memory: Any, dtype: np.dtype[Any]) -> Any:
    """Memory of which what has faded away is zero.

    A mean of gradients that are zero, as for a symbol that no longer comes, falls until it is denormal and stays so, since
    the smallest numbers times 0.9 round to themselves. Operations on them take 40 times as long.
    """
    return where(greater(float(np.finfo(dtype).tiny) * 2.0**26, absolute(memory)), 0.0, memory)
