"""The NumPy target: a plan as readable Python source, one function for each phase.

Inside a phase every value has a leading axis of rows, the examples (in the loop) or all steps of all examples (before and
after it); parameters have none. A vector operation therefore works on the last axis, whatever stands before it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from elman.gates import Array
from elman.graph import Graph
from elman.passes import Plan
from elman.targets.elementwise import NumpyElementwise, sums_of_squares
from elman.targets.few_rows import by_columns, panels_of
from elman.targets.interface import Elementwise, Outcome, Prepared
from elman.targets.numpy_source import Emitter, large_matrices
from elman.targets.rows import Carried, Chunk, Rows, rows_of

CHUNK = 4096
"""Rows (steps times examples) of a chunk of time, where a row has up to 256 values: then a chunk is 4 MB of float32, the
hoisted part is still in the second or third cache when the loop reads it, and memory does not grow with the length of the
sequence. Wider rows (matrix states) make shorter chunks."""

MANY = 64
"""Rows of a chunk from which it pays to lay out the matrices of the loop for parameters that serve one run."""


@dataclass(frozen=True)
class NumpyTarget:
    """Readable Python source over NumPy: always there."""

    name: ClassVar[str] = "numpy"

    def merges(self, graph: Graph) -> bool:
        """Its products cost a call each."""
        return True

    def __call__(self, plan: Plan, dtype: Any) -> "NumpyProgram":
        """Write the source of a plan."""
        return NumpyProgram(plan, dtype)

    def elementwise(self, graph: Graph, dtype: Any) -> Elementwise:
        """Gate by gate."""
        return NumpyElementwise(graph, dtype)

    def squares_of(self, arrays: Sequence[Array]) -> Callable[[], list[float]]:
        """Part by part."""
        return partial(sums_of_squares, arrays)


class NumpyProgram:
    """A plan as Python source, and its driver over chunks of time."""

    def __init__(self, plan: Plan, dtype: Any) -> None:
        self.plan, self.graph, self.dtype = plan, plan.graph, np.dtype(dtype)
        self._constants = {
            f"constant_{i}": np.asarray(node.settings["value"], self.dtype)
            for i, node in enumerate(self.graph.nodes)
            if node.gate == "constant" and node.shape
        }
        self._large = large_matrices(plan)
        self.source = Emitter(plan, self.dtype).module()
        module: dict[str, Any] = {**self._constants}
        # The source holds nothing but words of this target, numbers, and names that the graph has checked to be names.
        exec(compile(self.source, f"<elman {self.graph.name}>", "exec"), module)
        self._phase: dict[str, Callable[..., Any]] = {
            p: module[p] for p in ("prepare", "before", "loop", "after", "finish") if p in module
        }

    def prepare(self, parameters: Mapping[str, Array], *, lasting: bool = False) -> Prepared:
        """Run the phase of the parameters; for lasting ones make also what a single run makes only where it is long."""
        shared = {index: parameters[name] for name, index in self.graph.leaves("parameter").items()}
        with _quiet():
            self._call("prepare", shared)
            prepared = Prepared(shared)
            if lasting:
                self._lay_out(prepared)
                prepared.table = self._table(prepared) if self._has_table else {}
        return prepared

    def run(
        self,
        prepared: Prepared,
        inputs: Mapping[str, Array],
        states: Mapping[str, Array],
        *,
        lengths: Array | None = None,
        backwards: bool = False,
        inward: bool = False,
        totals: Mapping[int, Array] | None = None,
    ) -> Outcome:
        """Run chunk after chunk of time."""
        steps, batch = next(iter(inputs.values())).shape[:2]
        rows = rows_of(steps, batch, lengths)
        carried = Carried({name: states[name] for name in self.graph.leaves("state")}, rows.order)
        parts = rows.parts(CHUNK * 256 // max(self._width, 256))
        outputs: dict[str, Array] = {}
        summed: dict[int, Array] = dict(totals or {})
        with _quiet():
            for part in reversed(parts) if backwards else parts:
                chunk = rows.chunk(part)
                values = self._chunk(prepared, inputs, chunk, carried, backwards)
                self._collect(outputs, values, rows, chunk)
                for index in self._totals:
                    summed[index] = summed[index] + values[index] if index in summed else values[index]
            sums = self._finish(prepared, summed)
        for name, index in self.graph.named("output").items():
            if name not in outputs:  # no step at all
                outputs[name] = rows.room(self.graph.nodes[index].shape, self.dtype)
        last = {name: np.array(state) for name, state in carried.last().items()}  # it may be an input's, seen on its way
        return Outcome(outputs, last, sums, summed)

    def _chunk(
        self, prepared: Prepared, inputs: Mapping[str, Array], chunk: Chunk, carried: Carried, backwards: bool
    ) -> dict[int, Array]:
        """All phases over the rows of one chunk; changes what is carried; returns values by node, rows flat."""
        if prepared.panels is None and chunk.rows >= MANY:
            self._lay_out(prepared)
        values = dict(prepared.shared)
        for index in self._brought:
            values[index] = chunk.flat(inputs[self.graph.nodes[index].name])
        if self._has_table and not prepared.table and chunk.rows >= self._vocabulary:
            prepared.table = self._table(prepared)
        if prepared.table:
            token = values[next(iter(self.graph.leaves("token").values()))]
            values.update({index: table[token] for index, table in prepared.table.items()})
        else:
            self._call("before", values)
        if self.plan.recurrent:
            self._loop(values, prepared.panels or [None] * len(self._large), chunk, carried, backwards)
        self._call("after", values)
        return values

    def _loop(
        self, values: dict[int, Array], panels: Sequence[Array | None], chunk: Chunk, carried: Carried, backwards: bool
    ) -> None:
        """The loop over each segment of the chunk, on views of its rows."""
        for index in self._made:
            values[index] = np.empty((chunk.rows, *self.graph.nodes[index].shape), self.dtype)
        for rows, steps, examples in reversed(chunk.segments) if backwards else chunk.segments:
            arrays = []
            for index, shared in self._looped:
                value = values[index]
                arrays.append(value if shared else value[rows].reshape(steps, examples, *value.shape[1:]))
            states = carried.first(examples)
            last = self._phase["loop"](range(steps)[:: -1 if backwards else 1], *arrays, *panels, *states.values())
            carried.now = dict(zip(states, last, strict=True))

    def _call(self, phase: str, values: dict[int, Array]) -> None:
        if phase in self._phase:
            given = self._phase[phase](*(values[index] for index in self.plan.needs(phase)))
            values.update(zip(self.plan.gives(phase), given, strict=True))

    def _collect(self, outputs: dict[str, Array], values: dict[int, Array], rows: Rows, chunk: Chunk) -> None:
        """Lay the rows of a chunk into the outputs, which are 0 wherever no row is."""
        whole = chunk.axes == rows.axes
        for name, index in self.graph.named("output").items():
            node = self.graph.nodes[index]
            value = self._constant(index) if node.gate == "constant" else values[index]
            if whole and not self.plan.shared[index] and self._is_fresh(value, values):
                outputs[name] = value.reshape(*rows.axes, *node.shape)
                continue
            if name not in outputs:
                outputs[name] = rows.room(node.shape, self.dtype)
            chunk.lay(value, outputs[name])

    def _is_fresh(self, value: Array, values: dict[int, Array]) -> bool:
        """Whether an array is the caller's to keep: no view of an input, nor one number seen many times."""
        return value.flags.writeable and not any(np.may_share_memory(value, values[i]) for i in self._brought)

    def _finish(self, prepared: Prepared, totals: dict[int, Array]) -> dict[str, Array]:
        values = dict(prepared.shared) | totals
        for index in self._totals:
            values.setdefault(index, np.zeros(self.graph.nodes[index].shape, self.dtype))
        self._call("finish", values)
        return {name: values[index] for name, index in self.graph.named("sum").items()}

    def _constant(self, index: int) -> Array:
        return np.asarray(self.graph.nodes[index].settings["value"], self.dtype)

    @cached_property
    def _width(self) -> int:
        """Values of one row that cross from phase to phase."""
        crossing = [*self.plan.gives("before"), *self.plan.gives("loop"), *self.plan.gives("after")]
        return sum(int(np.prod(self.graph.nodes[i].shape)) for i in crossing if not self.plan.shared[i])

    @cached_property
    def _made(self) -> tuple[int, ...]:
        """What the loop writes for every row."""
        return (*self.plan.gives("loop"), *self.plan.kept_states)

    @cached_property
    def _looped(self) -> list[tuple[int, bool]]:
        """What the loop is given besides the states, and whether it is one for all rows."""
        read = [i for i in self.plan.needs("loop") if self.graph.nodes[i].gate != "state"]
        return [(i, self.plan.shared[i]) for i in read] + [(i, False) for i in self._made]

    @cached_property
    def _totals(self) -> list[int]:
        return [index for index, node in enumerate(self.graph.nodes) if node.gate == "total"]

    @cached_property
    def _brought(self) -> list[int]:
        return list((self.graph.leaves("input") | self.graph.leaves("token")).values())

    @cached_property
    def _vocabulary(self) -> int:
        node = self.graph.nodes[next(iter(self.graph.leaves("token").values()))]
        return int(node.settings["size"])

    @cached_property
    def _has_table(self) -> bool:
        """Whether all that is hoisted is a function of one token, so that a table of it serves every step."""
        brought = [i for i in self.plan.needs("before") if not self.plan.shared[i]]
        return len(brought) == 1 and self.graph.nodes[brought[0]].gate == "token"

    def _lay_out(self, prepared: Prepared) -> None:
        """Put the matrices of the loop in the orders in which few rows read them fastest."""
        for index in self.plan.recurrent_matrices:
            prepared.shared[index] = by_columns(prepared.shared[index])
        prepared.panels = [panels_of(prepared.shared[index]) for index in self._large]

    def _table(self, prepared: Prepared) -> dict[int, Array]:
        values = dict(prepared.shared)
        values[next(iter(self.graph.leaves("token").values()))] = np.arange(self._vocabulary)
        self._call("before", values)
        return {index: values[index] for index in self.plan.gives("before")}


def _quiet() -> np.errstate:
    """exp(-x) = inf gives sigmoid its limit; and OpenBLAS computes lanes beyond the edge of a matrix, and may flag those."""
    return np.errstate(over="ignore", invalid="ignore")
