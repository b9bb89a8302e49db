"""Why a model does not give what was recorded: the mistakes that are made with weights, tried one after another."""

from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from typing import Any

import numpy as np

from elman import cells
from elman.errors import ElmanError, ModelFileError
from elman.gates import Array, relu
from elman.layer import Layer
from elman.model import Model
from elman.pooled import Pooled
from elman.proof import Proof
from elman.rnn import RNN
from elman.stack import Backwards, Bidirectional, Stack

GATES = ("ifgo", "rzn")

ROUNDED = 0.02
"""How far the output may lie off where weights were rounded to 16 bits, as a share of the largest (or of 1): bfloat16 keeps
three digits."""


def check(model: Model, proof: Proof) -> float:
    """The largest difference between what a model gives and what was recorded.

    Raises `ModelFileError` where it is more than rounding; it says which known mistakes would explain it.
    """
    output = model.forward_propagation(proof.x).output
    if proof.holds_for(output):
        return proof.difference(output)
    found = explained(model, proof)
    told = (
        f"it would match with {'; or with '.join(found)}"
        if found
        else f"no known mistake explains it{_halved(model, proof)}"
    )
    if output.shape != proof.y.shape:
        differs = f"the output is {output.shape}, recorded is {proof.y.shape}"
    else:
        differs = f"the output differs by {proof.difference(output):.2g}, {proof.allowed(output.dtype):.2g} is allowed"
    raise ModelFileError(f"the weights do not give {proof.told}: {differs}; {told}")


def explained(model: Model, proof: Proof) -> list[str]:
    """The known mistakes after whose mending the model gives what was recorded.

    >>> import elman
    >>> model = elman.Model(8, 5)
    >>> model.prove([1, 2, 3], model.forward_propagation([1, 2, 3]).logits)
    >>> explained(model, model.proof)
    ['the output before its activation']
    """
    found = []
    for name, output in _outputs(model, proof):
        try:
            with np.errstate(all="ignore"):
                if proof.holds_for(output()):
                    found.append(name)
        except ElmanError:  # a change that this model does not admit
            continue
    return found


def _halved(model: Model, proof: Proof) -> str:
    """That weights of 16 bits may explain it, where the output is near to that of weights that were not rounded yet."""
    if not proof.difference(model.forward_propagation(proof.x).output) <= ROUNDED * max(1.0, float(np.abs(proof.y).max())):
        return ""
    with np.errstate(all="ignore"):
        kinds = {
            "bfloat16": all(not (v.astype(np.float32).view(np.uint32) & 0xFFFF).any() for v in model.parameters.values()),
            "float16": all(np.array_equal(v, v.astype(np.float16)) for v in model.parameters.values()),
        }
    kind = next((kind for kind, holds in kinds.items() if holds), None)
    why = "record the output with the weights as they are in the file"
    return f", but the weights are numbers of {kind}, rounded from finer ones perhaps; {why}" if kind else ""


def _outputs(model: Model, proof: Proof) -> Iterator[tuple[str, Callable[[], Array]]]:
    """Every mistake by what mends it, and the output that the model then has."""

    def of(change: Callable[[RNN], RNN]) -> Callable[[], Array]:
        return lambda: _rebuilt(model, change).forward_propagation(proof.x).output

    def swapped(x: Array) -> Array:
        return np.swapaxes(x, 0, 1)

    yield "the output before its activation", lambda: model.forward_propagation(proof.x).logits
    if proof.x.ndim > 1:
        yield "time and batch of the input exchanged", lambda: model.forward_propagation(swapped(proof.x)).output
        yield "time and batch of the output exchanged", lambda: swapped(model.forward_propagation(proof.x).output)
        yield (
            "time and batch of input and output exchanged",
            lambda: swapped(model.forward_propagation(swapped(proof.x)).output),
        )
    for name, change in _changes():
        yield name, of(change)
    yield (
        "the two directions exchanged",
        lambda: _rebuilt(model, lambda rnn: rnn, exchanged=True).forward_propagation(proof.x).output,
    )


