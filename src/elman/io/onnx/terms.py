"""What stands between recurrent nodes, as equations of one step: vectors, of what is read and of arrays that are learnt."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from elman import cells
from elman.declare import bias, state, weight
from elman.gates import Array
from elman.graph import Graph
from elman.nodes import LEAVES
from elman.trace import Cell


@dataclass(frozen=True, eq=False)
class Term:
    """A vector of one step: what is read, where it has neither equation nor array. `size` 0 is a number, not a vector."""

    size: int
    equation: Callable[..., Any] | None = None
    inputs: tuple["Term", ...] = ()
    array: Array | None = None

    @property
    def is_read(self) -> bool:
        """Whether it is what the layer below gives, and nothing else."""
        return self.equation is None and self.array is None


def applied(equation: Callable[..., Any], *inputs: Term, size: int | None = None) -> Term:
    """An equation of terms; its size is the largest of theirs, unless it is another."""
    return Term(max(term.size for term in inputs) if size is None else size, equation, inputs)


def product(w: Array, term: Term) -> Term:
    """`w @ x` with weights `[out, in]` of its own."""
    return applied(_product, Term(w.size, array=w), term, size=len(w))


def _product(w: Any, x: Any) -> Any:
    return w @ x


class Traced(NamedTuple):
    """A cell, the sizes that it names, and the values of its parameters."""

    cell: Cell
    sizes: dict[str, int]
    parameters: dict[str, Array]


def traced(term: Term, reads: int, *, readout: bool) -> Traced:
    """A map that computes a term of `reads` values: a read-out, whose last weights are `wya` and `by`, or a layer.

    One of the cells that come along where it has the same equations.
    """
    names = _Names(term, reads, readout)

    def function(x: Any, **given: Any) -> Any:
        found: dict[int, Any] = {}

        def value(part: Term) -> Any:
            if id(part) not in found:
                array = given[names.of[id(part)]] if part.array is not None else None
                made = array if part.equation is None else part.equation(*map(value, part.inputs))
                found[id(part)] = x if part.is_read else made
            return found[id(part)]

        return value(term)

    keyword, positional = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    declared = {name: weight(*shape) if len(shape) == 2 else bias(*shape) for name, shape in names.shapes.items()}
    input_ = inspect.Parameter("a" if readout else "x", positional, default=state(names.reads))
    kept = [inspect.Parameter(name, keyword, default=entry) for name, entry in declared.items()]
    function.__signature__ = inspect.Signature([input_, *kept])  # type: ignore[attr-defined]
    function.__doc__ = "A map of an ONNX file."
    made = Cell(function, name="readout_onnx" if readout else "map_onnx")
    sizes = {name: size for name, size in names.sizes.items() if name in made.sizes}
    return Traced(_known(made, sizes), sizes, names.arrays)


class _Names:
    """Names of the parameters of a term, in the order in which they are used: a bias is called as the weights before it."""

    def __init__(self, term: Term, reads: int, readout: bool) -> None:
        self.reads = "hidden" if readout else "input"
        self.of: dict[int, str] = {}
        self.arrays: dict[str, Array] = {}
        self.shapes: dict[str, tuple[str | int, ...]] = {}
        self.sizes: dict[str, int] = {self.reads: reads}
        self._labels: dict[int, str | int] = {}
        parts = list(dict.fromkeys(_parts(term)))
        last = sum(part.equation is _product for part in parts)
        self._last = (last, *(("wya", "by", "output") if readout else ("w", "b", "hidden")))
        count = 0
        for part in parts:
            count += part.equation is _product
            self._name(part, count)

    def _name(self, part: Term, count: int) -> None:
        last, w, b, output = self._last
        if part.is_read:
            self._labels[id(part)] = self.reads
        elif part.equation is _product:
            label = output if count == last else f"width{count}"
            self._take(part.inputs[0], w if count == last else f"w{count}", (label, self._labels[id(part.inputs[1])]))
            self.sizes[label], self._labels[id(part)] = part.size, label
        elif part.equation is not None:
            sizes = [self._labels[id(other)] for other in part.inputs if other.array is None and other.size == part.size]
            label_of: str | int = sizes[0] if sizes else part.size
            self._labels[id(part)] = label_of
            for other in part.inputs:
                if other.array is not None and id(other) not in self.of:
                    follows = any(before.equation is _product for before in part.inputs)
                    name = (b if count == last else f"b{count}") if follows else "v1"
                    self._take(other, name, (label_of,))

    def _take(self, part: Term, name: str, shape: tuple[str | int, ...]) -> None:
        assert part.array is not None, "it is a parameter"
        while name in self.arrays:
            stem = name.rstrip("0123456789")
            name = f"{stem}{int(name[len(stem) :] or 1) + 1}"
        self.of[id(part)], self.arrays[name], self.shapes[name] = name, part.array, shape


def _parts(term: Term) -> Iterator[Term]:
    """What a term is made of, from below; parameters are seen with what reads them."""
    for part in term.inputs:
        if part.array is None:
            yield from _parts(part)
    yield term


KNOWN = (cells.readout, cells.readout_sigmoid, cells.readout_linear, cells.dense)


def _known(made: Cell, sizes: dict[str, int]) -> Cell:
    """The cell that comes along with these equations, or the one that was made."""
    bare = _bare(made.graph(**sizes))
    for cell in KNOWN:
        named = set(cell.sizes) == set(sizes) and set(cell.parameters) == set(made.parameters)
        if named and _bare(cell.graph(**sizes)) == bare:
            return cell
    return made


def _bare(graph: Graph) -> list[tuple[Any, ...]]:
    """A graph without what its values are called."""
    return [(n.gate, n.inputs, n.shape, n.attributes, n.name if n.gate in LEAVES else "") for n in graph.nodes]
