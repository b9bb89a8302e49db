"""What a signature declares: the input, the states and the parameters of a cell, with their sizes and first values."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import CellError, SettingError
from elman.shapes import size_names

Init = str | float | Callable[..., Any]
INITS = ("uniform", "zeros", "ones", "orthogonal")


@dataclass(frozen=True)
class Declared:
    """What a default in the signature of a cell declares: a parameter or a state, its sizes by name, its first value."""

    kind: str
    shape: tuple[str | int, ...]
    init: Init = "zeros"

    def __post_init__(self) -> None:
        if not (self.init in INITS if isinstance(self.init, str) else callable(self.init) or _is_finite(self.init)):
            known = ", ".join(INITS)
            raise SettingError(f"{self.kind}: init {self.init!r} is unknown; it is a number, or one of {known}")
        for entry in self.shape:
            if not (_is_size_name(entry) if isinstance(entry, str) else type(entry) is int and entry >= 1):
                raise SettingError(f"{self.kind}: {entry!r} is not a size; it is a name, 'k*name', or an integer from 1")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))


def _is_size_name(entry: str) -> bool:
    factor, times, name = (part.strip() for part in entry.rpartition("*"))
    return name.isidentifier() and (not times or (factor.isascii() and factor.isdigit() and int(factor) >= 1))


def weight(rows: str | int, columns: str | int, *, init: Init = "uniform") -> Any:
    """Declare a weight matrix `[rows, columns]`, as textbooks print it: (out, in).

    Sizes are names ("hidden", "4*hidden") or integers. `init` is "uniform" (between +-sqrt(1/columns)), "zeros", "ones",
    "orthogonal", a number, or a function `(rng, shape) -> array`. Raises `SettingError` for another.
    """
    return Declared("weight", (rows, columns), init)


def bias(size: str | int, *, init: Init = "zeros") -> Any:
    """Declare a vector of parameters `[size]`; `init` as for `weight`. Raises `SettingError` for another."""
    return Declared("bias", (size,), init)


def state(*shape: str | int) -> Any:
    """Declare the shape of a state: `h=state("output")` for a vector, two sizes for a matrix; without it, "hidden"."""
    if len(shape) not in (1, 2):
        raise SettingError(f"state: {len(shape)} sizes given; a state is a vector (one size) or a matrix (two)")
    return Declared("state", shape)


def read_signature(name: str, function: Callable[..., Any]) -> tuple[Declared, dict[str, Declared], dict[str, Declared]]:
    """The input, the states and the parameters that a function declares, the latter two by name.

    Raises `CellError` for a signature that is not (input, *states, *, parameters).
    """
    positional: dict[str, Declared | None] = {}
    parameters: dict[str, Declared] = {}
    for argument in inspect.signature(function).parameters.values():
        if argument.kind is argument.KEYWORD_ONLY:
            parameters[argument.name] = _parameter(name, argument)
        else:
            positional[argument.name] = _positional(name, argument)
    if not positional:
        raise CellError(f"{name}: a cell needs an input, its first positional argument")
    (_, given), *rest = positional.items()
    states = {state_name: entry or Declared("state", ("hidden",)) for state_name, entry in rest}
    return given or Declared("input", (_input_size(states, parameters),)), states, parameters


def _parameter(name: str, argument: inspect.Parameter) -> Declared:
    if isinstance(argument.default, Declared) and argument.default.kind in ("weight", "bias"):
        return argument.default
    fix = f"{argument.name}=weight(rows, columns) or {argument.name}=bias(size)"
    raise CellError(f"{name}: parameter {argument.name} is not declared; write {fix}")


def _positional(name: str, argument: inspect.Parameter) -> Declared | None:
    if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
        raise CellError(f"{name}: *{argument.name} is not allowed; name every input, state and parameter")
    if argument.default is argument.empty:
        return None
    if not isinstance(argument.default, Declared):
        fix = f"write {argument.name}=state(size)"
        raise CellError(f"{name}: {argument.name}={argument.default!r} declares nothing; {fix}")
    if argument.default.kind in ("weight", "bias"):
        raise CellError(f"{name}: parameter {argument.name} must be keyword-only; put a * before the parameters")
    return argument.default


def _input_size(states: Mapping[str, Declared], parameters: Mapping[str, Declared]) -> str:
    """The input is of size "input"; only a map whose parameters speak of "hidden" alone reads a hidden vector."""
    names = {name for entry in parameters.values() for name in size_names(entry.shape)}
    return "hidden" if not states and "hidden" in names and "input" not in names else "input"
