"""PyTorch: `torch.nn.RNN`, `GRU`, `LSTM`, single steps also by its one-step cells; other cells by a loop in Python."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from typing import Any

from elman.bench.peers.equations import Equations, forms
from elman.bench.peers.interface import GATES, Peer, inner_bias, stacked, threads, time_first
from elman.bench.problems import Net, Step, stepping
from elman.bench.timing import Way
from elman.gates import Array

KINDS = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}


class PyTorch(Peer):
    """Weights in the order of its rows: i f g o, and r z n. All in inference mode."""

    name = "PyTorch"
    packages = ("torch",)

    def __init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")

    def ways(self, net: Net, counts: Sequence[int]) -> Iterator[Way]:
        """The module, or the loop, at each number of threads."""
        x, runs, starts = time_first(net.x), self._runs(net), self._starts(net)
        for count in counts:
            around = partial(self._threads, count)
            for kind, run in runs.items():
                yield Way(self.name, f"{threads(count)}, {kind}", run, partial(_output, run), around)
            for kind, start in starts.items():
                yield stepping(self.name, f"{threads(count)}, {kind}", x, start, around)

    # --- whole sequences: what gives outputs `[T, B, H]`, by a label --------------------------------------------------

    def _runs(self, net: Net) -> dict[str, Callable[[], Any]]:
        if net.stepwise:
            return {}
        if net.cell in KINDS:
            return {KINDS[net.cell]: self._sequence(net)}
        return {label: self._loop(equations, net) for label, equations in forms(net).items()}

    def _sequence(self, net: Net) -> Callable[[], Any]:
        torch, module, x = self.torch, self._module(net), self.torch.from_numpy(time_first(net.x))
        if net.embedding is None:
            return self._inferring(lambda: module(x)[0])
        embedding = torch.nn.Embedding.from_pretrained(torch.from_numpy(net.embedding))
        return self._inferring(lambda: module(embedding(x))[0])

    def _loop(self, equations: Equations, net: Net) -> Callable[[], Any]:
        torch, x = self.torch, self.torch.from_numpy(time_first(net.x))
        before, loop, after = equations.functions(torch, torch.nn.functional)
        first, held = (tuple(map(torch.tensor, arrays)) for arrays in (equations.first(len(net.x)), equations.held))

        def run() -> Any:
            given, aside = before(x, *held)
            states, found = first, []
            for now in zip(*given, strict=True) if given else repeat((), len(x)):
                states, kept = loop(states, now, *held)
                found.append(kept)
            return after(aside, [torch.stack(kept) for kept in zip(*found, strict=True)], *held)

        return self._inferring(run)

    # --- single steps -------------------------------------------------------------------------------------------------

    def _starts(self, net: Net) -> dict[str, Callable[[], Step]]:
        if not net.stepwise or net.cell not in KINDS:
            return {}
        kind, module, cell = KINDS[net.cell], self._module(net), self._module(net, "Cell")

        def by_module(x: Any, state: Any) -> tuple[Any, Any]:
            y, state = module(x[None], state)
            return y[0], state

        def by_cell(x: Any, state: Any) -> tuple[Any, Any]:
            state = cell(x, state)
            return (state[0] if net.cell == "lstm" else state), state

        return {kind: partial(self._started, by_module), kind + "Cell": partial(self._started, by_cell)}

    def _started(self, advance: Callable[[Any, Any], tuple[Any, Any]]) -> Step:
        """Steps from the state that is there without one: zeros."""
        torch, state = self.torch, None

        def step(x: Array) -> Array:
            nonlocal state
            y, state = advance(torch.from_numpy(x), state)
            found: Array = y.numpy()
            return found

        return self._inferring(step)

    # --- what both need -----------------------------------------------------------------------------------------------

    def _module(self, net: Net, end: str = "") -> Any:
        module, gates = getattr(self.torch.nn, KINDS[net.cell] + end)(net.input, net.hidden), GATES[net.cell]
        arrays = (*(stacked(net.narrow, kind, gates) for kind in ("w", "u", "b")), inner_bias(net, gates))
        with self.torch.no_grad():
            for parameter, array in zip(module.parameters(), arrays, strict=True):
                parameter.copy_(self.torch.from_numpy(array))
        return module.eval()

    def _inferring(self, function: Callable[..., Any]) -> Callable[..., Any]:
        without_gradients: Callable[..., Any] = self.torch.inference_mode()(function)
        return without_gradients

    @contextmanager
    def _threads(self, count: int) -> Iterator[None]:
        before = self.torch.get_num_threads()
        self.torch.set_num_threads(count)
        try:
            yield
        finally:
            self.torch.set_num_threads(before)


def _output(run: Callable[[], Any]) -> Array:
    return time_first(run().numpy())
