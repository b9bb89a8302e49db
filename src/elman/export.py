"""Out of the library: a model as a program of C99 that needs nothing else."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import DataError, SettingError
from elman.gates import Array
from elman.io.atomic import check_writable, replacing
from elman.layer import Layer
from elman.model import Model
from elman.passes import lower, schedule
from elman.pooled import POOL, Pooled
from elman.rnn import RNN
from elman.stack import Stack
from elman.targets.c.names import KEYWORDS
from elman.targets.c.recorded import Recorded
from elman.targets.c.source import Call, Program

STEPS = 8
"""Steps that the self-test runs."""

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
"""How far its outputs may lie from the library's, relative to the largest (at least 1): sums go in another order."""

RESERVED = frozenset((*KEYWORDS.split(), "math", "stdio"))
"""Words of C and C++, and the headers that a program includes."""


@dataclass(frozen=True)
class CProgram:
    """A header and a source of C99, called `name.h` and `name.c`."""

    name: str
    header: str
    source: str

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write both to a folder, each atomically; returns where. Raises `ModelFileError` where that cannot be done."""
        paths = self.paths(folder)
        for path in paths:
            check_writable(path)
        for path, text in zip(paths, (self.header, self.source), strict=True):
            with replacing(path) as file:
                file.write(text.encode())
        return paths

    def paths(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Where `save` writes them."""
        return Path(folder) / f"{self.name}.h", Path(folder) / f"{self.name}.c"


def to_c(model: Model | Layer, *, name: str = "model", tokens: bool = False) -> CProgram:
    """A model, or layers, as a program of C99 without memory of its own, and without a library but math.h.

    It has `name_reset(state)` and `name_step(x, state, y)`, which gives what a push to a stream gives, and under
    `#ifdef NAME_TEST` a `main` that compares with steps which this library has run. `tokens` says that layers without a
    read-out read tokens; a model knows what it reads. Raises `SettingError` for a name that C cannot have, and for a
    direction that reads from the end of a sequence; `DataError` where the outputs are not finite.

    >>> import elman
    >>> program = to_c(elman.RNN(elman.cells.mgu, input=3, hidden=5), name="net")
    >>> function = program.source[program.source.index("static void mgu") : program.source.index("void net_reset")]
    >>> print(function.partition("/* v")[0].rstrip())
    static void mgu(const float *x, struct net_mgu *state, float *h)
    {
        /* f = sigmoid(bf + wf @ x + uf @ h<t-1>) (hidden=5) */
        float f[5];
        for (int row = 0; row < 5; ++row) {
            f[row] = sigmoid(mgu_bf[row] + dot(mgu_wf + 3 * row, x, 3) + dot(mgu_uf + 5 * row, state->h, 5));
        }
    """
    if not isinstance(model, Model | Layer):
        raise SettingError(f"to_c: {model!r} is neither a model nor a layer; open one with elman.load")
    _check_name(name)
    layers, reads = (model.rnn, model.reads_tokens) if isinstance(model, Model) else (model, bool(tokens))
    if layers._reads_from_end:
        alone = "a program of C takes step after step"
        raise SettingError(f"to_c: {layers.name}: {alone}; a direction reads from the end of a sequence")
    calls: list[Call] = []
    _add(calls, layers, layers._initial(1), 0, reads, "")
    if isinstance(model, Model):
        calls.append(_call(model.readout, {}, len(calls), False, model.readout.name))
    program = Program(name, repr(model), calls, _recorded(model, reads))
    return CProgram(name, program.header(), program.source())


def c_name(text: str) -> str:
    """A name that `to_c` takes, from any text, such as that of a file.

    >>> c_name("my-net"), c_name("2nd"), c_name("int")
    ('my_net', 'model_2nd', 'model_int')
    """
    made = re.sub("[^A-Za-z0-9_]+", "_", text)
    return made if _is_name(made) else f"model_{made.strip('_')}".rstrip("_")


# --- inside -----------------------------------------------------------------------------------------------------------


def _is_name(text: str) -> bool:
    return bool(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", text)) and text not in RESERVED


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name in RESERVED:
        raise SettingError(f"to_c: name={name!r} is a word of C, or a header of its library; take {c_name(name)}")
    if not isinstance(name, str) or not _is_name(name):
        raise SettingError(f"to_c: name={name!r} cannot begin the names of a program of C; letters, digits and _ can")


def _add(calls: list[Call], layer: Layer, initial: Mapping[str, Any], reads: int, tokens: bool, place: str) -> None:
    """Append what a layer computes, from an output of those before it: its last call gives its output."""
    match layer:
        case RNN():
            calls.append(_call(layer, initial, reads, tokens, layer.name + place))
        case Stack():
            for position, (name, part) in enumerate(layer.parts.items()):
                _add(calls, part, initial[name], reads, tokens and not position, f"{place}_{name}")
                if layer.residual and position:
                    calls[-1].adds.append(reads)
                reads = len(calls)
        case Pooled():
            _add(calls, layer.layer, {n: s for n, s in initial.items() if n != POOL}, reads, tokens, place)
            calls.append(_call(layer._pool, initial[POOL], len(calls), False, POOL + place))
        case _:
            raise SettingError(f"to_c: {layer.name}: a layer of {type(layer).__name__} cannot be written in C")


def _call(rnn: RNN, initial: Mapping[str, Array], reads: int, tokens: bool, name: str) -> Call:
    """A cell with its parameters; products are not merged, so that its lines are those of its equations."""
    plan = schedule(lower(rnn.graph, tokens=tokens, merging=False), rnn.dtype.itemsize)
    return Call(name, plan, rnn.parameters, {state: value[0] for state, value in initial.items()}, reads, [])


def _recorded(model: Model | Layer, tokens: bool) -> Recorded:
    """Some steps of the library, to compare with. Raises `DataError` where a value that is not finite leaves nothing to."""
    rng, layers = np.random.default_rng(0), model.rnn if isinstance(model, Model) else model
    if tokens:
        inputs = rng.integers(int(layers.input_shape[0]), size=STEPS)
    else:
        inputs = rng.standard_normal((STEPS, *layers.input_shape)).astype(layers.dtype)
    with np.errstate(all="ignore"):  # what it comes to is looked at below
        outputs = model.stream().push(inputs)
    if not np.isfinite(outputs).all():
        raise DataError(f"to_c: {model.name}: outputs for random inputs are not finite, so its test has nothing to compare")
    return Recorded(inputs, outputs, TOLERANCE[layers.dtype.name])
