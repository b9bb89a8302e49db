"""Files of Keras are read without Keras: they compute what its equations say, and nothing in them runs."""

import math
import zipfile

import numpy as np
import pytest

from forging import attempt, messages

h5py = pytest.importorskip("h5py")

import elman  # noqa: E402
import keras_files  # noqa: E402
from elman import importing  # noqa: E402
from elman.errors import MissingLibraryError, SettingError  # noqa: E402
from elman.io import keras, pytorch  # noqa: E402
from keras_files import layer, legacy, zipped  # noqa: E402

I, H, T, B, V = 3, 4, 6, 2, 7
FORMATS = {".keras": zipped, ".h5": legacy}
every_format = pytest.mark.parametrize("suffix", FORMATS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def arrays(gates, *, inputs=I, bias="one", seed=0):
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=(inputs, gates * H)), rng.normal(size=(H, gates * H))]
    return found + {"one": [rng.normal(size=gates * H)], "two": [rng.normal(size=(2, gates * H))], "none": []}[bias]


def loop(kind, held, x, *, f=np.tanh, g=sigmoid):
    """A layer of Keras step by step, as its documentation has the equations; `x` `[T, I]`, kernels (in, out)."""
    kernel, recurrent, b = held if len(held) == 3 else (*held, np.zeros(held[0].shape[1]))
    b, d = b if b.ndim == 2 else (b, np.zeros_like(b))
    h, c, ys = np.zeros(H), np.zeros(H), []
    for x_t in x:
        a, s = x_t @ kernel + b, h @ recurrent + d
        if kind == "SimpleRNN":
            h = f(a + s)
        elif kind == "LSTM":
            i, forget, new, o = np.split(a + s, 4)
            c = g(forget) * c + g(i) * f(new)
            h = g(o) * f(c)
        else:
            (az, ar, an), (sz, sr, sn) = np.split(a, 3), np.split(s, 3)
            z, r = g(az + sz), g(ar + sr)
            inner = r * sn if kind == "GRU" else (r * h) @ recurrent[:, 2 * H :]
            h = z * h + (1 - z) * f(an + inner)
        ys.append(h)
    return np.array(ys)


KINDS = {
    "SimpleRNN": (1, "one", {}),
    "GRU": (3, "two", {"reset_after": True}),
    "GRU before": (3, "one", {"reset_after": False}),
    "LSTM": (4, "one", {}),
}


