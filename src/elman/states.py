"""State: what a cell carries from one step to the next, as an immutable value with named fields."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.shapes import Shape, written


class State(Mapping[str, Array]):
    """The state of a cell: named read-only arrays, `[H]` for one example or `[B, H]` for a batch.

    `state.h` or `state["h"]` is a field. A state is a value: nothing changes it, and the caller keeps it. Raises
    `ShapeError` for a field that is not of the batch.

    >>> import numpy as np
    >>> State({"h": np.zeros(3), "c": np.ones(3)}, cell="lstm")
    State(lstm, h (3), c (3))
    """

    __slots__ = ("_fields", "batch", "cell")

    def __init__(self, fields: Mapping[str, Any], *, cell: str = "", batch: int | None = None) -> None:
        copied = {}
        for name, value in fields.items():
            array = np.array(value)
            if batch is not None and array.shape[:1] != (batch,):
                raise ShapeError(f"{cell or 'State'}: state {name} is {written(array.shape)}; a batch of {batch} is wanted")
            array.flags.writeable = False
            copied[name] = array
        self._fields: dict[str, Array] = copied
        self.cell, self.batch = cell, batch

    def __getitem__(self, name: str) -> Array:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __getattr__(self, name: str) -> Array:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(f"a state of {self.cell or 'this cell'} has {', '.join(self._fields)}, not {name}")
        return self._fields[name]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name} {written(value.shape)}" for name, value in self.items())
        batch = f"; batch {self.batch}" if self.batch is not None else ""
        return f"State({self.cell + ', ' if self.cell else ''}{fields}{batch})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        return self.keys() == other.keys() and all(np.array_equal(self[name], other[name]) for name in self)

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made as every state is, so their fields are read-only too."""
        return partial(State, cell=self.cell, batch=self.batch), (self._fields,)


def checked_state(
    given: Any, wanted: Mapping[str, Shape], *, cell: str, batch: int | None, dtype: np.dtype[Any]
) -> dict[str, Array]:
    """Arrays `[B, ...]` for the states of a cell from whatever the caller gave.

    That is nothing (zeros), a `State`, a mapping, a sequence in order, or one array where there is one state. `batch` None
    stands for one example, whose arrays have no batch.

    Raises `ShapeError` that says which state, its sizes, and what is wanted; `DataError` for what is no finite number.
    """
    rows = 1 if batch is None else batch
    if given is None:
        return {name: np.zeros((rows, *shape), dtype) for name, shape in wanted.items()}
    fields = _fields(given, list(wanted), cell)
    states = {}
    for name, shape in wanted.items():
        array = _array(cell, name, fields[name])
        expected = shape if batch is None else (batch, *shape)
        if array.shape != expected:
            raise ShapeError(_mismatch(cell, name, array.shape, shape, batch))
        with np.errstate(over="ignore"):
            array = array.astype(dtype)
        if not np.isfinite(array).all():
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise DataError(f"{cell}: state {name} holds NaN or infinity (first at {first}, as {dtype})")
        states[name] = array.reshape(rows, *shape)
    return states


def _array(cell: str, name: str, given: Any) -> Array:
    try:
        array = np.asarray(given)
    except ValueError:
        raise ShapeError(f"{cell}: state {name} has rows of different lengths") from None
    if array.dtype.kind not in "fiu":
        raise DataError(f"{cell}: state {name} holds {array.dtype}, numbers are wanted")
    return array


def _fields(given: Any, names: Sequence[str], cell: str) -> Mapping[str, Any]:
    if isinstance(given, State) and given.cell and given.cell != cell:
        raise ShapeError(f"{cell}: this is a state of {given.cell}, with {', '.join(given)}; {cell} has {', '.join(names)}")
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ShapeError(f"{cell}: the state has {', '.join(given) or 'no fields'}; {cell} has {', '.join(names)}")
        return given
    values = list(given) if isinstance(given, tuple | list) and len(names) > 1 else [given]
    if isinstance(given, tuple) and len(names) == 1:
        values = list(given)
    if len(values) != len(names):
        number = "1 state is" if len(values) == 1 else f"{len(values)} states are"
        raise ShapeError(f"{cell}: {number} given; {cell} has {', '.join(names) or 'none'}")
    return dict(zip(names, values, strict=True))


def _mismatch(cell: str, name: str, shape: Shape, wanted: Shape, batch: int | None) -> str:
    if shape[len(shape) - len(wanted) :] == wanted:
        has = f"is of batch {shape[0]}" if len(shape) > len(wanted) else "is of one sequence, without a batch"
        needs = f"batch {batch}" if batch is not None else "one sequence, without a batch"
        return f"{cell}: state {name} {written(shape)} {has}, the input is of {needs}. Select rows, or start a new state."
    axes = written(wanted) if batch is None else written((batch, *wanted))
    return f"{cell}: state {name} is {written(shape)}, {axes} is wanted. Was this state made with another size?"
