"""The simple recurrent network: one tanh layer that sees its own last value, and the read-out on top of it."""

import re
from collections.abc import Callable
from typing import Any

from elman.declare import bias, weight
from elman.gates import sigmoid, softmax, tanh
from elman.trace import Cell, cell

Activation = Callable[[Any], Any]


def elman_with(g1: Activation, *, name: str = "") -> Cell:
    """The simple recurrent cell with another activation: `elman_with(relu)`.

    a<t> = g1(waa a<t-1> + wax x<t> + ba)
    """

    @cell(name=name or f"elman_{name_of(g1)}")
    @spelled_out(g1=g1)
    def simple(x, a, *, wax=weight("hidden", "input"), waa=weight("hidden", "hidden"), ba=bias("hidden")):  # type: ignore[no-untyped-def]
        """a<t> = g1(waa a<t-1> + wax x<t> + ba)    Elman, Finding structure in time, 1990."""
        mulax = wax @ x
        mulaa = waa @ a
        add = mulax + mulaa + ba
        return g1(add)

    return simple


def readout_with(g2: Activation, *, name: str = "") -> Cell:
    """The read-out with another activation: `readout_with(sigmoid)`.

    y<t> = g2(wya a<t> + by)
    """

    @cell(name=name or f"readout_{name_of(g2)}")
    @spelled_out(g2=g2)
    def read(a, *, wya=weight("output", "hidden"), by=bias("output")):  # type: ignore[no-untyped-def]
        """y<t> = g2(wya a<t> + by)."""
        mulya = wya @ a
        logits = mulya + by
        probabilities = g2(logits)
        return probabilities

    return read


def name_of(activation: Activation) -> str:
    """What an activation is called; a lambda has no name of its own."""
    name = str(getattr(activation, "__name__", ""))
    return name if name.isidentifier() else "custom"


def spelled_out(**activations: Activation) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put the names of activations in the place of their letters in a docstring: `g1(...)` becomes `tanh(...)`."""

    def spelled(function: Callable[..., Any]) -> Callable[..., Any]:
        for letter, activation in activations.items():
            if name_of(activation) != "custom":
                function.__doc__ = re.sub(rf"\b{letter}\b", name_of(activation), function.__doc__ or "")
        return function

    return spelled


elman = elman_with(tanh, name="elman")
readout = readout_with(softmax, name="readout")
readout_sigmoid = readout_with(sigmoid, name="readout_sigmoid")


@cell
def readout_linear(a, *, wya=weight("output", "hidden"), by=bias("output")) -> Any:  # type: ignore[no-untyped-def]
    """y<t> = wya a<t> + by."""
    logits = wya @ a + by
    return logits


@cell
def dense(x, *, w=weight("hidden", "input"), b=bias("hidden")) -> Any:  # type: ignore[no-untyped-def]
    """y<t> = tanh(w x<t> + b)    a layer without recurrence, and what turns a vector into a first state."""
    return tanh(w @ x + b)
