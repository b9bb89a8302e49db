"""Arrays of another framework taken apart into our parameters, and put together again, as a weight map says: to the bit."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from elman import cells
from elman.cells import ported
from elman.declare import Declared
from elman.errors import SettingError, ShapeError
from elman.gates import Array
from elman.io.maps import SECOND, Block, Map
from elman.shapes import resolve, size_names, written
from elman.trace import Cell


def cell_of(weights: Map, held: Collection[str] | None = None, equations: Cell | None = None) -> Cell:
    """The cell of a map with the biases that are `held` (all that the map knows); `equations` takes the cell's place.

    A gate to which the framework adds two biases has two here: they are trained as they are there, and leave as they came.

    >>> from elman.io import maps
    >>> list(cell_of(maps.named("pytorch", "RNN")).parameters), list(cell_of(maps.named("keras", "SimpleRNN")).parameters)
    (['wax', 'waa', 'ba', 'da'], ['wax', 'waa', 'ba'])
    """
    return biased(equations or equations_of(weights), weights.parameters if held is None else held, weights.cell)


def biased(found: Cell, held: Collection[str], name: str) -> Cell:
    """A cell with the biases that are `held`, of which there may be two in a gate; `name` is that of its plain equations."""
    second = SECOND.get(name, {})
    biases = [name for name, entry in found.parameters.items() if entry.kind == "bias"]
    parts = {name: tuple(n for n in (name, *second.get(name, ())) if n in held) for name in biases}
    if all(part == (name,) for name, part in parts.items()):
        return found
    most = max(map(len, parts.values()))
    return ported.with_biases(found, parts, f"{found.name}_{('no_bias', 'fewer_biases', 'two_biases')[most]}")


def equations_of(weights: Map) -> Cell:
    """The cell that a map names."""
    found: Cell = getattr(ported if hasattr(ported, weights.cell) else cells, weights.cell)
    return found


def unpacked(weights: Map, arrays: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, int]]:
    """Our parameters by name, and the sizes, from the arrays of one foreign layer.

    Raises `SettingError` for a name that the map lacks or a weight that is missing, `ShapeError` for sizes that do not meet.

    >>> from elman.io import maps
    >>> parameters, sizes = unpacked(maps.named("keras", "Dense"), {"kernel": np.array([[1.0, 2.0]]), "bias": np.zeros(2)})
    >>> parameters["wya"].tolist(), sizes
    ([[1.0], [2.0]], {'output': 2, 'hidden': 1})
    """
    _check_names(weights, arrays)
    declared = cell_of(weights).parameters
    found: dict[str, Array] = {}
    sizes: dict[str, int] = {}
    for block in weights.blocks:
        for name, held in weights.arrays(block):
            if name not in arrays:
                continue
            array = _row(weights, block, name, arrays[name])
            parts = [array[k * len(array) // len(held) : (k + 1) * len(array) // len(held)] for k in range(len(held))]
            for ours, part in zip(held, parts, strict=True):
                if not _fits(declared[ours], part.shape, sizes):
                    wanted = _wanted(weights, block, declared[ours], sizes, len(held))
                    raise ShapeError(f"{weights}: {name} is {written(arrays[name].shape)}; {wanted}")
                found[ours] = np.ascontiguousarray(part)
    return {name: found[name] for name in cell_of(weights, list(found)).parameters}, sizes


def packed(weights: Map, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of one foreign layer from our parameters. A second bias that is not there is zero, where a first one is.

    Raises `SettingError` where the framework has no place for a parameter.

    >>> from elman.io import maps
    >>> packed(maps.named("flax", "Dense"), {"wya": np.array([[1.0], [2.0]])})
    {'kernel': array([[1., 2.]])}
    """
    second = {two: one for one, (two,) in SECOND.get(weights.cell, {}).items()}
    unknown = [name for name in parameters if name not in weights.parameters]
    if unknown:
        known = ", ".join(weights.parameters)
        raise SettingError(f"{weights}: there is no place for the parameter {unknown[0]}; there is for {known}")
    rows: dict[str, list[Array]] = {}
    for block in weights.blocks:
        for name, held in weights.arrays(block):
            parts = [_part(parameters, ours, second) for ours in held]
            there = [part for part in parts if part is not None]
            if len(there) not in (0, len(parts)):
                missing = ", ".join(ours for ours, part in zip(held, parts, strict=True) if part is None)
                raise SettingError(f"{weights}: {name} wants {', '.join(held)}; {missing} is missing")
            if there:
                array = np.concatenate(there)
                rows.setdefault(name, []).append(np.ascontiguousarray(array.T) if block.transposed else array)
    single = {name for block in weights.blocks for name, _ in weights.arrays(block) if block.row is None}
    return {name: arrays[0] if name in single else np.stack(arrays) for name, arrays in rows.items()}


# --- inside -----------------------------------------------------------------------------------------------------------


def _check_names(weights: Map, arrays: Mapping[str, Array]) -> None:
    unknown = [name for name in arrays if name not in weights.names]
    if unknown:
        raise SettingError(f"{weights}: there is no array {unknown[0]!r}; there are {', '.join(weights.names)}")
    biases = {name for name, entry in cell_of(weights).parameters.items() if entry.kind == "bias"}
    for block in weights.blocks:
        for name, held in weights.arrays(block):
            if name not in arrays and not set(held) <= biases:
                raise SettingError(f"{weights}: {name} is missing; there are {', '.join(arrays) or 'no arrays'}")


def _row(weights: Map, block: Block, name: str, array: Array) -> Array:
    """A block with its rows as ours."""
    if block.row is not None:
        count = sum(other.name == block.name for other in weights.blocks)
        if array.ndim != 2 or len(array) != count:
            raise ShapeError(f"{weights}: {name} is {written(array.shape)}; {count} biases one below the other are wanted")
        array = array[block.row]
    return array.T if block.transposed else array


def _fits(declared: Declared, shape: Sequence[int], sizes: dict[str, int]) -> bool:
    """Whether a part is of its declared shape; a size is learnt from the first that has it."""
    if len(shape) != len(declared.shape):
        return False
    for size, name in zip(shape, declared.shape, strict=True):
        sizes.setdefault(str(name), int(size))
    return tuple(shape) == resolve(declared.shape, sizes)


def _wanted(weights: Map, block: Block, declared: Declared, sizes: Mapping[str, int], gates: int) -> str:
    """Which shape an array should be of, in the layout of the framework."""
    wanted: list[object] = [sizes.get(size, size) for size in size_names(declared.shape)]
    if isinstance(wanted[0], int):
        wanted[0] *= gates
    elif gates > 1:
        wanted[0] = f"{gates}*{wanted[0]}"
    wanted = wanted[::-1] if block.transposed else wanted
    wanted = [sum(other.name == block.name for other in weights.blocks), *wanted] if block.row is not None else wanted
    told = ", ".join(f"{name}={size}" for name, size in sizes.items())
    return f"({', '.join(map(str, wanted))}) is wanted ({told})"


def _part(parameters: Mapping[str, Array], name: str, second: Mapping[str, str]) -> Array | None:
    """A parameter, or zeros for a second bias beside a first; None where it is not there."""
    if name not in parameters and second.get(name) in parameters:
        return np.zeros_like(parameters[second[name]])
    return parameters.get(name)
