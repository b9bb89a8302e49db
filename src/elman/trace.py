"""From equations to a graph: `cell`, `weight`, `bias`, `state`, and the traced values that record what is done to them."""

import inspect
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, overload

import numpy as np

from elman.declare import read_signature
from elman.errors import CellError, SettingError, ShapeError
from elman.gates import GATES
from elman.graph import Builder, Graph
from elman.nodes import LEAVES, Result
from elman.shapes import resolve, size_names, written
from elman.values import Value

LARGEST = 2**31
"""No size reaches it: what cannot be held in memory is better said than tried."""

HOW_TO_MAKE = "make one of a function with @elman.cell, or take one of elman.cells, as elman.cells.gru"
"""What is said to whoever gives something else for a cell."""


class Cell:
    """The equations of one time step.

    `cell.step(x, *states, **parameters)` runs them on arrays, `cell.graph(input=3, hidden=5)` traces them. Made by `cell`.
    """

    def __init__(self, function: Callable[..., Any], *, name: str = "") -> None:
        self.function = function
        self.name: str = name or getattr(function, "__name__", "")
        if not self.name.isidentifier():
            if name:
                raise SettingError(f"cell: {name!r} is not a name; letters, digits and _ are")
            self.name = "cell"  # a lambda, a partial function
        self.__name__, self.__doc__ = self.name, function.__doc__
        self.__module__ = getattr(function, "__module__", "")  # where pickle looks for the cell
        self.__wrapped__ = function
        self.input, self.states, self.parameters = read_signature(self.name, function)
        self._graphs: dict[tuple[Any, ...], Graph] = {}

    def __repr__(self) -> str:
        return f"<cell {self.name}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickled and copied as functions are: by the name in its module; else by what its function is pickled as.

        What is named in `__main__` is pickled by its function too: other processes may have another main module.
        """
        module, names = self.__module__, (getattr(self.function, "__name__", ""), self.name)
        name = next((name for name in names if getattr(sys.modules.get(module), name, None) is self), None)
        if name is not None and module != "__main__":
            return name
        if name is not None:
            self.function.__qualname__ = f"{name}.function"  # where to find it, as the cell has taken its place
        return _remade, (self.function, self.name)

    @property
    def sizes(self) -> tuple[str, ...]:
        """Names of the sizes that the cell wants, in the order of its signature."""
        declared = (self.input, *self.states.values(), *self.parameters.values())
        return tuple(dict.fromkeys(name for entry in declared for name in size_names(entry.shape)))

    def graph(self, **sizes: int) -> Graph:
        """Trace the equations at the given sizes.

        Raises `CellError` where they do not fit and `SettingError` for a size that is missing, unknown or below 1.
        """
        key = tuple(sorted(sizes.items()))
        if key not in self._graphs:
            self._graphs[key] = _trace(self, _checked_sizes(self, sizes))
        return self._graphs[key]

    def step(self, x: Any, *states: Any, **parameters: Any) -> Any:
        """One step on arrays: `x` `[I]`, the states, and every parameter by name; returns what the equations return.

        The function itself runs, so a debugger and `print` work in it. Raises `ShapeError` for sizes that do not meet.
        """
        _check_step(self, x, states, parameters)
        return self.function(x, *states, **parameters)

    def __call__(self, x: Any, *states: Any, **parameters: Any) -> Any:
        """The equations of this cell inside those of another."""
        return self.function(x, *states, **parameters)


def _remade(function: Callable[..., Any], name: str) -> Cell:
    """The cell that has taken a function's place, or another."""
    place = getattr(function, "__qualname__", "").partition(".")[0]
    there = getattr(sys.modules.get(function.__module__), place, None)
    return there if isinstance(there, Cell) and there.function is function else Cell(function, name=name)


