"""The NumPy target: a plan as readable Python source, one function for each phase.

Inside a phase every value has a leading axis of rows, the examples (in the loop) or all steps of all examples (before and
after it); parameters have none. A vector operation therefore works on the last axis, whatever stands before it.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from elman.gates import Array
from elman.passes import Plan
from elman.targets.interface import Outcome, Prepared
from elman.targets.numpy_source import Emitter

CHUNK = 4096
"""Rows (steps times examples) of a chunk of time, where a row has up to 256 values: then a chunk is 4 MB of float32, the
hoisted part is still in the second or third cache when the loop reads it, and memory does not grow with the length of the
sequence. Wider rows (matrix states) make shorter chunks."""


class NumpyProgram:
    """A plan as Python source, and its driver over chunks of time."""

    def __init__(self, plan: Plan, dtype: Any) -> None:
        self.plan, self.graph, self.dtype = plan, plan.graph, np.dtype(dtype)
        self._constants = {
            f"constant_{i}": np.asarray(node.settings["value"], self.dtype)
            for i, node in enumerate(self.graph.nodes)
            if node.gate == "constant" and node.shape
        }
        self.source = Emitter(plan, self.dtype).module()
        module: dict[str, Any] = {**self._constants}
        # The source holds nothing but words of this target, numbers, and names that the graph has checked to be names.
        exec(compile(self.source, f"<elman {self.graph.name}>", "exec"), module)
        self._phase: dict[str, Callable[..., Any]] = {
            p: module[p] for p in ("prepare", "before", "loop", "after", "finish") if p in module
        }

    def prepare(self, parameters: Mapping[str, Array], *, lasting: bool = False) -> Prepared:
        """Run the phase of the parameters; for a token input and lasting parameters make the table too."""
        shared = {index: parameters[name] for name, index in self.graph.leaves("parameter").items()}
        with np.errstate(over="ignore"):
            self._call("prepare", shared)
            prepared = Prepared(shared)
            if lasting and self._has_table:
                prepared.table = self._table(prepared)
        return prepared

    def run(
        self, prepared: Prepared, inputs: Mapping[str, Array], states: Mapping[str, Array], *, backwards: bool = False
    ) -> Outcome:
        """Run chunk after chunk of time."""
        steps, batch = next(iter(inputs.values())).shape[:2]
        size = max(1, CHUNK * 256 // (max(self._width, 256) * max(batch, 1)))
        starts = list(range(0, steps, size))
        states = dict(states)
        outputs: dict[str, Array] = {}
        totals: dict[int, Array] = {}
        with np.errstate(over="ignore"):  # exp(-x) = inf gives sigmoid its limit
            for start in reversed(starts) if backwards else starts:
                part = slice(start, min(start + size, steps))
                rows = {name: x[part] for name, x in inputs.items()}
                values = self._chunk(prepared, rows, states, backwards)
                self._collect(outputs, values, part, steps, batch)
                for index in self._totals:
                    totals[index] = totals[index] + values[index] if index in totals else values[index]
            sums = self._finish(prepared, totals)
        for name, index in self.graph.named("output").items():
            if name not in outputs:  # no step at all
                outputs[name] = np.zeros((steps, batch, *self.graph.nodes[index].shape), self.dtype)
        return Outcome(outputs, states, sums)

    def _chunk(
        self, prepared: Prepared, inputs: Mapping[str, Array], states: dict[str, Array], backwards: bool
    ) -> dict[int, Array]:
        """All phases over one chunk; changes `states` to those after it; returns values by node, rows flat."""
        steps, batch = next(iter(inputs.values())).shape[:2]
        values = dict(prepared.shared)
        for index in self._brought:
            name = self.graph.nodes[index].name
            values[index] = inputs[name].reshape(steps * batch, *inputs[name].shape[2:])
        if self._has_table and not prepared.table and steps * batch >= self._vocabulary:
            prepared.table = self._table(prepared)
        if prepared.table:
            token = values[next(iter(self.graph.leaves("token").values()))]
            values.update({index: table[token] for index, table in prepared.table.items()})
        else:
            self._call("before", values)
        if self.plan.recurrent:
            self._loop(values, states, (steps, batch), backwards)
        self._call("after", values)
        return values

    def _loop(self, values: dict[int, Array], states: dict[str, Array], axes: tuple[int, int], backwards: bool) -> None:
        leaves = self.graph.leaves("state")
        arguments = []
        for index in self.plan.needs("loop"):
            if self.graph.nodes[index].gate != "state":
                value = values[index]
                arguments.append(value if self.plan.shared[index] else value.reshape(*axes, *value.shape[1:]))
        order = range(axes[0])[:: -1 if backwards else 1]
        kept, last = self._phase["loop"](order, *arguments, *(states[name] for name in leaves))
        for index, value in zip((*self.plan.gives("loop"), *self.plan.kept_states), kept, strict=True):
            values[index] = value.reshape(axes[0] * axes[1], *value.shape[2:])
        states.update(zip(leaves, last, strict=True))

    def _call(self, phase: str, values: dict[int, Array]) -> None:
        if phase in self._phase:
            given = self._phase[phase](*(values[index] for index in self.plan.needs(phase)))
            values.update(zip(self.plan.gives(phase), given, strict=True))

    def _collect(self, outputs: dict[str, Array], values: dict[int, Array], part: slice, steps: int, batch: int) -> None:
        for name, index in self.graph.named("output").items():
            shape = self.graph.nodes[index].shape
            value = self._constant(index) if self.graph.nodes[index].gate == "constant" else values[index]
            if not self.plan.shared[index]:
                value = value.reshape(part.stop - part.start, batch, *shape)
            if part.stop - part.start == steps and not self.plan.shared[index] and self._is_fresh(value, values):
                outputs[name] = value
                continue
            if name not in outputs:
                outputs[name] = np.empty((steps, batch, *shape), self.dtype)
            outputs[name][part] = value

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

    def _table(self, prepared: Prepared) -> dict[int, Array]:
        values = dict(prepared.shared)
        values[next(iter(self.graph.leaves("token").values()))] = np.arange(self._vocabulary)
        self._call("before", values)
        return {index: values[index] for index in self.plan.gives("before")}
