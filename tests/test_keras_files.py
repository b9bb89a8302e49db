"""Files of Keras are read without Keras: they compute what its equations say, and nothing in them runs."""

import zipfile

import numpy as np
import pytest

from forging import attempt, messages

h5py = pytest.importorskip("h5py")

import keras_files  # noqa: E402
from elman.errors import MissingLibraryError  # noqa: E402
from elman.io import keras  # noqa: E402
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
    "an activation": ([layer("LSTM", "a", arrays(4), activation="gelu")], "the activation 'gelu' is unknown"),
    "shapes": ([layer("LSTM", "a", [*arrays(4)[:2], np.ones(12)])], r"bias is (12); (16) is wanted (hidden=4, input=3)"),
    "too few arrays": ([layer("LSTM", "a", arrays(4)[:1])], "a: keras LSTM: recurrent_kernel is missing"),
    "no arrays": ([layer("LSTM", "a")], "a: keras LSTM: kernel is missing"),
    "too many arrays": ([layer("LSTM", "a", [*arrays(4), np.ones(3)])], "4 arrays are in the file"),
    "an inner last": (
        [layer("LSTM", "a", arrays(4), return_sequences=False), layer("GRU", "b", arrays(3, inputs=H, bias="two"))],
        "a returns its last output only, and b stands on it",
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