@every_format
@pytest.mark.parametrize("biased", [True, False], ids=["biases", "no bias"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_of_a_layer(tmp_path, kind, biased, suffix):
    gates, bias, settings = KINDS[kind]
    held, x = arrays(gates, bias=bias if biased else "none"), np.random.default_rng(1).normal(size=(T, I))
    path = FORMATS[suffix](tmp_path / f"m{suffix}", [layer(kind.split()[0], "inner", held, **settings)])
    got = keras.load(path).forward_propagation(x).output
    np.testing.assert_allclose(got, loop(kind, held, x), rtol=0, atol=1e-12)


@every_format
def test_values_of_a_net(tmp_path, suffix):
    """An embedding, both directions, a second layer that returns its last output, two dense layers."""
    rng = np.random.default_rng(2)
    ways, above = [arrays(4, seed=3), arrays(4, seed=4)], arrays(3, inputs=2 * H, bias="two", seed=5)
    embedding, w1, b1, w2, b2 = (rng.normal(size=size) for size in ((V, I), (H, 5), 5, (5, 2), 2))
    inner, _ = layer("LSTM", "inner")
    layers = [
        layer("InputLayer", "in"),
        layer("Embedding", "embed", [embedding]),
        layer("Bidirectional", "both", ways[0] + ways[1], merge_mode="concat", layer=inner),
        layer("Dropout", "drop"),
        layer("GRU", "top", above, reset_after=True, return_sequences=False),
        layer("Dense", "first", [w1, b1], activation="relu"),
        layer("Dense", "second", [w2, b2], activation="softmax"),
    ]
    model, tokens = keras.load(FORMATS[suffix](tmp_path / f"m{suffix}", layers)), rng.integers(V, size=T)
    x = embedding[tokens]
    x = np.concatenate((loop("LSTM", ways[0], x), loop("LSTM", ways[1], x[::-1])[::-1]), -1)
    logits = np.maximum(loop("GRU", above, x)[-1] @ w1 + b1, 0) @ w2 + b2
    np.testing.assert_allclose(model.forward_propagation(tokens).output, np.exp(logits) / np.exp(logits).sum(), atol=1e-12)


@pytest.mark.parametrize(("version", "slope"), [("2.15.0", 0.2), ("3.15.1", 1 / 6)])
def test_the_hard_sigmoid_is_that_of_the_version(tmp_path, version, slope):
    held, x = arrays(4), np.random.default_rng(1).normal(size=(T, I))
    path = zipped(tmp_path / "m.keras", [layer("LSTM", "a", held, recurrent_activation="hard_sigmoid")], version=version)
    expected = loop("LSTM", held, x, g=lambda v: np.clip(slope * v + 0.5, 0, 1))
    np.testing.assert_allclose(keras.load(path).forward_propagation(x).output, expected, rtol=0, atol=1e-12)


ACTIVATIONS = {
    "softsign": lambda x: x / (1 + abs(x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1)),
    "silu": lambda x: x * sigmoid(x),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "exponential": np.exp,
    "linear": lambda x: x,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_a_cell_and_of_a_dense_layer(tmp_path, name):
    held, rng, f = [0.3 * array for array in arrays(3, bias="two")], np.random.default_rng(1), ACTIVATIONS[name]
    w, b, x = rng.normal(size=(H, 2)), rng.normal(size=2), rng.normal(size=(T, I))
    layers = [layer("GRU", "a", held, activation=name, reset_after=True), layer("Dense", "b", [w, b], activation=name)]
    got = keras.load(zipped(tmp_path / "m.keras", layers)).forward_propagation(x).output
    np.testing.assert_allclose(got, f(loop("GRU", held, x, f=f) @ w + b), rtol=1e-12, atol=1e-12)


RARE = {
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))) / 2,
    "celu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "log_sigmoid": lambda x: np.log(sigmoid(x)),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "soft_shrink": lambda x: np.where(x > 0.5, x - 0.5, np.where(x < -0.5, x + 0.5, 0)),
    "hard_shrink": lambda x: np.where(abs(x) > 0.5, x, 0),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
}


@pytest.mark.parametrize("name", RARE)
def test_rare_activations(tmp_path, name):
    """Over all of their bends, and far out."""
    held, x = [np.diag([1.0, 2.0, 7.0]), np.zeros((3, 3))], np.linspace(-4, 4, 161)[:, None] * np.ones(3)
    path = zipped(tmp_path / "m.keras", [layer("SimpleRNN", "a", held, activation=name)])
    got = keras.load(path).forward_propagation(x).output
    np.testing.assert_allclose(got, RARE[name](x @ held[0]), rtol=0, atol=1e-12)


# ---------------------------------------------------------------- directions, cells upon one another, order of time


def both(kind, ways, x, f=(np.tanh, np.tanh)):
    """What each direction of two layers gives, in the order of the input."""
    kinds = kind if isinstance(kind, tuple) else (kind, kind)
    return loop(kinds[0], ways[0], x, f=f[0]), loop(kinds[1], ways[1], x[::-1], f=f[1])[::-1]


