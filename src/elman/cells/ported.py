"""What weights from elsewhere need: an embedding, a read-out that changes nothing, biases as they are there."""

# mypy: disable-error-code="no-untyped-def"

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from types import FunctionType
from typing import Any

from elman.cells.simple import name_of
from elman.declare import Declared, bias, state, weight
from elman.gates import split
from elman.trace import Cell, cell


@cell
def embedding(x, *, e=weight("hidden", "input")) -> Any:
    """y<t> = e x<t>    of a token it is a column of e."""
    return e @ x


@cell
def unread(a=state("hidden")) -> Any:
    """y<t> = a<t>    for layers that nothing stands on."""
    return a


def with_biases(cell: Cell, parts: Mapping[str, tuple[str, ...]], name: str = "") -> Cell:
    """The cell with each bias that `parts` names as a sum of these: `{"bi": ("bi", "di")}`; of none, it is left out.

    Sums of parameters are made once, before the first step, so two biases cost as much as one and give its bits.

    >>> from elman import cells
    >>> list(with_biases(cells.elman, {"ba": ("ba", "da")}).parameters)
    ['wax', 'waa', 'ba', 'da']
    """
    declared = {part: entry for bias, entry in cell.parameters.items() for part in parts.get(bias, (bias,))}

    def function(x: Any, *states: Any, **given: Any) -> Any:
        sums = {bias: [given[part] for part in parts.get(bias, (bias,))] for bias in cell.parameters}
        return cell.function(x, *states, **{bias: reduce(add, terms) if terms else 0.0 for bias, terms in sums.items()})

    kept = [a for a in inspect.signature(cell.function).parameters.values() if a.kind is not a.KEYWORD_ONLY]
    new = [inspect.Parameter(part, inspect.Parameter.KEYWORD_ONLY, default=entry) for part, entry in declared.items()]
    function.__wrapped__ = cell.function  # type: ignore[attr-defined]  # whose local variables name the values
    function.__signature__ = inspect.Signature([*kept, *new])  # type: ignore[attr-defined]
    function.__doc__, function.__module__ = cell.__doc__, cell.__module__
    return Cell(function, name=name or cell.name)


def readout_of(activations: Sequence[Callable[[Any], Any] | None], biased: Sequence[bool]) -> Cell:
    """A read-out of several maps upon one another: activations from below (None: none), and which of them have a bias.

    y<t> = g2(wya g1(w1 a<t> + b1) + by) for two; further ones have w2 and b2, and so on.
    """
    last = len(activations) - 1
    names = [("wya", "by") if k == last else (f"w{k + 1}", f"b{k + 1}") for k in range(last + 1)]
    sizes = ["hidden", *(f"width{k + 1}" for k in range(last)), "output"]

    def function(a: Any, **given: Any) -> Any:
        for (w, b), has_bias, activation in zip(names, biased, activations, strict=True):
            logits = given[w] @ a + given[b] if has_bias else given[w] @ a
            a = activation(logits) if activation else logits
        return a

    declared = {names[k][0]: weight(sizes[k + 1], sizes[k]) for k in range(last + 1)}
    declared |= {names[k][1]: bias(sizes[k + 1]) for k in range(last + 1) if biased[k]}
    reads = inspect.Parameter("a", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=state("hidden"))
    kept = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=entry) for name, entry in declared.items()]
    function.__signature__ = inspect.Signature([reads, *kept])  # type: ignore[attr-defined]
    function.__doc__ = f"y<t>: {last + 1} maps upon one another."
    return Cell(function, name="readout_" + "_".join(name_of(g) if g else "linear" for g in activations))


WAY = "way"
"""What a read-out of two directions calls the size of one."""


def merging(readout: Cell, merge: str) -> Cell:
    """A read-out of the "sum", "mean" or "product" of two directions that stand side by side in what it reads.

    >>> from elman import cells
    >>> merging(cells.readout_linear, "sum").sizes
    ('way', 'output')
    """

    def function(a: Any, **given: Any) -> Any:
        ahead, behind = split(a, 2)
        both = ahead * behind if merge == "product" else ahead + behind
        return readout.function(both * 0.5 if merge == "mean" else both, **given)

    def one(entry: Declared) -> Declared:
        return replace(entry, shape=tuple(WAY if size == "hidden" else size for size in entry.shape))

    reads = inspect.Parameter("a", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=state(f"2*{WAY}"))
    kept = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=one(e)) for n, e in readout.parameters.items()]
    function.__wrapped__ = readout.function  # type: ignore[attr-defined]  # whose local variables name the values
    function.__signature__ = inspect.Signature([reads, *kept])  # type: ignore[attr-defined]
    function.__doc__ = f"The {merge} of two directions, and then: {readout.__doc__}"
    return Cell(function, name=f"{readout.name}_of_{merge}")


def with_activations(cell: Cell, name: str, **activations: Callable[[Any], Any]) -> Cell:
    """The same equations with other functions under the names of their activations: `tanh=relu, sigmoid=hard_sigmoid`.

    The function's code runs as it is; only what these names stand for in it is another.

    >>> from elman import cells, relu
    >>> print(str(with_activations(cells.mgu, "mgu_relu", tanh=relu).graph(input=2, hidden=3)).splitlines()[7].strip())
    n = relu(wn @ x + un @ (f * h<t-1>) + bn)  (hidden=3)
    """
    written = inspect.unwrap(cell.function)
    names = {**written.__globals__, **activations}
    function = FunctionType(written.__code__, names, name, written.__defaults__, written.__closure__)
    function.__kwdefaults__, function.__doc__ = written.__kwdefaults__, written.__doc__
    return Cell(function, name=name)
