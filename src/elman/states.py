"""State: what a cell carries from one step to the next, as an immutable value with named fields.

Longer than the guide for a file: the value, its file, and the check of what callers give as one.
"""

import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from elman.arrays import as_array, first_place
from elman.errors import DataError, ModelFileError, ShapeError, one_line
from elman.gates import Array
from elman.io import safetensors
from elman.shapes import Shape, written


class State(Mapping[str, Any]):
    """The state of a cell: named read-only arrays, `[H]` for one example or `[B, H]` for a batch.

    `state.h` or `state["h"]` is a field; the state of a stack has one state a layer, `state.layers`. `state[rows]` selects
    from a batch: an index gives one example, a slice, indices or truth values give a batch. A state is a value: nothing
    changes it, and the caller keeps it. Raises `ShapeError` for a field that is not of the batch.

    >>> import numpy as np
    >>> state = State({"h": np.zeros((2, 3)), "c": np.ones((2, 3))}, cell="lstm", batch=2)
    >>> state, state[1].c
    (State(lstm, h (2, 3), c (2, 3); batch 2), array([1., 1., 1.]))
    """

    __slots__ = ("_fields", "batch", "cell", "equations")
    batch: int | None
    cell: str
    equations: str
    """What tells cells of one name apart: a hash of the equations, or nothing."""

    def __init__(self, fields: Mapping[str, Any], *, cell: str = "", batch: int | None = None, equations: str = "") -> None:
        copied: dict[str, Any] = {}
        for name, value in fields.items():
            copied[name] = kept = value if isinstance(value, State) else np.array(_array(cell or "State", name, value))
            if isinstance(kept, State):
                fits = kept.batch == batch
            else:
                kept.flags.writeable = False
                fits = batch is None or kept.shape[:1] == (batch,)
            if not fits:
                shape = repr(kept) if isinstance(kept, State) else written(kept.shape)
                wanted = "one example, without a batch," if batch is None else f"a batch of {batch}"
                raise ShapeError(f"{cell or 'State'}: state {name} is {shape}; {wanted} is wanted")
        self._hold(copied, cell, None if batch is None else int(batch), equations)

    @classmethod
    def _of(cls, fields: Mapping[str, Any], cell: str, batch: int | None, equations: str = "") -> "State":
        """A state of arrays that nobody else holds, and of states: nothing is copied or checked."""
        made = object.__new__(cls)
        for value in fields.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        made._hold(dict(fields), cell, batch, equations)
        return made

    def _hold(self, fields: dict[str, Any], cell: str, batch: int | None, equations: str) -> None:
        keep = object.__setattr__
        keep(self, "_fields", fields)
        keep(self, "cell", cell)
        keep(self, "batch", batch)
        keep(self, "equations", equations)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._fields[key]
        if self.batch is None:
            raise ShapeError(f"{self.cell or 'State'}: this is the state of one example; only a batch has rows to select")
        try:
            rows = np.arange(self.batch)[key]
        except (IndexError, TypeError) as error:
            raise ShapeError(f"{self.cell or 'State'}: rows {key!r} of a batch of {self.batch}: {error}") from None
        if np.ndim(rows) > 1:
            raise ShapeError(f"{self.cell or 'State'}: rows {key!r} have {np.ndim(rows)} axes; an index or a list is wanted")
        fields = {name: value[key] for name, value in self._fields.items()}
        batch = None if np.ndim(rows) == 0 else len(rows)
        return State(fields, cell=self.cell, batch=batch, equations=self.equations)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(f"a state of {self.cell or 'this cell'} has {', '.join(self._fields)}, not {name}")
        return self._fields[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a state is a value: {name} cannot be set; copy({name}=...) makes another state")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a state is a value: {name} cannot be deleted")

    @property
    def layers(self) -> tuple["State", ...]:
        """The states of the layers of a stack, from the input on."""
        return tuple(value for name, value in self._fields.items() if isinstance(value, State) and name != "pool")

    @classmethod
    def stack(cls, states: Iterable["State"]) -> "State":
        """One batch of several states: single examples become rows, batches are joined.

        Raises `ShapeError` where they are not of one cell and size, `DataError` where they are not of one type.
        """
        states = [states] if isinstance(states, State) else list(states)
        if not states:
            raise ShapeError("State.stack: no state is given; one or more are wanted")
        for state in states:
            if not isinstance(state, State):
                raise ShapeError(f"State.stack: {type(state).__name__} is given among the states; each must be a State")
        first = states[0]
        for state in states:
            if (state.cell, state.equations, state._sizes()) != (first.cell, first.equations, first._sizes()):
                raise ShapeError(f"State.stack: {first!r} and {state!r} are not of one cell and size")
            if state._types() != first._types():
                both = sorted(set(first._types().values()) | set(state._types().values()))
                raise DataError(f"State.stack: states of {first.cell or 'one cell'} are {' and '.join(both)}; give one type")
        fields = {name: _joined([state[name] for state in states], [state.batch for state in states]) for name in first}
        batch = sum(1 if state.batch is None else state.batch for state in states)
        return cls(fields, cell=first.cell, batch=batch, equations=first.equations)

    def copy(self, **fields: Any) -> "State":
        """The same state, with some fields replaced. Raises `ShapeError` for a field that it does not have."""
        unknown = sorted(set(fields) - set(self))
        if unknown:
            raise ShapeError(f"{self.cell or 'State'}: there is no field {unknown[0]}; fields are {', '.join(self)}")
        new = {name: self._like(name, value) for name, value in fields.items()}
        return State({**self._fields, **new}, cell=self.cell, batch=self.batch, equations=self.equations)

    def _like(self, name: str, value: Any) -> Any:
        """A value for a field, of its shape and type."""
        old = self._fields[name]
        if isinstance(old, State) or isinstance(value, State):
            return value
        array = _array(self.cell or "State", name, value)
        if array.shape != old.shape:
            raise ShapeError(
                f"{self.cell or 'State'}: state {name} is {written(array.shape)}, {written(old.shape)} is wanted"
            )
        with np.errstate(over="ignore"):
            return array.astype(old.dtype)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a safetensors file, atomically. Raises `ModelFileError` where it cannot be written."""
        arrays = {".".join(names): value for names, value in self._leaves()}
        safetensors.write(path, arrays, {"format": FORMAT, "version": 1, "tree": self._tree()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "State":
        """Read a state that `save` wrote. Raises `ModelFileError` for a file that is no state."""
        arrays, facts = safetensors.read(path)
        if facts.get("format") != FORMAT or facts.get("version") != 1:
            raise ModelFileError(f"{path}: format {reprlib.repr(facts.get('format'))} is not {FORMAT!r}, version 1")
        try:
            state = from_tree(facts["tree"], arrays)
            unknown = set(arrays) - {".".join(names) for names, _ in state._leaves()}
            if unknown:
                raise ValueError(f"it has no field {min(unknown)}")
            return state
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ModelFileError(f"{path}: this is not a whole state: {one_line(str(error))}") from error

    def __repr__(self) -> str:
        texts = [f"{n} {v!r}" if isinstance(v, State) else f"{n} {written(v.shape)}" for n, v in self.items()]
        named = ", ".join([self.cell] * bool(self.cell) + texts)
        return f"State({named}{f'; batch {self.batch}' if self.batch is not None else ''})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        known = (self.cell, self.batch, set(self), self._types()) == (other.cell, other.batch, set(other), other._types())
        return known and all(_equal(self[n], other[n]) for n in self)

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made as every state is, so their fields are read-only too."""
        return partial(State, cell=self.cell, batch=self.batch, equations=self.equations), (self._fields,)

    def _leaves(self) -> Iterator[tuple[list[str], Array]]:
        for name, value in self.items():
            if isinstance(value, State):
                yield from (([name, *names], array) for names, array in value._leaves())
            else:
                yield [name], value

    def _sizes(self) -> dict[tuple[str, ...], Shape]:
        """Shapes without the batch."""
        return {tuple(n): array.shape if self.batch is None else array.shape[1:] for n, array in self._leaves()}

    def _types(self) -> dict[tuple[str, ...], str]:
        return {tuple(names): array.dtype.name for names, array in self._leaves()}

    def _tree(self) -> dict[str, Any]:
        """What a file says beside the arrays; the fields are a list, since their order is part of a state."""
        parts = [[name, value._tree() if isinstance(value, State) else None] for name, value in self.items()]
        return {"cell": self.cell, "equations": self.equations, "batch": self.batch, "fields": parts}