MERGED = {
    "concat": lambda a, b: np.concatenate((a, b), -1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
}


@every_format
@pytest.mark.parametrize("whole", [True, False], ids=["every step", "the last"])
@pytest.mark.parametrize("merge", MERGED)
def test_merges(tmp_path, merge, whole, suffix):
    """Of every step, and of the last step that each direction takes; with a dense layer upon them."""
    ways, x = [arrays(4, seed=3), arrays(4, seed=4)], np.random.default_rng(1).normal(size=(T, I))
    inner, _ = layer("LSTM", "inner", return_sequences=whole)
    layers = [layer("Bidirectional", "both", ways[0] + ways[1], merge_mode=merge, layer=inner)]
    ahead, behind = both("LSTM", ways, x)
    expected = MERGED[merge](ahead, behind) if whole else MERGED[merge](ahead[-1], behind[0])
    path = FORMATS[suffix](tmp_path / f"m{suffix}", layers)
    np.testing.assert_allclose(keras.load(path).forward_propagation(x).output, expected, rtol=0, atol=1e-12)
    w, b = np.random.default_rng(5).normal(size=(expected.shape[-1], 3)), np.random.default_rng(6).normal(size=3)
    path = FORMATS[suffix](tmp_path / f"m{suffix}", [*layers, layer("Dense", "top", [w, b], activation="tanh")])
    model = keras.load(path)
    np.testing.assert_allclose(model.forward_propagation(x).output, np.tanh(expected @ w + b), rtol=0, atol=1e-12)
    model.save(tmp_path / "model.safetensors")
    again = elman.load(tmp_path / "model.safetensors").forward_propagation(x).output
    np.testing.assert_array_equal(again, model.forward_propagation(x).output)


@pytest.mark.parametrize("merge", MERGED)
def test_mistakes_behind_merges_and_turned_layers_are_named(tmp_path, merge):
    """The output before its activation, directions exchanged, and gates of a layer that reads from the end."""
    ways, w = (
        [arrays(4, seed=3), arrays(4, seed=4)],
        np.random.default_rng(5).normal(size=(8 if merge == "concat" else 4, 3)),
    )
    x, inner = np.random.default_rng(1).normal(size=(B, T, I)), layer("LSTM", "inner", return_sequences=False)[0]

    def written(first, second):
        layers = [layer("Bidirectional", "both", first + second, merge_mode=merge, layer=inner)]
        return zipped(tmp_path / "m.keras", [*layers, layer("Dense", "top", [w], activation="tanh")])

    path = written(*ways)
    found = keras.load(path).forward_propagation(x)
    assert importing.imported(path, (x, found.output))[1].startswith("proved")
    assert "with the output before its activation" in messages(lambda: importing.imported(path, (x, found.logits)))
    path = written(*ways[::-1])
    assert "with the two directions exchanged" in messages(lambda: importing.imported(path, (x, found.output)))
    held = arrays(4, seed=6)
    expected = keras.load(
        zipped(tmp_path / "m.keras", [layer("LSTM", "a", held, go_backwards=True, return_sequences=False)])
    )
    wrong = [np.concatenate([np.split(array, 4, -1)[k] for k in (0, 1, 3, 2)], -1) for array in held]
    path = zipped(tmp_path / "m.keras", [layer("LSTM", "a", wrong, go_backwards=True, return_sequences=False)])
    y = expected.forward_propagation(x).output
    assert "the gates taken in the order i f o g" in messages(lambda: importing.imported(path, (x, y)))


def test_two_directions_as_one_do_not_go_out_to_others(tmp_path):
    inner, _ = layer("LSTM", "inner", return_sequences=False)
    made = [layer("Bidirectional", "both", arrays(4) * 2, merge_mode="sum", layer=inner)]
    model = keras.load(zipped(tmp_path / "m.keras", [*made, layer("Dense", "top", [np.ones((H, 2))], activation="linear")]))
    with pytest.raises(SettingError, match="it reads two directions as one, which has no counterpart elsewhere"):
        pytorch.state_dict(model)


@every_format
def test_directions_that_differ(tmp_path, suffix):
    """A layer of its own for the way back: another cell, another form, another activation, other biases."""
    x = np.random.default_rng(1).normal(size=(T, I))
    relu = {"activation": "relu"}
    cases = [
        (
            "LSTM",
            arrays(4),
            {},
            "GRU",
            [0.3 * array for array in arrays(3, seed=8, bias="two")],
            {"reset_after": True} | relu,
        ),
        ("GRU before", arrays(3), {}, "GRU", arrays(3, seed=8, bias="two"), {"reset_after": True}),
        ("LSTM", arrays(4, bias="none"), {"use_bias": False}, "LSTM", arrays(4, seed=8), {}),
        ("SimpleRNN", arrays(1), {}, "SimpleRNN", arrays(1, seed=8, bias="none"), {"use_bias": False}),
    ]
    for ahead, first, settings, behind, second, others in cases:
        inner, _ = layer(ahead.split()[0], "a", **settings)
        back, _ = layer(behind, "b", go_backwards=True, **others)
        held = {"forward_layer/cell": first, "backward_layer/cell": second}
        layers = [layer("Bidirectional", "both", held, layer=inner, backward_layer=back)]
        got = keras.load(FORMATS[suffix](tmp_path / f"m{suffix}", layers)).forward_propagation(x).output
        f = np.tanh, (lambda v: np.maximum(v, 0)) if "activation" in others else np.tanh
        expected = np.concatenate(both((ahead, behind), (first, second), x, f), -1)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@every_format
@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "both ways"])
def test_cells_upon_one_another(tmp_path, suffix, wrapped):
    """In the order of the settings: a file sorts its groups by name."""
    kinds, x = ("LSTM", "GRU", "LSTM"), np.random.default_rng(1).normal(size=(T, I))
    groups = ("lstm_cell", "gru_cell", "lstm_cell_1")
    entries = [layer(f"{kind}Cell", f"c{k}", activation="tanh", recurrent_activation="sigmoid", reset_after=True)[0]
               for k, kind in enumerate(kinds)]  # fmt: skip
    inner = {"class_name": "StackedRNNCells", "module": "keras.layers", "config": {"name": "cells", "cells": entries}}

    def drawn(seed):
        sizes = [(4, I, "one"), (3, H, "two"), (4, H, "one")]
        return [arrays(gates, inputs=inputs, bias=bias, seed=seed + k) for k, (gates, inputs, bias) in enumerate(sizes)]

    def looped(held, y):
        for kind, array in zip(kinds, held, strict=True):
            y = loop(kind, array, y)
        return y

    def within(place, held):
        return {f"{place}cell/cells/{group}": array for group, array in zip(groups, held, strict=True)}

    first, second = drawn(10), drawn(20)
    expected = looped(first, x)
    made = layer("RNN", "net", within("", first), cell=inner)
    if wrapped:
        expected = np.concatenate((expected, looped(second, x[::-1])[::-1]), -1)
        made = layer("Bidirectional", "both", within("forward_layer/", first) | within("backward_layer/", second),
                     layer=made[0])  # fmt: skip
    got = keras.load(FORMATS[suffix](tmp_path / f"m{suffix}", [made])).forward_propagation(x).output
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@every_format
def test_layers_that_read_from_the_end(tmp_path, suffix):
    """Such a layer gives its outputs in the order in which it makes them: the one above reads them so."""
    held = [arrays(4), arrays(3, inputs=H, bias="two", seed=1), arrays(1, inputs=H, seed=2)]
    ways = [arrays(4, inputs=H, seed=5), arrays(4, inputs=H, seed=6)]
    x, inner = np.random.default_rng(1).normal(size=(T, I)), layer("LSTM", "inner", return_sequences=False)[0]
    low = layer("LSTM", "a", held[0], go_backwards=True)
    y = loop("LSTM", held[0], x[::-1])
    nets = {
        "the last": ([low, layer("GRU", "b", held[1], reset_after=True, return_sequences=False)],
                     lambda: loop("GRU", held[1], y)[-1]),
        "turned again": ([low, layer("GRU", "b", held[1], reset_after=True, go_backwards=True)],
                         lambda: loop("GRU", held[1], y[::-1])),
        "thrice": ([low, layer("GRU", "b", held[1], reset_after=True), layer("SimpleRNN", "c", held[2], go_backwards=True)],
                   lambda: loop("SimpleRNN", held[2], loop("GRU", held[1], y)[::-1])),
        "both ways": ([low, layer("Bidirectional", "b", ways[0] + ways[1], layer=inner)],
                      lambda: np.concatenate((loop("LSTM", ways[0], y)[-1], loop("LSTM", ways[1], y[::-1])[-1]))),
    }  # fmt: skip
    for layers, expected in nets.values():
        got = keras.load(FORMATS[suffix](tmp_path / f"m{suffix}", layers)).forward_propagation(x).output
        np.testing.assert_allclose(got, expected(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "settings", "f"),
    [
        ("Activation", {"activation": "relu"}, lambda v: np.maximum(v, 0)),
        ("ReLU", {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}, lambda v: np.maximum(v, 0)),
        ("ReLU", {"max_value": 6, "negative_slope": 0.0, "threshold": 0.0}, lambda v: np.clip(v, 0, 6)),
        ("ELU", {"alpha": 1.0}, lambda v: np.where(v > 0, v, np.exp(v) - 1)),
        ("Softmax", {"axis": -1}, lambda v: np.exp(v) / np.exp(v).sum(-1, keepdims=True)),
    ],
)
def test_layers_that_are_an_activation(tmp_path, kind, settings, f):
    rng = np.random.default_rng(2)
    held, w, v, x = arrays(4), rng.normal(size=(H, 5)) * 5, rng.normal(size=(5, 2)), rng.normal(size=(T, I))
    dense = [layer("Dense", "a", [w], activation="linear"), layer(kind, "f", **settings)]
    layers = [layer("LSTM", "l", held), *dense, layer("Dense", "b", [v], activation="linear")]
    got = keras.load(zipped(tmp_path / "m.keras", layers)).forward_propagation(x).output
    np.testing.assert_allclose(got, f(loop("LSTM", held, x) @ w) @ v, rtol=0, atol=1e-12)