def _changes() -> Iterator[tuple[str, Callable[[RNN], RNN]]]:
    """Changes of a cell or its parameters, the same in every layer that has such."""
    for gates in GATES:
        for order in permutations(gates):
            if "".join(order) != gates:
                yield f"the gates taken in the order {' '.join(order)}", _reordered(dict(zip(gates, order, strict=True)))
    for letter, told in (("u", "recurrent"), ("w", "input")):
        yield f"the {told} weights transposed", _each(letter, lambda value: value.T)
    for letter, told in (("d", "second"), ("b", "first")):
        yield f"the {told} bias left out", _each(letter, np.zeros_like)
    yield "the reset of the GRU before the product", _reset_before
    yield "the reset of the GRU after the product", _reset_after
    yield "relu in the place of tanh", _relu


def _reordered(orders: Mapping[str, str]) -> Callable[[RNN], RNN]:
    def change(rnn: RNN) -> RNN:
        names = {name: name[0] + orders.get(name[1:], "") for name in rnn.parameters}
        return _with(
            rnn, {name: rnn.parameters[names.get(name, name)] for name in rnn.parameters if names[name] in rnn.parameters}
        )

    return change


def _each(letter: str, change: Callable[[Array], Array]) -> Callable[[RNN], RNN]:
    """A change of all parameters of one kind: of `waa` and `wax` too, the matrices of the simple cell."""
    names = {"wax": "w", "waa": "u", "ba": "b", "da": "d"}

    def changed(rnn: RNN) -> RNN:
        return _with(
            rnn, {n: change(v) for n, v in rnn.parameters.items() if rnn.cell.states and names.get(n, n[0]) == letter}
        )

    return changed


def _reset_before(rnn: RNN) -> RNN:
    p = dict(rnn.parameters)
    if "un" not in p or "reset_before" in rnn.name:
        return rnn
    sums = {name: sum(p[k] for k in (name, f"d{name[1]}") if k in p) for name in ("br", "bz", "bn") if name in p}
    return _with(_of(rnn, cells.gru_reset_before), {n: v for n, v in p.items() if n[0] in "wu"} | sums)


def _reset_after(rnn: RNN) -> RNN:
    return (
        _with(_of(rnn, cells.gru), dict(rnn.parameters) | {"dn": 0 * rnn.parameters["bn"]})
        if "reset_before" in rnn.name
        else rnn
    )


def _relu(rnn: RNN) -> RNN:
    p = rnn.parameters
    if "waa" not in p:
        return rnn
    return _with(
        _of(rnn, cells.elman_with(relu)), {n: p[n] for n in ("wax", "waa")} | {"ba": p.get("ba", 0) + p.get("da", 0)}
    )


def _of(rnn: RNN, cell: Any) -> RNN:
    sizes: dict[str, Any] = dict(rnn.sizes)
    return RNN(cell, dtype=rnn.dtype.name, target=rnn.target, **sizes)


def _with(rnn: RNN, values: Mapping[str, Any]) -> RNN:
    """The same cell with other values of some parameters."""
    made = _of(rnn, rnn.cell)
    made.update({name: value for name, value in rnn.parameters.items() if name in made.parameters} | dict(values))
    return made


def _rebuilt(model: Model, change: Callable[[RNN], RNN], *, exchanged: bool = False) -> Model:
    """A model like this one of changed cells."""

    def again(layer: Layer) -> Layer:
        match layer:
            case RNN():
                return change(layer)
            case Stack():
                return Stack([again(part) for part in layer.layers], residual=layer.residual)
            case Backwards():
                return Backwards(again(layer.layer))
            case Bidirectional():
                ways = [again(part) for part in layer.parts.values()]
                return Bidirectional(*(ways[::-1] if exchanged else ways), merge=layer.merge)
        return layer

    inner, pool = (model.rnn.layer, model.rnn.pool) if isinstance(model.rnn, Pooled) else (model.rnn, None)
    pool = pool or ("last" if model.head.once else None)
    sizes: dict[str, Any] = {name: size for name, size in model.readout.sizes.items() if name != "hidden"}
    made = Model.from_layers(again(inner), readout=model.readout.cell, pool=pool, tokens=model.reads_tokens, **sizes)
    made.readout.update(model.readout.parameters)
    return made
