"""The equations of any cell as Python source in the words of an array library, for peers that have no such cell.

As written: a product for each that stands in the equations, all in the loop over time. Arranged, as by a person who knows
what elman knows of them: products that share an operand are one, what needs only the input stands before the loop, what
feeds no state behind it, and a token looks up a row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from elman.bench.peers.interface import GATES
from elman.bench.problems import Net
from elman.gates import Array
from elman.graph import Graph
from elman.passes import Plan, lower, schedule
from elman.targets.interpreter import computed

WORDS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negate": "-{0}",
    "greater": "1.0 * ({0} > {1})",
    "where": "np.where({0} != 0, {1}, {2})",
    "sum": "{0}.sum(-1)",
    "mean": "{0}.mean(-1)",
    "slice": "{0}[..., {start}:{stop}]",
    "product": "{1} @ {0}",
    "lookup": "{0}[{1}]",
    **{name: f"nn.{name}({{0}}, -1)" for name in ("softmax", "log_softmax")},
    **{name: f"nn.{name}({{0}})" for name in ("sigmoid", "relu", "softplus")},
    **{name: f"np.{name}({{0}}, {{1}})" for name in ("maximum", "minimum")},
    **{name: f"np.{name}({{0}})" for name in ("tanh", "exp", "log", "sqrt", "absolute", "sin", "cos")},
}
"""Gates on vectors and numbers with axes before theirs, in words that JAX shares with PyTorch; matrices are turned."""

PHASES = ("before", "loop", "after")

WRITTEN, ARRANGED = "as written", "arranged"
"""Labels."""


def forms(net: Net) -> dict[str, "Equations"]:
    """The equations of a net in both forms, by label; a cell that peers have ready arranged only. None without words."""
    tokens = net.embedding is not None
    plans = {ARRANGED: schedule(lower(net.graph, tokens=tokens))}
    if net.cell not in GATES and not tokens:
        plans[WRITTEN] = as_written(net.graph)
    found = {label: Equations(plan, net.parameters) for label, plan in plans.items()}
    return {label: equations for label, equations in found.items() if equations.known}


def as_written(graph: Graph) -> Plan:
    """A plan that leaves every equation in the loop, but for those of parameters alone."""
    plan = schedule(graph)
    return replace(plan, phases=tuple("loop" if phase in PHASES else phase for phase in plan.phases))


class Equations:
    """The source of a plan, and what its functions take besides: `held`, made of the parameters.

    before(x, *held)              what the loop reads of the input, and what is read behind it
    loop(states, given, *held)    the next states, and what is read behind the loop
    after(aside, kept, *held)     the output
    """

    def __init__(self, plan: Plan, parameters: Mapping[str, Array]) -> None:
        self._plan, self._nodes, self._states = plan, plan.graph.nodes, plan.graph.named("state")
        self._leaves, (self._output,) = plan.graph.leaves("state"), plan.graph.named("output").values()
        self._input = next(i for i, node in enumerate(self._nodes) if node.gate in ("input", "token"))
        read = {phase: [*plan.needs(phase)] for phase in PHASES}
        read["after"].append(self._output)
        inside = {phase: {*plan.nodes(phase)} for phase in PHASES}
        brought, carried = inside["before"] | {self._input}, inside["loop"] | {*self._leaves.values()}
        self._given = sorted({*read["loop"]} & brought)
        self._aside, self._kept = sorted({*read["after"]} & brought), sorted({*read["after"]} & carried)
        constants = [i for i, node in enumerate(self._nodes) if node.gate == "constant"]
        self._held = sorted({i for phase in PHASES for i in read[phase] if plan.shared[i]} | {*constants})
        values = computed(plan, parameters, np.dtype(np.float32))
        self.held = [np.ascontiguousarray(values[i].T) for i in self._held]

    @property
    def known(self) -> bool:
        """Whether there are words for all: no matrix but of parameters, and a vector as output that is made step by step."""
        made = [i for phase in PHASES for i in self._plan.nodes(phase)]
        flat = all(len(self._nodes[i].shape) < 2 for i in (*made, *self._leaves.values(), self._input))
        vector = self._output in made and len(self._nodes[self._output].shape) == 1
        return flat and vector and all(self._nodes[i].gate in WORDS for i in made)

    @property
    def source(self) -> str:
        """All three functions."""
        states, given, aside, kept = map(_all, (self._leaves.values(), self._given, self._aside, self._kept))
        following = "".join(f"{self._following(name)}, " for name in self._leaves)
        parts = {
            "before": ([f"v{self._input}"], [], f"{given}, {aside}"),
            "loop": (["states", "given"], [f"{states} = states", f"{given} = given"], f"({following}), {kept}"),
            "after": (["aside", "kept"], [f"{aside} = aside", f"{kept} = kept"], f"v{self._output}"),
        }
        return "\n\n".join(self._function(phase, *each) for phase, each in parts.items())

    def functions(self, np: Any, nn: Any) -> tuple[Any, Any, Any]:
        """All three, in the words of a library: its arrays (`jax.numpy`, `torch`) and its activations."""
        space: dict[str, Any] = {"np": np, "nn": nn}
        exec(self.source, space)  # its own text, of the words above
        return space["before"], space["loop"], space["after"]

    def first(self, batch: int) -> tuple[Array, ...]:
        """States of zero, `[B, ...]`."""
        return tuple(np.zeros((batch, *map(int, self._nodes[i].shape)), np.float32) for i in self._leaves.values())

    def _function(self, phase: str, arguments: list[str], unpacked: list[str], returned: str) -> str:
        named = ", ".join((*arguments, *(f"v{i}" for i in self._held)))
        lines = [*unpacked, *(f"v{i} = {self._word(i)}" for i in self._plan.nodes(phase)), f"return {returned}"]
        return "\n    ".join([f"def {phase}({named}):", *lines])

    def _word(self, index: int) -> str:
        node = self._nodes[index]
        return WORDS[node.gate].format(*map(self._operand, node.inputs), **node.settings)

    def _operand(self, index: int) -> str:
        node = self._nodes[index]
        return f"{self._operand(node.inputs[0])}[..., None]" if node.gate == "expand" else f"v{index}"

    def _following(self, name: str) -> str:
        """What a state becomes; a number, and what is made of parameters alone, is repeated."""
        index, like = self._states[name], f"v{self._leaves[name]}.shape"
        if self._plan.shared[index]:
            return f"np.broadcast_to(v{index}, {like})"
        return f"np.broadcast_to({self._operand(index)}, {like})" if self._nodes[index].gate == "expand" else f"v{index}"


def _all(indices: Iterable[int]) -> str:
    """A tuple of values."""
    return f"({''.join(f'v{i}, ' for i in indices)})"