def test_a_frozen_direction_stands_last_in_a_file_of_keras_2(tmp_path):
    ways, x = [arrays(4, seed=3), arrays(4, seed=4)], np.random.default_rng(1).normal(size=(T, I))
    layers = [layer("Bidirectional", "both", ways[0] + ways[1], layer=layer("LSTM", "inner")[0])]
    path = legacy(tmp_path / "m.h5", layers)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/both"]
        names = [f"both/{way}_lstm/cell/array_{k}:0" for way in ("backward", "forward") for k in range(3)]
        for name, array in zip(names, ways[1] + ways[0], strict=True):
            group[name] = array
        group.attrs["weight_names"] = np.array(names, "S")
    expected = np.concatenate(both("LSTM", ways, x), -1)
    np.testing.assert_allclose(keras.load(path).forward_propagation(x).output, expected, rtol=0, atol=1e-12)


# ---------------------------------------------------------------- what is refused


def lambda_layer():
    return layer("Lambda", "twice", function={"class_name": "__lambda__", "config": {"code": "4wAAAA=="}})


def custom(**more):
    entry, held = layer("LSTM", "mine", arrays(4))
    return entry | more, held


REFUSED = {
    "Lambda": ([lambda_layer(), layer("LSTM", "a", arrays(4))], "'twice' is a Lambda, which carries code"),
    "a class of somebody's": ([custom(module="evil")], "'mine' is a evil.LSTM, which is none of Keras's own"),
    "a registered class": (
        [custom(registered_name="mine>LSTM")],
        "'mine' is a keras.layers.LSTM, which is none of Keras's own",
    ),
    "an unknown layer": ([layer("Conv1D", "conv", [np.ones((3, 3, 3))])], "'conv' is a Conv1D, which has no counterpart"),
    "a function": ([layer("LSTM", "a", arrays(4), activation={"class_name": "function"})], "is a function of somebody's"),
    "an activation": ([layer("LSTM", "a", arrays(4), activation="glu")], "the activation 'glu' is unknown"),
    "shapes": ([layer("LSTM", "a", [*arrays(4)[:2], np.ones(12)])], r"bias is (12); (16) is wanted (hidden=4, input=3)"),
    "too few arrays": ([layer("LSTM", "a", arrays(4)[:1])], "a: keras LSTM: recurrent_kernel is missing"),
    "no arrays": ([layer("LSTM", "a")], "a: keras LSTM: kernel is missing"),
    "too many arrays": ([layer("LSTM", "a", [*arrays(4), np.ones(3)])], "4 arrays are in the file"),
    "an inner last": (
        [layer("LSTM", "a", arrays(4), return_sequences=False), layer("GRU", "b", arrays(3, inputs=H, bias="two"))],
        "a returns its last output only, and b stands on it",
    ),
    "a class of somebody's within": (
        [layer("Bidirectional", "both", arrays(4) * 2, layer=custom(module="evil")[0])],
        "'mine' is a evil.LSTM, which is none of Keras's own",
    ),
    "cells of somebody's": (
        [layer("RNN", "a", {}, cell={"class_name": "LSTMCell", "module": "evil", "config": {"name": "mine"}})],
        "'mine' is a evil.LSTMCell, which is none of Keras's own",
    ),
    "other cells": (
        [layer("RNN", "a", {}, cell=layer("ConvLSTMCell", "c")[0])],
        "the layer 'a' is a RNN of other cells than SimpleRNN, GRU, LSTM have",
    ),
    "a state": ([layer("LSTM", "a", arrays(4), return_state=True)], "a: return_state=True has no counterpart"),
    "no merge": (
        [layer("Bidirectional", "both", arrays(4) * 2, layer=layer("LSTM", "a")[0], merge_mode=None)],
        "both: merge_mode=None has no counterpart; concat, sum, mul, ave have",
    ),
    "an activation alone": (
        [layer("LSTM", "a", arrays(4)), layer("Activation", "b", activation="relu")],
        "b: one of Keras's own activations, upon a Dense layer that has none, is read",
    ),
    "turned": ([layer("LSTM", "a", arrays(4), go_backwards=True)], "returns its outputs from the last to the first"),
    "no settings": ([({"class_name": "LSTM", "config": {"name": "a"}}, arrays(4))], "'go_backwards' is missing"),
}


