"""The NumPy target: a plan as readable Python source, one function for each phase.

Inside a phase every value has a leading axis of rows, the examples (in the loop) or all steps of all examples (before and
after it); parameters have none. A vector operation therefore works on the last axis, whatever stands before it.
"""

import builtins
import keyword
import unicodedata
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from elman.gates import Array
from elman.graph import LEAVES, Node
from elman.passes import Plan
from elman.passes.schedule import SUMMED
from elman.targets import numpy_words
from elman.targets.interface import Outcome, Prepared
from elman.targets.numpy_words import Word

CHUNK = 4096
"""Rows (steps times examples) of a chunk of time: 4 MB of float32 at 256 values a row, so the hoisted part is still in
the second or third cache when the loop reads it, and memory does not grow with the length of the sequence."""


class NumpyProgram:
    """A plan as Python source, and its driver over chunks of time."""

    def __init__(self, plan: Plan, dtype: Any) -> None:
        self.plan, self.graph, self.dtype = plan, plan.graph, np.dtype(dtype)
        self._constants = {
            f"constant_{i}": np.asarray(node.settings["value"], self.dtype)
            for i, node in enumerate(self.graph.nodes)
            if node.gate == "constant" and node.shape
        }
        self.source = _Emitter(plan, self.dtype).module()
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
        size = max(1, CHUNK // max(batch, 1))
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


class _Emitter:
    """Writes the source of a plan."""

    def __init__(self, plan: Plan, dtype: np.dtype[Any]) -> None:
        self.plan, self.graph, self.dtype = plan, plan.graph, dtype
        self.names = _names(plan)

    def module(self) -> str:
        """The whole source."""
        plan, parts = self.plan, [_HEADER.format(name=self.graph.name, dtype=self.dtype)]
        for phase, text in (("prepare", "once for a set of parameters"), ("before", "all steps at once")):
            if plan.nodes(phase) and plan.gives(phase):
                parts.append(self.flat(phase, text))
        if plan.recurrent:
            parts.append(self.loop())
        for phase, text in (("after", "all steps at once"), ("finish", "once, at the end")):
            if plan.nodes(phase):
                parts.append(self.flat(phase, text))
        return "\n\n".join(parts)

    def flat(self, phase: str, text: str) -> str:
        """A phase without a loop."""
        plan = self.plan
        arguments = ", ".join(self.names[i] for i in plan.needs(phase))
        lines = [f"def {phase}({arguments}):", f'    """{text[0].upper()}{text[1:]}."""']
        lines += self.statements(phase, dict.fromkeys(plan.needs(phase), ""), "    ")
        lines.append(f"    return ({''.join(self.names[i] + ', ' for i in plan.gives(phase))})")
        return "\n".join(lines)

    def loop(self) -> str:
        """The phase in which the states are carried."""
        plan, graph = self.plan, self.graph
        states = graph.leaves("state")
        brought = [i for i in plan.needs("loop") if graph.nodes[i].gate != "state"]
        carried = [self.names[i] for i in states.values()]
        lines = [f"def loop(order, {', '.join([self.names[i] for i in brought] + carried)}):"]
        lines.append('    """Step after step."""')
        for index in (*plan.gives("loop"), *plan.kept_states):
            shape = "".join(f", {int(size)}" for size in graph.nodes[index].shape)
            lines.append(f"    {self.names[index]}_all = np.empty((len(order), len({carried[0]}){shape}), np.{self.dtype})")
        body = [f"        {self.names[i]}_all[t] = {self.names[i]}" for i in plan.kept_states]
        body += self.statements("loop", {i: "" if plan.shared[i] else "[t]" for i in brought}, "        ")
        body += [f"        {self.names[i]}_all[t] = {self.names[i]}" for i in plan.gives("loop")]
        new = graph.named("state")
        following = [self.next_state(name, new[name], brought) for name in states]
        moved = [(c, f) for c, f in zip(carried, following, strict=True) if c != f]
        if moved:
            body.append(f"        {', '.join(c for c, _ in moved)} = {', '.join(f for _, f in moved)}")
        lines += ["    for t in order:", *body] if body else []
        kept = "".join(f"{self.names[i]}_all, " for i in (*plan.gives("loop"), *plan.kept_states))
        lines.append(f"    return ({kept}), ({', '.join(carried)},)")
        return "\n".join(lines)

    def next_state(self, name: str, index: int, brought: list[int]) -> str:
        """What the state becomes: a value of this step, or one that stood before the loop."""
        node, text = self.graph.nodes[index], self.names[index]
        if node.gate == "constant" or self.plan.shared[index]:
            value = self.constant(index) if node.gate == "constant" else text
            return f"np.broadcast_to({value}, {self.names[self.graph.leaves('state')[name]]}.shape)"
        return f"{text}[t]" if index in brought else text

    def statements(self, phase: str, outside: dict[int, str], indent: str) -> list[str]:
        """One line for each value that has a name or is used more than once; the rest stands inside."""
        nodes, lines = self.graph.nodes, []
        texts = {index: Word(self.names[index] + suffix) for index, suffix in outside.items()}
        for index in self.graph.leaves("state").values():
            texts.setdefault(index, Word(self.names[index]))
        named = set(self.plan.gives(phase)) | set(self.graph.named("state").values())
        for index in self.plan.nodes(phase):
            node = nodes[index]
            word = self.word(index, texts)
            if index in named or len(self.graph.uses[index]) > 1 or node.name:
                lines.append(f"{indent}{self.names[index]} = {word.text}")
                word = Word(self.names[index])
            texts[index] = word
        return lines

    def word(self, index: int, texts: Mapping[int, Word]) -> Word:
        """A gate in the words of NumPy."""
        node = self.graph.nodes[index]
        if node.gate == "total" and self.is_fused(node.inputs[0]) and self.graph.nodes[node.inputs[0]].gate in SUMMED:
            inner = self.graph.nodes[node.inputs[0]]
            return numpy_words.TOTALS[inner.gate]([self.operand(inner, i, False, texts) for i in inner.inputs], inner)
        solid = any(self.is_solid(i) for i in node.inputs)
        operands = [self.operand(node, i, solid, texts) for i in node.inputs]
        shared = [self.plan.shared[i] for i in node.inputs]
        return numpy_words.WORDS[node.gate](
            operands, node, shared, [self.graph.nodes[i].shape for i in node.inputs], self.dtype
        )

    def is_fused(self, index: int) -> bool:
        """Whether a value is made inside the gate that uses it."""
        return not self.plan.phases[index] and self.graph.nodes[index].gate not in LEAVES

    def is_solid(self, index: int) -> bool:
        """Whether an array of the full shape stands for the value, so that a number beside it may stay narrow."""
        node = self.graph.nodes[index]
        return node.gate != "expand" and bool(node.shape)

    def operand(self, node: Node, index: int, solid: bool, texts: Mapping[int, Word]) -> Word:
        """An input as it is written in the word of a gate."""
        source = self.graph.nodes[index]
        if source.gate == "constant":
            return Word(self.constant(index), 9 if source.shape or source.settings["value"] >= 0 else 3, not source.shape)
        if source.gate != "expand" or index in texts:
            return texts[index]
        number = source.inputs[0]
        text = self.operand(source, number, False, texts)
        shape = tuple(int(size) for size in source.shape)
        if numpy_words.is_elementwise(node.gate) and solid:
            narrow = "" if self.plan.shared[number] else "[..., " + ", ".join(["None"] * len(shape)) + "]"
            return Word(text.tight(9) + narrow) if narrow else text
        return Word(f"broadcast({text.text}, {shape}, np.{self.dtype})")

    def constant(self, index: int) -> str:
        """A number as itself, an array by the name under which the module holds it."""
        node = self.graph.nodes[index]
        if node.shape:
            return f"constant_{index}"
        value = node.settings["value"]
        return repr(value) if np.isfinite(value) else ("np.inf" if value > 0 else "-np.inf")


_HEADER = '''"""{name}: emitted by elman for NumPy, {dtype}. Rows come first: [rows, ...]."""

import numpy as np

from elman.targets.numpy_words import *'''


def _names(plan: Plan) -> list[str]:
    """A variable for every node, none of them twice and none that the module needs itself."""
    taken = {
        "np",
        "t",
        "order",
        *numpy_words.__all__,
        *dir(builtins),
        *keyword.kwlist,
        "prepare",
        "before",
        "loop",
        "after",
        "finish",
    }
    names = []
    for index, node in enumerate(plan.graph.nodes):
        wanted = unicodedata.normalize("NFKC", node.name) or f"v{index}"
        if node.gate not in LEAVES and node.name in plan.graph.leaves("state"):
            wanted += "_next"
        while (
            wanted in taken
            or (wanted.endswith("_all") and wanted[:-4] in taken)
            or wanted + "_all" in taken
            or wanted.startswith("constant_")
        ):
            wanted = "_" + wanted if wanted.startswith("constant_") else wanted + "_"
        taken |= {wanted, wanted + "_all"}
        names.append(wanted)
    return names
