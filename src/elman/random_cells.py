"""Random cells: equations that nobody chose, over all gates."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from elman import declare, gates, trace
from elman.trace import Cell, cell

VECTORS = """
    {nm1} @ {m1}; {nm1} @ {m1} + {nm2} @ {m1}; {nm1} @ {m1} + {nn1} @ {n1} + {n2}; {m1} @ {mn1}; transpose({mn1}) @ {m1};
    {n1} + {n2} + {n3}; {n1} - {n2}; {n1} - ({n2} - {n3}); {n1} + {k1}; 1 - {n1}; {k1} - {n1}; -{n1}; {n1} / 3;
    {n1} * tanh({n2}); sigmoid({n1}) * {n2} + (1 - sigmoid({n1})) * {n3}; {k1} * {n1}; {n1} * {n1} / 4;
    ({n1} + {n2}) ** 2 / 9; {n1} / (1.5 + {n2} * {n2}); 2.0 / (2.0 + exp(minimum({n1}, 2.0))); {n1} / (1 + sum({m1} * {m1}));
    tanh({n1}); sigmoid({n1}); relu({n1}); softplus({n1}); softmax({n1}); log_softmax({n1}); sin({n1}); cos({n1});
    absolute({n1}); exp(-softplus({n1})); exp(minimum({n1}, {k1})); log(1.5 + absolute({n1})); sqrt(0.5 + {n1} * {n1});
    maximum({n1}, {n2}); maximum({n1}, 0.1); minimum({n1}, {n2}); greater({n1}, {n2}) * {n3};
    where(greater({n1}, {n2}), {n2}, {n3}); where(greater({n1}, 0.1), {n2}, 0.5); where(greater({k1}, {k2}), {n1}, {n2});
    where(greater({n1}, 0.1), 1.0, -0.5); concatenate([{n1}, {m1}, {n2}])[:len({n1})]; concatenate({m1}, {n1})[len({m1}):];
    concatenate({n1}, {n2})[1:len({n1}) + 1];
    split({dm1} @ {m1}, 2)[1]; split({dm1} @ {m1}, 2)[0] + {n1}; split(concatenate({n1}, tanh({n2})), 2)[1];
    split(concatenate({nm1}, {nm2}) @ {m1}, 2)[0]; outer({n1}, {m1}) @ {m2}; ({nm1} + outer({n1}, {m1})) @ {m2};
    transpose(outer({m1}, {n1})) @ {m2}; {n1} * np.linspace(-1.0, 1.0, len({n1})); np.tanh({n1}) + np.ones(len({n1}))
