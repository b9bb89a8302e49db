"""When each gate runs: hoisted before the loop over time, in it, or sunk behind it.

    prepare  needs only the parameters            once for a set of parameters
    before   needs only parameters and input      all steps at once (hoist)
    loop     feeds the next state                 step after step
    after    feeds no state                       all steps at once (sink), and the totals over steps and examples
    finish   needs only parameters and totals     once at the end

A loop that holds less runs faster: this is where a cell's input products become one product for all steps.
"""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from elman.graph import Graph
from elman.nodes import LEAVES, Node
from elman.passes.dependence import Dependence, dependence

PHASES = ("prepare", "before", "loop", "after", "finish")

READ = {"prepare": "once", "before": "a chunk", "loop": "a step", "after": "a chunk", "finish": "once"}
"""How often a phase reads its matrices: outside the loop once for all steps of a chunk and all examples."""

WIDTH, INSIDE, TOGETHER = 80, " " * 4, "\u00a0"
"""Of what is printed: columns, what stands before gates, and a blank at which no line ends."""

LIGHT = ("add", "subtract", "multiply", "negate", "maximum", "minimum", "greater", "where", "detach")
"""Gates of an instruction or two."""

SUMMED = ("outer", "scatter")
"""Gates whose totals a target computes without the summands."""


def hoisted(facts: Dependence, index: int) -> bool:
    """Whether a value needs no state, so that it can be computed for all steps before the loop."""
    return not facts.reached[index]


def sunk(facts: Dependence, index: int) -> bool:
    """Whether a value feeds no state, so that it can be computed for all steps after the loop."""
    return not facts.feeds[index]


def fused(graph: Graph, facts: Dependence, index: int) -> bool:
    """Whether a value is never made by itself: an expansion, or a matrix that is only ever summed over steps.

    The total of outer products is one product of two matrices; the total of scattered columns adds rows.
    """
    node, uses = graph.nodes[index], graph.uses[index]
    if any(result.node == index for result in graph.results):
        return False
    if node.gate in SUMMED:
        return (
            bool(uses)
            and all(graph.nodes[i].gate == "total" for i in uses)
            and not any(facts.shared[i] for i in node.inputs)
        )
    return node.gate == "expand"


def schedule(graph: Graph, itemsize: int = 4, *, registers: bool = False) -> "Plan":
    """Give every gate its phase; `itemsize` is what the plan takes for the bytes of a number.

    `registers` says that the loop holds values in registers, so that memory costs it more than arithmetic.
    """
    facts = dependence(graph)
    light = _light(graph, facts) if registers else [False] * len(graph.nodes)
    phases = []
    for index, node in enumerate(graph.nodes):
        if node.gate in LEAVES or fused(graph, facts, index):
            phases.append("")
        elif node.gate == "total":
            phases.append("after")
        elif facts.shared[index]:
            phases.append("finish" if facts.totalled[index] else "prepare")
        elif hoisted(facts, index) and not light[index]:
            phases.append("before")
        else:
            phases.append("after" if sunk(facts, index) else "loop")
    return Plan(graph, tuple(phases), facts.shared, itemsize)


def _light(graph: Graph, facts: Dependence) -> list[bool]:
    """For every value whether the loop, or what follows it, makes it of inputs sooner than it brings it there."""
    light: list[bool] = []
    for node in graph.nodes:
        at_hand = node.gate in ("input", "constant") or (node.gate == "expand" and light[node.inputs[0]])
        light.append(at_hand or (node.gate in LIGHT and all(light[i] or facts.shared[i] for i in node.inputs)))
    for index in reversed(range(len(graph.nodes))):  # and nothing that is made before the loop may need it
        uses = graph.uses[index]
        wanted = facts.feeds[index] or any(not hoisted(facts, i) for i in uses)
        light[index] &= wanted and all(light[i] or not hoisted(facts, i) for i in uses)
    return light