@overload
def cell(function: Callable[..., Any]) -> Cell: ...
@overload
def cell(*, name: str) -> Callable[[Callable[..., Any]], Cell]: ...
def cell(function: Callable[..., Any] | None = None, *, name: str = "") -> Cell | Callable[[Callable[..., Any]], Cell]:
    """Make a cell of a function that computes one time step from its equations.

    Positional arguments are the input and the states, keyword-only arguments the parameters, each declared by its default.
    It returns the new states in order; the first is the output too, unless one value more is returned: then that comes
    first. Raises `CellError` for a signature that is not of this form.

    >>> from elman import bias, cell, tanh, weight
    >>> @cell
    ... def simple(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden"), b=bias("hidden")):
    ...     return tanh(w @ x + u @ h + b)
    >>> print(simple.graph(input=3, hidden=5))
    simple
      input     x (input=3)
      state     h (hidden=5)
      parameter w (hidden=5, input=3)
      parameter u (hidden=5, hidden=5)
      parameter b (hidden=5)
      h = tanh(w @ x + u @ h<t-1> + b)  (hidden=5)
      -> output h
      -> state h
    """
    if function is None:
        return lambda wrapped: Cell(wrapped, name=name)
    return Cell(function, name=name)


# --- signature and sizes ----------------------------------------------------------------------------------------------


def _checked_sizes(cell: Cell, sizes: Mapping[str, Any]) -> dict[str, int]:
    unknown, missing = sorted(set(sizes) - set(cell.sizes)), [name for name in cell.sizes if name not in sizes]
    if unknown or missing:
        raise SettingError(
            f"{cell.name}: sizes are {', '.join(cell.sizes)}"
            + (f"; {', '.join(unknown)} is not one of them" if unknown else "")
            + (f"; {', '.join(missing)} is missing" if missing else "")
            + _misspelt(cell, unknown or missing)
        )
    return {name: checked_size(f"{cell.name}: size {name}", size) for name, size in sizes.items()}