"""
"""Forms of a vector of size n: `{m1}` is a vector of any size m, `{nm1}` a matrix, `{k1}` a number, `{dm1}` of 2 n rows."""
NUMBERS = """mean({n1}); {n1}[0]; {n1}[-1] * {k1}; {n1} @ {n2} / len({n1}); sum(softmax({n1}) * {n2}); tanh(sum({nm1}));
    sigmoid({k1}); mean(outer({n1}, {m1})); maximum({k1}, {k2})"""
MATRICES = """{nm1} / 2 + outer({n1}, {m1}) / 3; tanh({nm1}); {nm1} * sigmoid({k1});
    {nm1} - outer({nm1} @ {m1}, softmax({m1})); transpose({mn1}) + {nm1} / 3; maximum({nm1}, outer({n1}, {m1}));
    concatenate({nm1}, {nm2})[:len({n1})]"""
NEXT = "tanh({n1}); tanh({n1} + {n2}); {n1} / 2; sigmoid({n1}) * tanh({n2}); {n1} / 2 + tanh({n2}); tanh({ni1} @ x)"

Sizes = tuple[str | int, ...]


def random_cell(seed: int) -> Cell:
    """A cell of random equations over all gates: up to three states of any size, values used often or not at all.

    Its docstring is its source. Values stay moderate; one seed gives one cell.

    >>> random_cell(20)
    <cell random_20>
    """
    writer, name = _Writer(np.random.default_rng(seed)), f"random_{seed}"
    source = writer.source(name)
    words = {n: f for module in (declare, gates, trace) for n, f in vars(module).items() if callable(f) and n.islower()}
    space: dict[str, Any] = {**words, "np": np}
    exec(source, space)  # its own text, of the forms above
    space[name].__doc__ = source
    return cell(space[name])


class _Writer:
    """Writes equations line by line; each picks a form, and its operands from what stands above it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.parameters, self.lines = rng, dict[str, str](), list[str]()
        self.values: dict[Sizes, list[str]] = {("input",): ["x"]}

    def source(self, name: str) -> str:
        """The whole function."""
        kinds: list[Sizes] = [("hidden",), ("memory",), ("hidden",), (3,), ("hidden", "memory")]
        states = {letter: self.one_of(kinds) for letter in "hcm"[: self.rng.integers(4)]}
        for state, shape in states.items():
            self.values.setdefault(shape, []).append(state)
        shapes = [self.one_of([*kinds[:4], (), *states.values()]) for _ in range(self.rng.integers(2, 9))]
        for k, shape in enumerate(shapes):
            self.line(f"v{k}", shape, (NUMBERS, VECTORS, MATRICES)[len(shape)])
        results = [self.following(state, shape) for state, shape in states.items()]
        if not states or self.rng.random() < 0.6:
            results.insert(0, self.one_of([self.output(shapes), self.output(shapes), self.operand(self.one_of(shapes))]))
        declared = ["x=state('input')", *(f"{s}=state({', '.join(map(repr, shape))})" for s, shape in states.items())]
        declared += ["*"] * bool(self.parameters) + [f"{p}={text}" for p, text in self.parameters.items()]
        body = [*self.lines, f"return {', '.join(results)}"]
        return "\n    ".join([f"def {name}({', '.join(declared)}):", *body])

    def one_of(self, options: Sequence[Any]) -> Any:
        """Any of them."""
        return options[int(self.rng.integers(len(options)))]

    def line(self, name: str, shape: Sizes, forms: str) -> None:
        """Write `name = form`, its letters standing for the sizes of this shape and one other."""
        form = self.one_of(forms.split(";")).strip()
        n = shape[0] if shape else self.one_of(["input", "hidden", "memory"])
        m = shape[1] if len(shape) == 2 else self.one_of(["input", "hidden", "memory", 3])
        letters = {"n": (n,), "m": (m,), "k": (), "i": ("input",), "d": (f"2*{n}" if isinstance(n, str) else 2 * n,)}
        fields = dict.fromkeys(re.findall(r"{(\w+)}", form))
        operands = {field: self.operand(tuple(size for c in field[:-1] for size in letters[c])) for field in fields}
        self.lines.append(f"{name} = {form.format(**operands)}")
        self.values.setdefault(shape, []).append(name)

    def operand(self, shape: Sizes) -> str:
        """A value of a shape that is there already, rather a late one; or a new parameter, or a number."""
        known = self.values.setdefault(shape, [])
        if known and self.rng.random() < 0.8:
            return known[-1 - min(int(self.rng.exponential(1.5)), len(known) - 1)]
        if not shape:
            return f"{self.rng.uniform(-1, 1):.2f}"
        name = f"{'bw'[len(shape) - 1]}{len(self.parameters)}"
        self.parameters[name] = f"{('bias', 'weight')[len(shape) - 1]}({', '.join(map(repr, shape))})"
        known.append(name)
        return name

    def following(self, state: str, shape: Sizes) -> str:
        """The new state: an equation, the state as it is, or a value or parameter."""
        if self.rng.random() < 0.15:
            return str(self.one_of([state, self.operand(shape)]))
        name = str(self.one_of([state, f"{state}_new"]))
        self.line(name, shape, NEXT if len(shape) == 1 else MATRICES)
        return name

    def output(self, shapes: Sequence[Sizes]) -> str:
        """A sum of half of the values, so that gradients reach them."""
        used = [(f"v{k}", shape) for k, shape in enumerate(shapes) if self.rng.random() < 0.5]
        terms = [self.operand(("hidden",)), *(v if shape in ((), ("hidden",)) else f"mean({v})" for v, shape in used)]
        return " + ".join(terms)