@every_format
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read_is_told(tmp_path, case, suffix):
    layers, told = REFUSED[case]
    path = FORMATS[suffix](tmp_path / f"m{suffix}", layers)
    message = messages(lambda: keras.load(path))
    assert told in message
    assert str(path) in message


def test_a_model_that_is_no_chain_is_told(tmp_path):
    layers = [layer("LSTM", "a", arrays(4)), layer("LSTM", "b", arrays(4))]
    for entry, below in zip((entry for entry, _ in layers), ([], []), strict=True):
        entry["inbound_nodes"] = below
    config = {"class_name": "Functional", "config": {"layers": [entry for entry, _ in layers]}}
    path = zipped(tmp_path / "m.keras", layers, config=config)
    assert "the layer 'b' reads nothing; layers upon one another are read" in messages(lambda: keras.load(path))
    for position, (entry, _) in enumerate(layers):
        entry["inbound_nodes"] = [[["a", 0, 0, {}]]] * position
    config["config"]["output_layers"] = [["a", 0, 0], ["b", 0, 0]]
    path = zipped(tmp_path / "m.keras", layers, config=config)
    assert "it gives what a, b give; a model that gives its last layer is read" in messages(lambda: keras.load(path))
    path = zipped(tmp_path / "m.keras", layers, config=config | {"class_name": "Mine"})
    assert "it is a Mine; a Sequential or Functional model of layers is read" in messages(lambda: keras.load(path))


