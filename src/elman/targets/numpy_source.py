"""The source of a plan: one function for each phase, one line for each value that has a name or more than one use."""

import builtins
import keyword
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.nodes import LEAVES, Node
from elman.passes import Plan
from elman.passes.schedule import SUMMED
from elman.targets import numpy_words
from elman.targets.few_rows import is_large
from elman.targets.numpy_words import Word

ENDINGS = ("_all", "_panels")
"""Of variables that stand for a value at every step, and for a matrix laid out in panels."""

LONG = 90
"""Characters from which an expression gets a line of its own: for readers, and because Python nests brackets 200 deep."""


def large_matrices(plan: Plan) -> list[int]:
    """Matrices that the loop is given as panels too."""
    return [i for i in plan.recurrent_matrices if is_large(plan.graph.nodes[i].shape)]


class Emitter:
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
        given = [self.names[i] for i in brought]
        given += [f"{self.names[i]}_all" for i in (*plan.gives("loop"), *plan.kept_states)]
        given += [f"{self.names[i]}_panels" for i in large_matrices(plan)]
        lines = [f"def loop({', '.join(['order', *given, *carried])}):"]
        lines.append('    """Step after step; fills what ends in _all."""')
        body = [f"        {self.names[i]}_all[t] = {self.names[i]}" for i in plan.kept_states]
        body += self.statements("loop", {i: "" if plan.shared[i] else "[t]" for i in brought}, "        ")
        body += [f"        {self.names[i]}_all[t] = {self.names[i]}" for i in plan.gives("loop")]
        new = graph.named("state")
        following = [self.next_state(name, new[name], brought) for name in states]
        moved = [(c, f) for c, f in zip(carried, following, strict=True) if c != f]
        if moved:
            body.append(f"        {', '.join(c for c, _ in moved)} = {', '.join(f for _, f in moved)}")
        lines += ["    for t in order:", *body] if body else []
        lines.append(f"    return ({', '.join(carried)},)")
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
            if index in named or len(self.graph.uses[index]) > 1 or node.name or len(word.text) > LONG:
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
        shared, shapes = [self.plan.shared[i] for i in node.inputs], [self.graph.nodes[i].shape for i in node.inputs]
        if node.gate == "product" and self.plan.phases[index] == "loop" and node.inputs[0] in large_matrices(self.plan):
            return Word(f"product({operands[1].text}, {operands[0].text}, {operands[0].text}_panels)")
        return numpy_words.WORDS[node.gate](operands, node, shared, shapes, self.dtype)

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
            wanted.startswith("constant_")
            or taken & {wanted, *(wanted + ending for ending in ENDINGS)}
            or any(wanted.endswith(ending) and wanted.removesuffix(ending) in taken for ending in ENDINGS)
        ):
            wanted = "_" + wanted if wanted.startswith("constant_") else wanted + "_"
        taken |= {wanted, *(wanted + ending for ending in ENDINGS)}
        names.append(wanted)
    return names