def checked_size(told: str, size: Any) -> int:
    """A size, as it is told. Raises `SettingError` for what is none."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not 1 <= size < LARGEST:
        least = "1 or more" if not isinstance(size, int) or size < LARGEST else f"below {LARGEST}"
        raise SettingError(f"{told}={size!r} must be an integer, {least}")
    return int(size)


def _misspelt(cell: Cell, names: Sequence[str]) -> str:
    """A question, where one of the names is nearly that of another size: one that is given, or one that is declared."""
    for name in names:
        near = get_close_matches(name, [size for size in cell.sizes if size != name], n=1, cutoff=0.75)
        if near:
            return f"; is {name} meant to be {near[0]}?"
    return ""


def _check_step(cell: Cell, x: Any, states: tuple[Any, ...], parameters: Mapping[str, Any]) -> None:
    """Compare arrays with what is declared, learning each size from the first that has it: parameters come first."""
    if len(states) != len(cell.states) or set(parameters) != set(cell.parameters):
        wanted = ", ".join(["x", *cell.states, *(f"{name}=" for name in cell.parameters)])
        names = [*cell.states, *("one more" for _ in states)][: len(states)]
        given = ", ".join(["x", *names, *(f"{name}=" for name in parameters)])
        raise CellError(f"{cell.name}: step wants ({wanted}), it was given ({given})")
    sizes: dict[str, int] = {}
    declared = {**{n: (parameters[n], d) for n, d in cell.parameters.items()}, "x": (x, cell.input)}
    declared |= {n: (value, d) for (n, d), value in zip(cell.states.items(), states, strict=True)}
    for name, (array, entry) in declared.items():
        shape = np.shape(array)
        for size, named in zip(shape, entry.shape, strict=False):
            factor, _, size_name = str(named).rpartition("*")
            if isinstance(named, str) and size % int(factor or 1) == 0:
                sizes.setdefault(size_name.strip(), size // int(factor or 1))
        known = all(n in sizes for n in size_names(entry.shape))
        expected = resolve(entry.shape, sizes) if known and len(shape) == len(entry.shape) else None
        if shape != expected:
            wants = written(expected) if expected else "(" + ", ".join(map(str, entry.shape)) + ")"
            hint = " Was this state made with another size?" if name in cell.states else ""
            raise ShapeError(f"{cell.name}: {name} is {written(shape)}, {wants} is wanted.{hint}")


# --- tracing ----------------------------------------------------------------------------------------------------------


def _trace(cell: Cell, sizes: Mapping[str, int]) -> Graph:
    builder = Builder(cell.name, notes=inspect.cleandoc(cell.__doc__ or ""))
    names = list(inspect.signature(cell.function).parameters)
    positional = []
    for name, entry, gate in zip(
        names, (cell.input, *cell.states.values()), ["input"] + ["state"] * len(cell.states), strict=False
    ):
        positional.append(Value(builder, builder.leaf(gate, name, resolve(entry.shape, sizes))))
    parameters = {
        name: Value(builder, builder.leaf("parameter", name, resolve(entry.shape, sizes)))
        for name, entry in cell.parameters.items()
    }
    try:
        returned, names_of = _call_and_watch(cell.function, positional, parameters)
    except (CellError, ShapeError) as error:
        raise CellError(f"{cell.name}: {error}") from error
    except Exception as error:  # the user's own keeps its type and its traceback
        error.add_note(f"raised in the equations of the cell {cell.name}, while they were traced")
        raise
    return _finish(cell, builder, returned, names_of)


def _call_and_watch(
    function: Callable[..., Any], positional: list[Value], parameters: dict[str, Value]
) -> tuple[Any, dict[str, Any]]:
    """Call the equations and read their local variables as they return: these name the values.

    A profile hook is the one way to see them without the function's source; a hook that was there is put back.
    """
    code, seen = getattr(inspect.unwrap(function), "__code__", None), {}

    def watch(frame: types.FrameType, event: str, _: Any) -> Any:
        if frame.f_code is code:
            if event == "return":
                seen.update(frame.f_locals)
            return watch
        return None

    before, put = sys.getprofile(), sys.setprofile
    if before is not None and not callable(before):  # cProfile's own cannot be put back, so the other hook is borrowed
        before, put = sys.gettrace(), sys.settrace
    put(watch)
    try:
        returned = function(*positional, **parameters)
    finally:
        put(before)
    return returned, seen


def _finish(cell: Cell, builder: Builder, returned: Any, names_of: Mapping[str, Any]) -> Graph:
    if returned is None:
        told = "None is returned, which is neither a traced value nor numbers"
        raise CellError(f"{cell.name}: {told}; did you forget `return`?")
    returned = returned if isinstance(returned, tuple | list) else (returned,)
    states = list(cell.states)
    if len(returned) not in {len(states) or 1, len(states) + 1}:
        raise CellError(
            f"{cell.name}: {len(returned)} values are returned; a cell with {len(states)} states ({', '.join(states)}) "
            f"returns its new states, or its output and its new states"
        )
    values = [v if isinstance(v, Value) else _constant(cell, builder, v) for v in returned]
    _name_values(builder, names_of)
    new = values[len(values) - len(states) :]
    for name, value in zip(states, new, strict=True):
        _check_state(cell, builder, name, value)
    results = [Result(_output_name(builder, values[0], states), "output", values[0].index)]
    results += [Result(name, "state", value.index) for name, value in zip(states, new, strict=True)]
    return builder.finish(results)


def _constant(cell: Cell, builder: Builder, value: Any) -> Value:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise CellError(f"{cell.name}: {value!r} is returned, which is neither a traced value nor numbers")
    return Value(builder, builder.constant(array))


def _name_values(builder: Builder, names_of: Mapping[str, Any]) -> None:
    """Name values after the local variables that hold them; a state's name may be used again for its new value."""
    taken = {node.name for node in builder.nodes if node.gate in LEAVES and node.gate != "state"}
    for name, value in names_of.items():
        if not isinstance(value, Value) or value.builder is not builder or name in taken:
            continue
        node = builder.nodes[value.index]
        if not node.name and node.gate in GATES and node.gate != "expand":
            builder.rename(value.index, name)


def _check_state(cell: Cell, builder: Builder, name: str, value: Value) -> None:
    leaf = next(node for node in builder.nodes if node.gate == "state" and node.name == name)
    if value.shape != leaf.shape:
        raise CellError(
            f"{cell.name}: the new {name} is {written(value.shape)}, the state {name} is {written(leaf.shape)}; "
            f"a state keeps its size"
        )
    node = builder.nodes[value.index]
    if not node.name and node.gate in GATES and all(n.name != name or n.gate == "state" for n in builder.nodes):
        builder.rename(value.index, name)


def _output_name(builder: Builder, value: Value, states: list[str]) -> str:
    name = builder.nodes[value.index].name
    if name:
        return name
    taken = {node.name for node in builder.nodes} | set(states)
    return next(n for n in ("y", "output", *(f"y{k}" for k in range(len(taken) + 1))) if n not in taken)