def test_numbers_of_other_files_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"0123456789" * 100)
    path = legacy(tmp_path / "m.h5", [layer("SimpleRNN", "a", [np.ones((2, 2)), np.ones((2, 2)), np.ones(2)])])
    with h5py.File(path, "r+") as file:
        group = file["model_weights/a/a"]
        del group["array_2:0"]
        group.create_dataset("array_2:0", shape=(2,), dtype="f4", external=[(str(tmp_path / "secret"), 0, 8)])
    assert "has its numbers in another file" in messages(lambda: keras.load(path))
    with h5py.File(path, "r+") as file:
        del file["model_weights/a/a/array_2:0"]
        file["model_weights/a/a/array_2:0"] = h5py.ExternalLink("other.h5", "/x")
    assert "leads elsewhere or is not there" in messages(lambda: keras.load(path))
    with h5py.File(path, "r+") as file:
        del file["model_weights"]
        file["model_weights"] = h5py.SoftLink("/elsewhere")
    assert "'model_weights' leads elsewhere or is not there" in messages(lambda: keras.load(path))


def test_other_files(tmp_path):
    assert "there is no such file" in messages(lambda: keras.load(tmp_path / "none.keras"))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["a"] = np.ones(3)
    assert "it has weights only; save the whole model" in messages(lambda: keras.load(tmp_path / "w.h5"))
    path = zipped(tmp_path / "m.keras", [layer("LSTM", "a", arrays(4))], compression=zipfile.ZIP_DEFLATED)
    assert "its entries are compressed" in messages(lambda: keras.load(path))


@every_format
def test_a_truncated_file_is_refused(tmp_path, suffix):
    path = FORMATS[suffix](tmp_path / f"m{suffix}", [layer("LSTM", "a", arrays(4))])
    whole = path.read_bytes()
    for length in range(0, len(whole) - 100, 499):
        path.write_bytes(whole[:length])
        assert attempt(path, f"{length} bytes", load=keras.load) is None


def test_without_h5py_the_fix_is_told(tmp_path, monkeypatch):
    path = zipped(tmp_path / "m.keras", [layer("LSTM", "a", arrays(4))])
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingLibraryError, match=r'files of Keras need the library h5py: pip install "elman\[keras\]"'):
        keras.load(path)


def test_helpers_hold_what_they_say():
    assert keras_files.configuration([layer("LSTM", "a")])["config"]["layers"][0]["config"]["return_sequences"]