FORMAT = "elman state"


def _joined(values: Sequence[Any], batches: Sequence[int | None]) -> Any:
    if isinstance(values[0], State):
        return State.stack(values)
    rows = [value[None] if batch is None else value for value, batch in zip(values, batches, strict=True)]
    return np.concatenate(rows)


def _equal(a: Any, b: Any) -> bool:
    return a == b if isinstance(a, State) else not isinstance(b, State) and np.array_equal(a, b)


def from_tree(tree: Mapping[str, Any], arrays: Mapping[str, Array], before: str = "") -> State:
    """The state of which a file tells the tree, its arrays under names that begin with `before`.

    Raises `KeyError`, `TypeError` or `ValueError` for what is no such tree.
    """
    fields: dict[str, Any] = {}
    for name, part in tree["fields"]:
        if not isinstance(name, str) or name in fields:
            raise ValueError(f"{name!r} is no name of a field, or names two")
        fields[name] = arrays[before + name] if part is None else from_tree(part, arrays, f"{before}{name}.")
    batch, equations = tree["batch"], tree.get("equations", "")
    names = isinstance(tree["cell"], str) and isinstance(equations, str)
    if not names or not (batch is None or (type(batch) is int and batch >= 0)):
        raise ValueError("cell or batch is of the wrong kind")
    return State(fields, cell=tree["cell"], batch=batch, equations=equations)


