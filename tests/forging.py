"""What tests of model files share: opening whatever stands in a file, forging one, and seeing that nothing runs."""

import builtins
import copy
import json
import os
import resource
import subprocess
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import elman
from elman import RNN, bias, cell, cells, files, weight
from elman.errors import ModelFileError

SOURCE = str(Path(elman.__file__).parent.parent)
CODE = "__import__('os').system('touch canary')"
HUGE = 10**15


CUSTOM = '''
import numpy as np
import elman
from elman import bias, cell, concatenate, exp, relu, sigmoid, softmax, split, tanh, weight
from elman.declare import state


@cell
def peculiar(x, h, memory=state("hidden", "slots"), *, w=weight("2*hidden", "input"), u=weight("2*hidden", "hidden"),
             b=bias("2*hidden", init=0.5), keys=weight("slots", "hidden"), fixed=weight(3, "hidden"), scale=bias(1)):
    """A cell with a matrix for a state, numbers, slices, and an output that is no state."""
    gate, new = split(w @ x + u @ h + b, 2)
    gate = sigmoid(gate) * 0.9 + 0.05
    attention = softmax(keys @ tanh(new))
    read = memory @ attention
    written = memory * (1 - attention[0]) + elman.outer(new, attention) / 4
    h = gate * h + (1 - gate) * tanh(new + read) * exp(-relu(scale[0])) + np.array([0.25, -0.25, 0.0, 1.0])
    return concatenate(h, fixed @ h, written @ attention), h, written


@cell
def doubled(a=state("width"), *, wya=weight("output", "width"), by=bias("output")):
    return softmax((wya @ a + by) * 2)


def build(dtype):
    model = elman.Model(5, 4, 3, peculiar, readout=doubled, dtype=dtype, slots=3, width=11)
    rng = np.random.default_rng(1)
    model.update({name: rng.normal(size=p.shape) for name, p in model.parameters.items()})
    return model
'''


@cell
def colliding(x, h, *, wya=weight("hidden", "input"), by=weight("hidden", "hidden"), readout=bias("hidden")):
    """A cell whose parameters have the names of the read-out's."""
    return elman.tanh(wya @ x + by @ h + readout)


def rnn(which=cells.gru, inputs=3, hidden=3, **settings):
    return RNN(which, input=inputs, hidden=hidden, **settings)


def random(model, seed=0):
    rng = np.random.default_rng(seed)
    model.update({name: rng.normal(size=p.shape) for name, p in model.parameters.items()})
    return model


def messages(call):
    """The message of the error that a call raises, which is one line."""
    with pytest.raises(ModelFileError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def attempt(path, what="", load=elman.load):
    """The model in a file, or None where it is refused in one line; nothing else may come of opening it."""
    try:
        return load(path)
    except ModelFileError as error:
        message = str(error)
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert len(message.splitlines()) == 1, what
    assert len(message) < 3000, what
    return None


CANARY = "the canary"


@contextmanager
def nothing_runs(monkeypatch, limit=2 << 30):
    """No file is run, no command started, no module imported by name, and no more memory taken than a little."""
    ran = []
    monkeypatch.setattr(os, "system", lambda *a: ran.append(a))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: ran.append(a))
    monkeypatch.setattr(builtins, "breakpoint", lambda *a: ran.append(a))
    monkeypatch.setattr(elman, CANARY.replace(" ", "_"), lambda *a: ran.append(a), raising=False)
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc").exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (size + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        monkeypatch.undo()
    assert ran == []


def write(path, arrays, facts):
    path.write_bytes(save(dict(arrays), metadata={"elman": json.dumps(facts)}))


def tampered(good, *change):
    """The facts of the first file with one entry changed; the path to it, then its value."""
    arrays, facts = good[0]
    *path, value = change
    return arrays, changed(facts, path, value)


def changed(facts, path, value):
    """The same facts but for one entry."""
    facts = copy.deepcopy(facts)
    *before, last = path
    place = facts
    for key in before:
        place = place[key]
    place[last] = value
    return facts


def without(facts, path):
    """The same facts without one entry."""
    facts = copy.deepcopy(facts)
    *before, last = path
    place = facts
    for key in before:
        place = place[key]
    del place[last]
    return facts


def places(data, path=()):
    """The path to every entry of JSON data, those that hold others too."""
    if path:
        yield path
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def sequence(model, steps=3):
    """Something that a model reads."""
    if model.reads_tokens:
        return np.arange(steps) % model.word_dim
    return np.random.default_rng(0).normal(size=(steps, model.word_dim)).astype(model.rnn.dtype)


def source_and_targets(network):
    rng = np.random.default_rng(5)
    size = int(network.encoder.input_shape[0])
    x = rng.integers(size, size=(2, 5)) if size == 9 else rng.normal(size=(2, 5, size))
    given = network.decoder.word_dim
    return x, rng.integers(given, size=(2, 4)) if network.decoder.reads_tokens else rng.normal(size=(2, 4, given))


def runs_like_a_model(model, what):
    """A file that opens is a model: it runs, is differentiated, prints, and comes back from a file of its own."""
    try:
        with np.errstate(all="ignore"):
            x = sequence(model)
            found = model.forward_propagation(x)
            steps = () if model.head.once else (3,)
            assert found.output.shape == (*steps, *model.head.output_shape)
            targets = np.zeros(steps if model.head.wants_tokens else found.output.shape, int)
            gradients = model.gradients(x, targets)[1]
            assert {n: g.shape for n, g in gradients.items()} == {n: p.shape for n, p in model.parameters.items()}
            assert repr(model)
            for layer in (*model.rnn._leaves().values(), model.readout):
                assert str(layer.graph)
                assert layer.source
                assert str(layer.plan)
            again = files.model_from(model.parameters, json.loads(json.dumps(model._facts())))
            np.testing.assert_array_equal(again.forward_propagation(x).output, found.output)
    except Exception as error:
        raise AssertionError(f"{what} opens, but does not run: {type(error).__name__}: {error}") from error
