"""A whole training step of a character model against PyTorch and JAX, in one run.

    python benchmarks/training.py [--only lstm:256] [--seconds 2] [--cells]

A step: forward, cross entropy, backward, gradients clipped to norm 1, Adam. Vocabulary 96, float32, random tokens, the
state carried from step to step. elman: an update of a Trainer, which takes its batch as well. PyTorch: Embedding,
RNN/GRU/LSTM, Linear, its own Adam, at 1 and at 2 threads. JAX: one function under jit, `lax.scan` over the equations as
elman arranges them. Medians of interleaved turns; milliseconds. The last setting is the article's: hidden 100, gradients
cut every 4 steps, one sequence (PyTorch detaches the state every 4 steps). With `--cells` own cells, which PyTorch runs as
a loop in Python.

Measured on two shared cores of an Intel Xeon with AVX-512 against PyTorch 2.13 and JAX 0.10, times the best peer: elman 128
3.0, gru 128 4.9, lstm 128 2.5, lstm 256 and lstm 512 1.9, the article's setting 15.2; geometric mean 3.6 (1.8 was asked).
Own cells against the loop in PyTorch, with equations as written and as elman arranges them: mgu 20.3 and 13.0 times with
one sequence, 7.2 and 7.1 with 32; layer-normalised lstm 28.3 and 24.6, 11.2 and 9.4; geometric mean 14.7 and 12.1, where 10
was asked, and 3.9 times JAX. A loop costs PyTorch 110 to 890 us a step, and of 32 sequences elman itself takes 40 to 80 us.
"""

import argparse
import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is there

import numpy as np

import elman
from elman.bench.peers.equations import ARRANGED, WRITTEN, Equations, as_written
from elman.bench.timing import Way, interleaved
from elman.cells import CELLS
from elman.data import Streams
from elman.optim import Adam
from elman.passes import lower, schedule
from elman.schedules import Constant

VOCABULARY, RATE, CLIP = 96, 1e-3, 1.0
THREADS = (1, 2)
ORDERS = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}


@dataclass(frozen=True)
class Setting:
    """What is trained: a cell, its hidden size, batch, steps, and after how many of them gradients are cut."""

    cell: str
    hidden: int
    batch: int
    steps: int
    cut: int | None = None

    def __str__(self) -> str:
        return f"{self.cell}:{self.hidden} B{self.batch} T{self.steps}" + f" cut {self.cut}" * bool(self.cut)

    def tokens(self) -> np.ndarray:
        """Inputs and targets, `[B, T + 1]`."""
        return np.random.default_rng(0).integers(0, VOCABULARY, (self.batch, self.steps + 1))


SETTINGS = (
    Setting("elman", 128, 32, 64),
    Setting("gru", 128, 32, 64),
    Setting("lstm", 128, 32, 64),
    Setting("lstm", 256, 32, 64),
    Setting("lstm", 512, 64, 64),
    Setting("elman", 100, 1, 64, cut=4),
)
OWN = tuple(Setting(cell, 128, batch, 64) for cell in ("mgu", "lstm_layer_norm") for batch in (1, 32))


def trainer(setting: Setting) -> elman.Trainer:
    """A training of random tokens, as `elman train` makes it."""
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, 50 * setting.batch * setting.steps)
    model = elman.Model(VOCABULARY, setting.hidden, setting.cut, CELLS[setting.cell])
    source = Streams(tokens, setting.batch, setting.steps)
    return elman.Trainer(model, source, Adam(), Constant(RATE), steps=10**9, clip=CLIP)


def ours(setting: Setting) -> Iterator[tuple[str, Callable[[], float]]]:
    """elman, with its default settings."""
    training = trainer(setting)
    yield "elman", lambda: next(training).loss


