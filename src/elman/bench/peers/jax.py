"""JAX: the equations under `jit`, with `lax.scan` over time.

It has no setting for its threads in a process, so it runs once, on those that it takes.
"""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from elman.bench.peers.equations import Equations, forms
from elman.bench.peers.interface import Peer, time_first
from elman.bench.problems import Net, Step, stepping
from elman.bench.timing import Way
from elman.gates import Array


class Jax(Peer):
    """Parameters are arguments, so that no compiler works on them."""

    name = "JAX"
    packages = ("jax", "jaxlib")

    def __init__(self) -> None:
        self.jax: Any = importlib.import_module("jax")

    def ways(self, net: Net, counts: Sequence[int]) -> Iterator[Way]:
        """The equations, compiled."""
        for label, equations in forms(net).items():
            yield self._stepwise(net, label, equations) if net.stepwise else self._whole(net, label, equations)

    def _whole(self, net: Net, label: str, equations: Equations) -> Way:
        jax, put = self.jax, self.jax.numpy.asarray
        before, loop, after = equations.functions(jax.numpy, jax.nn)
        first, held, x = self._first(net, equations), [*map(put, equations.held)], put(time_first(net.x))

        def whole(x: Any, *held: Any) -> Any:
            given, aside = before(x, *held)
            last, kept = jax.lax.scan(lambda states, now: loop(states, now, *held), first, given, len(x))
            return after(aside, kept, *held), last

        compiled = jax.jit(whole)

        def run() -> Any:
            return jax.block_until_ready(compiled(x, *held))

        return Way(self.name, label, run, lambda: time_first(np.asarray(run()[0])))

    def _stepwise(self, net: Net, label: str, equations: Equations) -> Way:
        jax, put = self.jax, self.jax.numpy.asarray
        before, loop, after = equations.functions(jax.numpy, jax.nn)
        held = [*map(put, equations.held)]

        def single(x: Any, states: Any, *held: Any) -> Any:
            given, aside = before(x, *held)
            last, kept = loop(states, given, *held)
            return after(aside, kept, *held), last

        compiled, first = jax.jit(single), self._first(net, equations)
        return stepping(self.name, label, time_first(net.x), lambda: _running(compiled, first, held))

    def _first(self, net: Net, equations: Equations) -> tuple[Any, ...]:
        return tuple(map(self.jax.numpy.asarray, equations.first(len(net.x))))


def _running(compiled: Any, states: Any, held: Sequence[Any]) -> Step:
    def step(x: Array) -> Array:
        nonlocal states
        y, states = compiled(x, states, *held)
        return np.asarray(y)

    return step
