"""State that a file passes through inputs and outputs of its own: named by the caller, where no recurrent node tells it."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from elman.arrays import is_finite
from elman.errors import ModelFileError, SettingError
from elman.gates import Array
from elman.io.onnx.reading import Declared, Net
from elman.states import State, checked_state


class Carried:
    """Inputs that are state, each with the output that is its next value.

    In a `State` the batch comes first; in the file it is the axis whose size is left open. Where no size is open the file is
    for one example. Raises `SettingError` for names that the file lacks, `ModelFileError` where the batch is unclear.
    """

    def __init__(self, net: Net, pairs: Mapping[str, str]) -> None:
        self.pairs = _checked(net, pairs)
        self._cell = net.name.removesuffix(".onnx")
        self._axes = {name: _batch_axis(net, name, net.inputs[name]) for name in pairs}
        self._has_batch = None not in self._axes.values()
        if not self._has_batch and any(axis is not None for axis in self._axes.values()):
            raise ModelFileError(f"{net.name}: of the state {', '.join(pairs)} some have a batch and some have none")
        self._shapes = {name: _without(net.inputs[name], axis) for name, axis in self._axes.items()}
        self._declared = {name: declared.shape or () for name, declared in net.inputs.items()}
        self._names = {self._declared[name][axis] for name, axis in self._axes.items() if axis is not None}
        self._types = {name: net.inputs[name].dtype or np.dtype(np.float32) for name in pairs}
        self._dtype = np.result_type(*self._types.values())

    def zeros(self, batch: int) -> State:
        """The state of zeros, for a batch, or for one example where the file has none."""
        lead = (batch,) if self._has_batch else ()
        fields = {name: np.zeros((*lead, *shape), self._types[name]) for name, shape in self._shapes.items()}
        return State(fields, cell=self._cell, batch=batch if self._has_batch else None)

    def read(self, state: Any, given: Mapping[str, Array]) -> dict[str, Array]:
        """What the inputs of the file get for a state, or for none; what is `given` to the others tells the batch.

        Raises `ShapeError` or `DataError` for a state that does not fit.
        """
        batch = None if not self._has_batch else state.batch if isinstance(state, State) else self._batch(given)
        if self._made(state):
            return {name: self._as_in_file(name, a if self._has_batch else a[None]) for name, a in state._fields.items()}
        arrays = checked_state(state, self._shapes, cell=self._cell, batch=batch, dtype=self._dtype)
        return {name: self._as_in_file(name, array) for name, array in arrays.items()}

    def _made(self, state: Any) -> bool:
        """Whether a state is for certain one that came from here: then it need not be checked again."""
        if type(state) is not State or state.cell != self._cell or (state.batch is not None) != self._has_batch:
            return False
        fields, lead = state._fields, () if state.batch is None else (state.batch,)
        if fields.keys() != self._shapes.keys():
            return False
        fits = all(a.shape == lead + self._shapes[name] and a.dtype == self._types[name] for name, a in fields.items())
        return fits and is_finite(*fields.values())

    def _batch(self, given: Mapping[str, Array]) -> int:
        """The size that is called as the open one of the state, or else the first of all."""
        sizes = [pair for name, array in given.items() for pair in zip_longest(self._declared[name], array.shape)]
        named = [size for called, size in sizes if isinstance(called, str) and called in self._names]
        return int([*named, *(size for _, size in sizes), 1][0])

    def _as_in_file(self, name: str, array: Array) -> Array:  # [B, ...]
        axis = self._axes[name]
        turned = array[0] if axis is None else array if axis == 0 else np.moveaxis(array, 0, axis)
        return turned.astype(self._types[name], copy=False)

    def written(self, found: Mapping[str, Array]) -> State:
        """The next state, from what the outputs of the file gave."""
        fields = {}
        for name, output in self.pairs.items():
            axis = self._axes[name]
            fields[name] = np.array(found[output] if axis is None else np.moveaxis(found[output], axis, 0))
        return State._of(fields, self._cell, len(next(iter(fields.values()))) if self._has_batch else None)


def _checked(net: Net, pairs: Mapping[str, str]) -> dict[str, str]:
    asked = f"{net.name}: state={dict(pairs)}"
    for names, declared, kind in ((pairs, net.inputs, "input"), (pairs.values(), net.outputs, "output")):
        unknown = [name for name in names if name not in declared]
        if unknown:
            raise SettingError(f"{asked}: there is no {kind} {unknown[0]!r}; there are {', '.join(declared)}")
    if len({*pairs.values()}) < len(pairs) or len(pairs) == len(net.outputs) or len(pairs) == len(net.inputs):
        raise SettingError(f"{asked}: each input has an output of its own, and one input and one output are no state")
    return dict(pairs)


def _batch_axis(net: Net, name: str, declared: Declared) -> int | None:
    """The axis of the batch, the only one whose size is open; None where none is."""
    opened = [at for at, size in enumerate(declared.shape or ()) if not isinstance(size, int)]
    if declared.shape is None or len(opened) > 1:
        raise ModelFileError(f"{net.name}: the state {name} is {declared}; one open size, that of its batch, is wanted")
    return opened[0] if opened else None


def _without(declared: Declared, axis: int | None) -> tuple[int, ...]:
    return tuple(size for at, size in enumerate(declared.shape or ()) if at != axis and isinstance(size, int))