def checked_state(
    given: Any,
    wanted: Mapping[str, Shape],
    *,
    cell: str,
    batch: int | None,
    dtype: np.dtype[Any],
    equations: str = "",
) -> dict[str, Array]:
    """Arrays `[B, ...]` for the states of a cell from whatever the caller gave.

    That is nothing (zeros), a `State`, a mapping, a sequence in order, or one array where there is one state. `batch` None
    stands for one example, whose arrays have no batch. Arrays are cast; a `State` was made by a layer, so one of a wider
    type is a mistake.

    Raises `ShapeError` that says which state, its sizes, and what is wanted; `DataError` for what is no finite number, or a
    `State` that would lose digits.
    """
    rows = 1 if batch is None else batch
    if given is None:
        return {name: np.zeros((rows, *shape), dtype) for name, shape in wanted.items()}
    fields = _fields(given, list(wanted), cell)
    if isinstance(given, State) and given.equations and equations not in ("", given.equations):
        raise ShapeError(f"{cell}: this is a state of another cell that is called {cell} too; their equations differ")
    states = {}
    for name, shape in wanted.items():
        array = _array(cell, name, fields[name])
        expected = shape if batch is None else (batch, *shape)
        if array.shape != expected:
            raise ShapeError(_mismatch(cell, name, array.shape, shape, batch))
        if isinstance(given, State) and array.dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize:
            raise DataError(
                f"{cell}: state {name} is {array.dtype}, this layer computes in {dtype}. "
                f"Was this state made by another layer? Plain arrays are cast."
            )
        if not isinstance(given, State) or array.dtype != dtype:  # a state never changes, so it need not be copied
            with np.errstate(over="ignore"):
                array = array.astype(dtype)
        if not np.isfinite(array).all():
            first = first_place(~np.isfinite(array))
            raise DataError(f"{cell}: state {name} holds NaN or infinity (first at {first}, as {dtype})")
        states[name] = array.reshape(rows, *shape)
    return states


def _array(cell: str, name: str, given: Any) -> Array:
    if isinstance(given, Mapping):
        raise ShapeError(f"{cell}: state {name} has parts, {', '.join(map(str, given))}; an array is wanted")
    array: Array = as_array(given, f"{cell}: state {name}")
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
