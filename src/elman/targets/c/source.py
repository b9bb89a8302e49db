"""A header and a source of C99 for plans one behind another: their states in one struct, `reset`, `step`, a self-test."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from elman.gates import Array
from elman.passes import Plan
from elman.shapes import Shape, written
from elman.targets.c.function import File, Function
from elman.targets.c.helpers import HELPERS
from elman.targets.c.lines import braced, comment, in_comment, size
from elman.targets.c.names import Names
from elman.targets.c.numbers import Real
from elman.targets.c.recorded import Recorded

WITHIN = ("x", "y", "state", "i", "inputs", "outputs")
"""Names that `step` and the test have for something; a function or an array of the file has another."""


@dataclass(frozen=True)
class Call:
    """A plan that reads what another gave: its name, its parameters, its first state, and outputs that are added to its own.

    Outputs are counted from 1, in the order of the calls; 0 is the input of the program.
    """

    name: str
    plan: Plan
    parameters: Mapping[str, Array]
    initial: Mapping[str, Array]
    reads: int
    adds: list[int]

    @property
    def gives(self) -> Shape:
        """The shape of its output."""
        [index] = self.plan.graph.named("output").values()
        return self.plan.graph.nodes[index].shape


class Program:
    """Writes calls as one program, whose public names begin with a prefix."""

    def __init__(self, prefix: str, title: str, calls: Sequence[Call], recorded: Recorded) -> None:
        self.prefix, self.title, self.calls, self.recorded = prefix, title, calls, recorded
        self.real, names = Real(recorded.outputs.dtype), Names(avoid=WITHIN)
        public = [f"{prefix}_{ending}" for ending in ("state", "reset", "step")]
        macros = [f"{prefix.upper()}_{ending}" for ending in ("INPUT", "OUTPUT", "TEST", "H")]
        for name in (*HELPERS, *public, *macros):
            names.claim(name)
        self.file = File(self.real, names)
        self.functions: list[Function] = []
        self.structs: list[str] = []
        for call in calls:
            name = names.claim(call.name)
            self.structs.append(names.claim(f"{prefix}_{name}"))
            self.functions.append(Function(call.plan, call.parameters, self.file, name, f"struct {self.structs[-1]}"))
        self.reset, self.step = self._reset(), self._step()  # which may need helpers, and numbers

    def header(self) -> str:
        """What a caller includes."""
        upper, tokens = self.prefix.upper(), self._tokens
        what = f"the token x, from 0 to {upper}_INPUT - 1" if tokens else f"x, {upper}_INPUT values"
        apart = "" if tokens else ", which is no part of x"
        return f"""{self._about()}
#ifndef {upper}_H
#define {upper}_H

#define {upper}_INPUT {self._reads} /* {"tokens that there are" if tokens else "values that a step reads"} */
#define {upper}_OUTPUT {self._gives} /* values that a step gives */

#ifdef __cplusplus
extern "C" {{
#endif

{self._structs()}

/* Begin a sequence: the state before its first step. A state may be copied, and gone on from later. */
{self._signature("reset")};

/*
 * One step: reads {what};
 * writes y, {upper}_OUTPUT values{apart};
 * and the state goes on.
 */
{self._signature("step")};

#ifdef __cplusplus
}}
#endif

