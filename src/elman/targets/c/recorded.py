"""Steps that were recorded: the test that a program of C brings with it."""

import textwrap
from dataclasses import dataclass

import numpy as np

from elman.gates import Array
from elman.targets.c.numbers import Real


@dataclass(frozen=True)
class Recorded:
    """Inputs `[T, I]` (or tokens `[T]`) and outputs `[T, ...]` from the first state on.

    `tolerance` is relative to the largest output, 1 at least.
    """

    inputs: Array
    outputs: Array
    tolerance: float

    def test(self, prefix: str, real: Real) -> str:
        """A main that returns 0 where a program gives the same."""
        steps = len(self.outputs)
        tokens = self.inputs.dtype.kind in "iu"
        return TEST.format(
            name=prefix,
            upper=prefix.upper(),
            real=real.name,
            f=real.ending,
            steps=steps,
            inputs=_tokens(self.inputs) if tokens else real.array("inputs", self.inputs.reshape(steps, -1)),
            outputs=real.array("outputs", self.outputs.reshape(steps, -1)),
            tolerance=real.literal(self.tolerance * max(1.0, float(np.absolute(self.outputs).max()))),
            x="inputs[t]" if tokens else f"inputs + {prefix.upper()}_INPUT * t",
        )


def _tokens(tokens: Array) -> str:
    text = textwrap.fill(", ".join(map(str, tokens.tolist())), 100, initial_indent="    ", subsequent_indent="    ")
    return f"static const int inputs[{len(tokens)}] = {{\n{text}\n}};"


TEST = """#ifdef {upper}_TEST /* {steps} steps that elman has run, twice: a reset begins anew */

#include <stdio.h>

{inputs}

{outputs}

int main(void)
{{
    const {real} tolerance = {tolerance};
    {name}_state state;
    {real} largest = 0, y[{upper}_OUTPUT];
    for (int round = 0; round < 2; ++round) {{
        {name}_reset(&state);
        for (int t = 0; t < {steps}; ++t) {{
            {name}_step({x}, &state, y);
            for (int i = 0; i < {upper}_OUTPUT; ++i) {{
                const {real} wanted = outputs[{upper}_OUTPUT * t + i];
                const {real} difference = fabs{f}(y[i] - wanted);
                if (!(difference <= tolerance)) {{
                    printf("{name}: step %d, value %d is %.9g, %.9g is wanted\\n", t, i, (double)y[i], (double)wanted);
                    return 1;
                }}
                largest = difference > largest ? difference : largest;
            }}
        }}
    }}
    printf("{name}: {steps} steps agree, the largest difference is %.2g\\n", (double)largest);
    return 0;
}}

#endif"""