@dataclass(frozen=True)
class Plan:
    """A graph and the phase of each of its gates (empty for a leaf, and for what is fused into its user).

    Printed, it tells of each phase its gates, its matrix products with their multiplications and operations (a multiply-add
    being two), both for one step of one example, and the bytes of the matrices that it reads. `elman.bench.expected` adds
    the microseconds that this machine takes for it at least.
    """

    graph: Graph
    phases: tuple[str, ...]
    shared: tuple[bool, ...]
    itemsize: int = 4

    @property
    def recurrent(self) -> bool:
        """Whether there is a loop over time at all."""
        return bool(self.graph.leaves("state"))

    def nodes(self, phase: str) -> list[int]:
        """The nodes of a phase, in order."""
        return self._nodes[phase]

    @cached_property
    def _nodes(self) -> dict[str, list[int]]:
        return {phase: [index for index, of in enumerate(self.phases) if of == phase] for phase in PHASES}

    def needs(self, phase: str) -> list[int]:
        """What a phase reads from others: leaves and earlier results."""
        return self._needs[phase]

    @cached_property
    def _needs(self) -> dict[str, list[int]]:
        return {phase: self._read_by(phase) for phase in PHASES}

    def _read_by(self, phase: str) -> list[int]:
        inner = set(self.nodes(phase))
        read = {i for index in inner for source in self.graph.nodes[index].inputs for i in self._behind(source)}
        if phase == "loop":  # a state may be replaced by a value that stood before the loop
            read |= set(self.graph.named("state").values())
        return sorted(i for i in read - inner if self.graph.nodes[i].gate != "constant")

    def _behind(self, index: int) -> list[int]:
        """A value itself, or what it is made of where it is fused into its user."""
        node = self.graph.nodes[index]
        if self.phases[index] or node.gate in LEAVES:
            return [index]
        return [i for source in node.inputs for i in self._behind(source)]

    def gives(self, phase: str) -> list[int]:
        """What a phase computes that another reads, or that is a result."""
        return self._gives[phase]

    @cached_property
    def _gives(self) -> dict[str, list[int]]:
        read = {result.node for result in self.graph.results if result.role != "state"}
        for phase in PHASES:
            read |= set(self.needs(phase))
        return {phase: [index for index in self.nodes(phase) if index in read] for phase in PHASES}

    @cached_property
    def kept_states(self) -> list[int]:
        """States whose value before each step is read behind the loop, or is a result."""
        leaves = set(self.graph.leaves("state").values())
        read = {i for phase in ("after", "finish") for i in self.needs(phase)}
        return sorted(leaves & (read | set(self.graph.named("output").values())))

    @cached_property
    def recurrent_matrices(self) -> list[int]:
        """Matrices made of parameters that products of the loop meet at every step."""
        return [i for i in self.matrices("loop") if self.graph.nodes[i].gate != "constant"]

    def matrices(self, *phases: str) -> list[int]:
        """Matrices that products of these phases meet and that are the same for all examples and steps."""
        met = {node.inputs[0] for phase in phases for node in self.products(phase) if node.gate == "product"}
        return sorted(i for i in met if self.shared[i])

    def products(self, phase: str) -> list[Node]:
        """Matrix products of a phase; the total of outer products is one of two matrices."""
        nodes, made = self.graph.nodes, []
        for index in self.nodes(phase):
            summed = nodes[index].inputs[0] if nodes[index].gate == "total" else index
            made.append(nodes[index if self.phases[summed] else summed])
        return [node for node in made if node.gate in ("product", "outer")]

    def multiplications(self, phase: str) -> int:
        """Multiplications of the matrix products of a phase, for one step of one example (or once, where shared)."""
        count = 0
        for node in self.products(phase):
            a, b = (self.graph.nodes[i].shape for i in node.inputs)
            count += int(a[0]) * int(a[1] if node.gate == "product" else b[0])
        return count

    def bytes_read(self, *phases: str) -> int:
        """Bytes of the matrices of these phases, each counted once."""
        return self.itemsize * sum(math.prod(map(int, self.graph.nodes[i].shape)) for i in self.matrices(*phases))

    def __str__(self) -> str:
        return self.table()

    def table(self, us: Mapping[str, float] | None = None) -> str:
        """The phases in 80 columns, with the microseconds of each where they are given."""
        titles = f"{'products':>18}{'multiplications':>17}{'operations':>15}{'bytes read':>15}"
        lines = [f"plan of {self.graph.name}, for a step of one example", titles + ("" if us is None else f"{'us':>15}")]
        for phase in PHASES:
            gates = [self.graph.nodes[i].gate for i in self.nodes(phase)]
            if not gates:
                continue
            products, count, read = len(self.products(phase)), self.multiplications(phase), self.bytes_read(phase)
            line = f"  {phase:8}{products:>8,}{count:>17,}{2 * count:>15,}{read:>15,} {READ[phase]:7}"
            lines.append((line if us is None else f"{line}{_told(us[phase]):>7}").rstrip())
            counts = ", ".join(f"{gates.count(g)}{TOGETHER}{g}" for g in dict.fromkeys(gates))
            lines += textwrap.wrap(counts, WIDTH, initial_indent=INSIDE, subsequent_indent=INSIDE)
        return "\n".join(lines).replace(TOGETHER, " ")


def _told(us: float) -> str:
    return f"{us:.3f}" if us < 100 else f"{us:,.0f}"