def by_pytorch(setting: Setting) -> Iterator[tuple[str, Callable[[], float]]]:
    """The module that PyTorch has for the cell; else the equations in a loop, as written and as arranged."""
    import torch

    def made(threads: int, build: Callable[[Any, Setting], tuple[Any, list[Any]]]) -> Callable[[], float]:
        torch.manual_seed(0)
        run, parameters = build(torch, setting)
        head = torch.nn.Linear(setting.hidden, VOCABULARY)
        parameters = [*parameters, *head.parameters()]
        optimiser = torch.optim.Adam(parameters, RATE)
        tokens, state = torch.from_numpy(setting.tokens()), None

        def step() -> float:
            nonlocal state
            torch.set_num_threads(threads)
            y, state = run(tokens[:, :-1], state)
            loss = torch.nn.functional.cross_entropy(head(y).reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            optimiser.step()
            return float(loss.detach())

        return step

    forms = {"": _module} if setting.cell in ORDERS else {f" {ARRANGED}": _arranged, f" {WRITTEN}": _written}
    for threads in THREADS:
        for form, build in forms.items():
            yield f"PyTorch {threads}{form}", made(threads, build)


def _detached(state: Any) -> Any:
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def _module(torch: Any, setting: Setting) -> tuple[Any, list[Any]]:
    embedding = torch.nn.Embedding(VOCABULARY, setting.hidden)
    module = getattr(torch.nn, ORDERS[setting.cell])(setting.hidden, setting.hidden, batch_first=True)

    def run(x: Any, state: Any) -> tuple[Any, Any]:
        embedded, found = embedding(x), []
        for part in embedded.split(setting.cut or setting.steps, 1):
            y, state = module(part, state)
            state = _detached(state)
            found.append(y)
        return torch.cat(found, 1) if len(found) > 1 else found[0], state

    return run, [*embedding.parameters(), *module.parameters()]


def _arranged(torch: Any, setting: Setting) -> tuple[Any, list[Any]]:
    return _loop(torch, setting, _equations(setting), lambda tokens: tokens, [])


def _written(torch: Any, setting: Setting) -> tuple[Any, list[Any]]:
    """An embedding, and every equation in the loop, a product for each that stands there."""
    embedding = torch.nn.Embedding(VOCABULARY, setting.hidden)
    rnn = elman.RNN(CELLS[setting.cell], input=setting.hidden, hidden=setting.hidden)
    equations = Equations(as_written(rnn.graph), rnn.parameters)
    return _loop(torch, setting, equations, embedding, [*embedding.parameters()])


def _loop(torch: Any, setting: Setting, equations: Equations, read: Any, more: list[Any]) -> tuple[Any, list[Any]]:
    before, loop, after = equations.functions(torch, torch.nn.functional)
    held = [torch.tensor(array, requires_grad=True) for array in equations.held]
    first = tuple(map(torch.tensor, equations.first(setting.batch)))

    def run(x: Any, states: Any) -> tuple[Any, Any]:
        given, aside = before(read(x.T), *held)
        states, found = states or first, []
        for now in zip(*given, strict=True):
            states, kept = loop(states, now, *held)
            found.append(kept)
        y = after(aside, [torch.stack(kept) for kept in zip(*found, strict=True)], *held)
        return y.transpose(0, 1), tuple(state.detach() for state in states)

    return run, [*held, *more]


def by_jax(setting: Setting) -> Iterator[tuple[str, Callable[[], float]]]:
    """The equations as elman arranges them, with `lax.scan`; the whole step under jit."""
    if setting.cut:  # a scan of scans would be needed; PyTorch stands for it
        return
    import jax
    from jax import numpy as jnp

    equations = _equations(setting)
    before, loop, after = equations.functions(jnp, jax.nn)
    rng, tokens = np.random.default_rng(1), jnp.asarray(setting.tokens().T)
    wya = rng.standard_normal((setting.hidden, VOCABULARY)).astype(np.float32) / 10
    parameters = [*map(jnp.asarray, equations.held), jnp.asarray(wya), jnp.zeros(VOCABULARY)]

    def loss_of(parameters: Any, states: Any) -> Any:
        *held, wya, by = parameters
        given, aside = before(tokens[:-1], *held)
        states, kept = jax.lax.scan(lambda s, now: loop(s, now, *held), states, given)
        likelihoods = jax.nn.log_softmax(after(aside, kept, *held) @ wya + by, -1)
        return -jnp.take_along_axis(likelihoods, tokens[1:, :, None], -1).mean(), states

    @jax.jit
    def update(parameters: Any, first: Any, second: Any, count: Any, states: Any) -> Any:
        (loss, states), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters, states)
        norm = jnp.sqrt(sum((g * g).sum() for g in gradients))
        gradients = [g * jnp.minimum(1.0, CLIP / norm) for g in gradients]
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
        m_hat, v_hat = 1 / (1 - 0.9**count), 1 / (1 - 0.999**count)
        moved = zip(parameters, first, second, strict=True)
        parameters = [p - RATE * m * m_hat / (jnp.sqrt(v * v_hat) + 1e-8) for p, m, v in moved]
        return loss, parameters, first, second, states

    first, second, count = [jnp.zeros_like(p) for p in parameters], [jnp.zeros_like(p) for p in parameters], 0
    states = tuple(map(jnp.asarray, equations.first(setting.batch)))

    def step() -> float:
        nonlocal parameters, first, second, count, states
        count += 1
        loss, parameters, first, second, states = update(parameters, first, second, float(count), states)
        return float(loss)

    yield "JAX", step


def _equations(setting: Setting) -> Equations:
    rnn = elman.RNN(CELLS[setting.cell], input=VOCABULARY, hidden=setting.hidden)
    return Equations(schedule(lower(rnn.graph, tokens=True)), rnn.parameters)


def installed() -> list[Callable[[Setting], Iterator[tuple[str, Callable[[], float]]]]]:
    """elman, and the peers that are there."""
    return [ours, *(make for name, make in (("torch", by_pytorch), ("jax", by_jax)) if importlib.util.find_spec(name))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="settings whose name begins so")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--cells", action="store_true", help="own cells instead")
    given = parser.parse_args()
    ratios = []
    for setting in (s for s in (OWN if given.cells else SETTINGS) if str(s).startswith(given.only)):
        ways = {
            name: Way(str(setting), name, run, lambda: np.zeros(1)) for make in installed() for name, run in make(setting)
        }
        for way in ways.values():
            for _ in range(5):  # elman compiles what threads share when it first tries them
                way.call()
        taken, _ = interleaved(ways, {}, given.seconds)
        best = {form: _best(taken, form) / taken["elman"] for form in ((WRITTEN, ARRANGED, "JAX") if given.cells else ("",))}
        ratios.append([*best.values()])
        told = "  ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in taken.items())
        against = ", ".join(f"{ratio:.2f} times the best {form or 'peer'}" for form, ratio in best.items())
        print(f"{setting!s:26} {told}  ms: {against}", flush=True)
    print("geometric mean", *(f"{mean:.2f}" for mean in np.exp(np.mean(np.log(ratios), 0))))


def _best(taken: dict[str, float], form: str) -> float:
    """The least time of a peer, in one form if it is told."""
    return min((seconds for name, seconds in taken.items() if name != "elman" and form in name), default=float("nan"))


if __name__ == "__main__":
    main()