#endif
"""

    def source(self) -> str:
        """Numbers, functions, and the test."""
        used = [text for name, text in HELPERS.items() if name in self.file.helpers]
        helpers = [text.format(real=self.real.name, f=self.real.ending) for text in used]
        head = f'{self._about()}\n#include "{self.prefix}.h"\n\n#include <math.h>'
        test = self.recorded.test(self.prefix, self.real)
        functions = [made.text for made in self.functions]
        return "\n\n".join([head, *self.file.data, *helpers, *functions, self.reset, self.step, test]) + "\n"

    # --- facts --------------------------------------------------------------------------------------------------------

    @property
    def _tokens(self) -> bool:
        return self.functions[0].tokens

    @property
    def _reads(self) -> int:
        """Values that a step reads; of tokens, how many there are."""
        graph = self.calls[0].plan.graph
        [index] = graph.leaves("token" if self._tokens else "input").values()
        node = graph.nodes[index]
        return int(node.settings["size"]) if self._tokens else size(node.shape)

    @property
    def _gives(self) -> int:
        return size(self.calls[-1].gives)

    def _states(self, position: int) -> dict[str, Shape]:
        """The states of a call, by the names of the struct's members."""
        graph, members = self.calls[position].plan.graph, self.functions[position].members
        return {members[name]: graph.nodes[index].shape for name, index in graph.leaves("state").items()}

    def _signature(self, function: str) -> str:
        state = f"{self.prefix}_state *state"
        if function == "reset":
            return f"void {self.prefix}_reset({state})"
        x = "int x" if self._tokens else f"const {self.real.name} *x"
        return f"void {self.prefix}_step({x}, {state}, {self.real.name} *y)"

    def _about(self) -> str:
        """What the files are: sizes, bytes, how they are compiled."""
        name, each = self.prefix, self.real.dtype.itemsize
        between = each * sum(size(call.gives) for call in self.calls[:-1])
        stack = between + max(made.stack for made in self.functions)
        state = each * sum(size(s) for position in range(len(self.calls)) for s in self._states(position).values())
        reads = f"one of {self._reads:,} tokens" if self._tokens else f"{self._reads:,} values"
        lines = [
            *textwrap.wrap(f"{name}: {in_comment(self.title)}; written by elman", 100),
            "",
            f"a step reads {reads} and gives {self._gives:,} values, of type {self.real.name}",
            f"weights {self.file.bytes:,} bytes, state {state:,} bytes, variables of a step {stack:,} bytes",
            "",
            f"compile: cc -std=c99 -O2 -c {name}.c, and link with -lm",
            f"test:    cc -std=c99 -D{name.upper()}_TEST {name}.c -o {name}_test -lm && ./{name}_test",
        ]
        return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])

    # --- parts --------------------------------------------------------------------------------------------------------

    def _structs(self) -> str:
        """A struct for the states of every call, and the one that holds them."""
        parts, held = [], []
        for position, struct in enumerate(self.structs):
            states = self._states(position)
            if states:
                members = [f"    {self.real.name} {name}[{size(s)}]; {comment(written(s))}" for name, s in states.items()]
                parts.append("\n".join([f"struct {struct} {{", *members, "};"]))
                held.append(f"    struct {struct} {self.functions[position].name};")
        held = held or ["    char nothing; /* a struct has a member */"]
        return "\n\n".join([*parts, "\n".join(["typedef struct {", *held, f"}} {self.prefix}_state;"])])

    def _reset(self) -> str:
        lines = []
        for call, made in zip(self.calls, self.functions, strict=True):
            for name, member in made.members.items():
                value, to = np.asarray(call.initial[name], self.real.dtype), f"state->{made.name}.{member}"
                if value.any():
                    held = self.file.names.claim(f"{made.name}_{name}0")
                    self.file.constant(held, value, f"{member} before the first step {written(value.shape)}")
                    lines.append(f"{self._helper('copy')}({to}, {held}, {value.size});")
                else:
                    lines.append(f"{self._helper('zero')}({to}, {value.size});")
        return braced(self._signature("reset"), lines or ["state->nothing = 0;"])

    def _step(self) -> str:
        lines, outputs = [], ["x"]
        for call, made in zip(self.calls, self.functions, strict=True):
            outputs.append("y" if call is self.calls[-1] else self.file.names.claim(f"from_{made.name}"))
            if outputs[-1] != "y":
                lines.append(f"{self.real.name} {outputs[-1]}[{size(call.gives)}];")
            given = [outputs[call.reads], *[f"&state->{made.name}"] * bool(made.members), outputs[-1]]
            lines.append(f"{made.name}({', '.join(given)});")
            for added in call.adds:
                head = f"for (int i = 0; i < {size(call.gives)}; ++i) {{ /* residual */"
                lines += [head, f"    {outputs[-1]}[i] += {outputs[added]}[i];", "}"]
        lines += [] if any(made.members for made in self.functions) else ["(void)state;"]
        return braced(self._signature("step"), lines)

    def _helper(self, name: str) -> str:
        self.file.helpers.add(name)
        return name
