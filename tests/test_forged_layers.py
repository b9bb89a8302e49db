"""Forged files of layers and of encoder-decoders: each is refused in a line, before memory is taken, or is one that runs."""

import copy
import json
import re
import time
from functools import cache

import numpy as np
import pytest
from safetensors.numpy import save

import elman
from elman import (
    RNN,
    Backwards,
    Bidirectional,
    EncoderDecoder,
    Model,
    SettingError,
    Stack,
    bias,
    cell,
    cells,
    describe,
    files,
    weight,
)
from elman.declare import state
from elman.io import safetensors
from elman.text import Vocabulary
from forging import (
    attempt,
    changed,
    colliding,
    messages,
    nothing_runs,
    places,
    random,
    rnn,
    runs_like_a_model,
    source_and_targets,
    without,
    write,
)


@cell
def last_of_all(a=state("hidden")):
    return elman.softmax(2 * a)


@cell
def cut(a=state("width"), *, wya=weight("output", "hidden"), by=bias("output")):
    """Its parameters may be of any size `hidden`, whatever it reads."""
    return elman.softmax(wya @ (wya.T @ by) * a[0])


@cell
def matrix(x, m=state("hidden", "hidden"), *, w=weight("hidden", "input")):
    return elman.outer(w @ x, w @ x) + m / 2


# ---------------------------------------------------------------- every fact, taken away or changed


def everything():
    """A model with every kind of layer, every fact of its own value."""
    ahead, behind = RNN(cells.elman, input=4, hidden=3), RNN(cells.elman, input=4, hidden=3, recurrent_dropout=0.5)
    turned = Backwards(rnn(cells.elman, learn_initial=True))
    layers = Stack([Bidirectional(ahead, behind, merge="sum"), turned], dropout=0.25, residual=True)
    model = Model.from_layers(layers, 5, vocabulary=Vocabulary.characters("abc"), bptt_truncate=6)
    model.training = {"bits": 1.5}
    return model


def pair():
    network = EncoderDecoder(
        RNN(cells.elman, input=4, hidden=3),
        Model.from_layers(RNN(cells.lstm, input=6, hidden=5), 6, vocabulary=Vocabulary.characters("abcde")),
        bridge=cells.dense,
        start=3,
        end=4,
    )
    network.training = network.decoder.training = {"bits": 1.5}
    return network


@cache
def stored(build):
    """Arrays and facts of a file."""
    network = build()
    facts = network._facts() if isinstance(network, Model) else None
    if facts is None:
        kept = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(safetensors, "write", lambda _, arrays, given: kept.append(given))
            network.save("")
        [facts] = kept
    return dict(network.parameters), json.loads(json.dumps(facts, sort_keys=True))


def plain_model():
    model = Model(5, 3)
    model.training = {"bits": 1.5}
    return model


OTHER = [None, True, 7, 1.5, "x", [], {}, [[7]], {"kind": "rnn"}]
FAR = {int: [-1, 10**9, 2**31, 2**63, 10**30], float: [-0.5, 1.0, 1e300], str: ["", "\x1b[2J"], bool: []}
NEAR = {int: [0, 1, 2], float: [0.0, 0.125], str: ["x", "hidden", "rnn2"], bool: [True, False]}


FREE = {
    "training": lambda value: isinstance(value, dict),
    "notes": lambda value: isinstance(value, str),
    "value": lambda value: isinstance(value, float),
    "bptt_truncate": lambda value: value is None or (type(value) is int and value > 0),
    **dict.fromkeys(("vocabulary", "unknown", "end"), lambda value: value is None),
}
"""What a place may hold whatever stands elsewhere."""


def is_free(path, value):
    return "training" in path[:-1] or FREE.get(path[-1], lambda value: False)(value)


def may_lack(facts, path):
    """Facts of training, an element of a list, the name of a value that has one."""
    named = path[-1] == "name" and "inputs" in at(facts, path[:-1])
    return "training" in path[:-1] or isinstance(path[-1], int) or named


def at(facts, path):
    for key in path:
        facts = facts[key]
    return facts


def changes(facts, inside=lambda path: True):
    """Every change of the facts, as (what, facts, whether it must be refused)."""
    for path in filter(inside, list(places(facts))):
        value = at(facts, path)
        yield f"no {path}", without(facts, path), not may_lack(facts, path)
        others = [v for v in OTHER if (type(v) is not type(value) or isinstance(v, list | dict)) and v != value]
        for other in others + FAR.get(type(value), []):
            yield f"{path} = {other!r}", changed(facts, path, other), not is_free(path, other)
        for near in NEAR.get(type(value), []):
            if near != value:
                yield f"{path} = {near!r}", changed(facts, path, near), False
        if isinstance(value, dict) and {"layers", "readout", "vocabulary", "encoder", "bridges"} & set(path):
            yield f"{path} with more", changed(facts, (*path, "more"), 1), True


def in_structure(path):
    """Whether a place is outside of graphs, which are alike."""
    return not {"graph", "readout", "symbols"} & set(path[:-1])


def walk(tmp_path, monkeypatch, build, load, inside, runs):
    arrays, facts = stored(build)
    write(tmp_path / "good", arrays, facts)
    runs(load(tmp_path / "good"), "what is not changed")
    refused = opened = 0
    with nothing_runs(monkeypatch, limit=1 << 29):
        for what, forged, must in changes(facts, inside):
            write(tmp_path / "forged", arrays, forged)
            started = time.monotonic()
            network = attempt(tmp_path / "forged", what, load)
            assert time.monotonic() - started < 10, what
            if network is None:
                refused += 1
            else:
                assert not must, f"{what} opens"
                runs(network, what)
                opened += 1
    return refused, opened


def runs_like_a_network(network, what):
    """What opens is an encoder-decoder: it runs, is differentiated, speaks, prints."""
    try:
        with np.errstate(all="ignore"):
            x, targets = source_and_targets(network)
            assert network.forward_propagation(x, targets).output.shape == (2, 4, network.decoder.word_dim)
            gradients = network.gradients(x, targets)[1]
            assert {n: g.shape for n, g in gradients.items()} == {n: p.shape for n, p in network.parameters.items()}
            assert len(network.generate(x[0], 3)) <= 3
            assert repr(network)
    except Exception as error:
        if "holds NaN or infinity" in str(error):
            return  # equations that divide by zero are equations
        raise AssertionError(f"{what} opens, but does not run: {type(error).__name__}: {error}") from error


def test_every_fact_of_layers(tmp_path, monkeypatch):
    refused, opened = walk(tmp_path, monkeypatch, everything, elman.load, in_structure, runs_like_a_model)
    assert refused > 400
    assert 20 < opened < 100


def test_every_fact_of_a_graph(tmp_path, monkeypatch):
    def inside(path):
        return {"graph", "readout", "symbols"} & set(path)

    refused, opened = walk(tmp_path, monkeypatch, plain_model, elman.load, inside, runs_like_a_model)
    assert refused > 1400
    assert 20 < opened < 200


def test_every_fact_of_an_encoder_decoder(tmp_path, monkeypatch):
    refused, opened = walk(tmp_path, monkeypatch, pair, EncoderDecoder.load, in_structure, runs_like_a_network)
    assert refused > 400
    assert 20 < opened < 100


@pytest.mark.parametrize(
    ("build", "load", "runs"),
    [(everything, elman.load, runs_like_a_model), (pair, EncoderDecoder.load, runs_like_a_network)],
)
def test_parts_that_were_exchanged(tmp_path, monkeypatch, build, load, runs):
    """Parts of the facts put in the places of others, one or two a file, drawn at random."""
    arrays, facts = stored(build)
    rng, everywhere = np.random.default_rng(4), list(places(facts))
    opened = refused = 0
    with nothing_runs(monkeypatch):
        for k in range(500):
            forged, what = facts, []
            for _ in range(1 + k % 2):
                there, here = (everywhere[rng.integers(len(everywhere))] for _ in range(2))
                try:
                    forged = changed(forged, there, copy.deepcopy(at(facts, here)))
                except (KeyError, IndexError, TypeError):
                    continue  # the change before took it away
                what.append((there, here))
            write(tmp_path / "forged", arrays, forged)
            if network := attempt(tmp_path / "forged", what, load):
                runs(network, what)
                opened += 1
            else:
                refused += 1
    assert refused > 400
    assert opened > 10


# ---------------------------------------------------------------- sizes that nothing bears out


def wide(width, which=cells.running_max):
    """The description of a layer without parameters, of any width."""
    graph = RNN(which, input=2).graph.to_json()
    graph["sizes"]["input"] = width
    return {"kind": "rnn", "graph": graph, "learn_initial": False, "recurrent_dropout": 0.0}


LARGE = (5 * 10**7, 10**9, 2**31, 2**63, 10**30)


def refused_of(tmp_path, arrays, facts, load=elman.load):
    write(tmp_path / "forged", arrays, facts)
    with pytest.MonkeyPatch.context() as patch, nothing_runs(patch, limit=1 << 28):
        message = messages(lambda: load(tmp_path / "forged"))
    assert message.startswith(f"{tmp_path}/forged: this is not a whole model: "), message
    return message.partition("whole model: ")[2]


@pytest.mark.parametrize("size", [*LARGE, 0, -1])
@pytest.mark.parametrize("build", [everything, pair])
def test_no_size_takes_memory(tmp_path, build, size):
    arrays, facts = stored(build)
    load = elman.load if build is everything else EncoderDecoder.load
    sizes = [path for path in places(facts) if len(path) > 1 and path[-2] == "sizes"]
    assert len(sizes) > 6
    for path in sizes:
        refused_of(tmp_path, arrays, changed(facts, path, size), load)


@pytest.mark.parametrize("width", LARGE)
@pytest.mark.parametrize("once", [True, False])
def test_a_width_without_parameters_takes_no_memory(tmp_path, width, once):
    """What the layers give is what a read-out is made for: its matrix would be of a size that only the file claims."""
    arrays, facts = stored(plain_model)
    arrays = {name: array for name, array in arrays.items() if name in ("wya", "by")}
    facts = facts | {"once": once, "tokens": False, "vocabulary": None}
    two, turned = [wide(width), wide(width)], {"kind": "backwards", "layer": wide(width)}
    joined = {"kind": "bidirectional", "forward": wide(width), "backward": turned, "merge": "concatenate"}
    for layers in (wide(width), {"kind": "stack", "layers": two, "dropout": 0.0, "residual": False}, turned, joined):
        refused_of(tmp_path, arrays, facts | {"layers": layers})


@pytest.mark.parametrize("width", LARGE)
def test_a_read_out_that_calls_its_input_otherwise_takes_no_memory(tmp_path, width):
    """Its size `hidden` is what the layers give, whatever the file says: here 3, there the width."""

    readout = RNN(cut, input=None, hidden=3, width=4, output=5).graph.to_json()
    readout["sizes"]["width"] = width
    arrays, facts = stored(plain_model)
    arrays = {name: array for name, array in arrays.items() if name in ("wya", "by")}
    refused_of(tmp_path, arrays, facts | {"layers": wide(width), "readout": readout, "tokens": False, "vocabulary": None})


@pytest.mark.parametrize("width", LARGE)
def test_states_that_nothing_bears_out_take_no_memory(tmp_path, width):
    arrays, facts = stored(pair)
    encoder = {name: array for name, array in arrays.items() if not name.startswith("encoder.")}
    refused_of(tmp_path, encoder, facts | {"encoder": wide(width)}, EncoderDecoder.load)
    without_bridge = {name: array for name, array in encoder.items() if not name.startswith("bridge.")}
    refused_of(tmp_path, without_bridge, facts | {"encoder": wide(width), "bridges": {}}, EncoderDecoder.load)
    decoder = changed(facts, ("decoder", "layers"), wide(width))
    inner = {n: array for n, array in arrays.items() if not n.startswith("decoder.") or n in ("decoder.wya", "decoder.by")}
    refused_of(tmp_path, inner, decoder, EncoderDecoder.load)


def test_what_is_too_wide_to_open_is_not_saved(tmp_path):
    layer = RNN(cells.running_max, input=describe.WIDEST + 1)
    with pytest.raises(elman.GraphError, match=f"{describe.WIDEST} values are the most"):
        describe.described(layer)
    described = describe.described(RNN(cells.running_max, input=describe.WIDEST))
    assert describe.declared(json.loads(json.dumps(described))) == {}


def test_memory_that_runs_out_is_said_in_a_line(tmp_path, monkeypatch):
    Model(5, 3).save(tmp_path / "model")

    def none(*_, **__):
        raise MemoryError("Unable to allocate 7 PiB")

    monkeypatch.setattr(files, "built", none)
    said = f"{tmp_path}/model: this is not a whole model: Unable to allocate 7 PiB"
    assert messages(lambda: elman.load(tmp_path / "model")) == said


# ---------------------------------------------------------------- depth and number

OVER = {
    "stack": ('{"kind": "stack", "dropout": 0.0, "residual": false, "layers": [', "]}"),
    "backwards": ('{"kind": "backwards", "layer": ', "}"),
    "bidirectional": ('{"kind": "bidirectional", "merge": "sum", "backward": null, "forward": ', "}"),
    "rnn": ('{"kind": "rnn", "learn_initial": false, "recurrent_dropout": 0.0, "graph": ', "}"),
}


@pytest.mark.parametrize("kind", OVER)
@pytest.mark.parametrize("depth", [64, 65, 200, 300, 900, 3000, 10_000, 100_000])
def test_layers_in_layers_without_end_are_refused(tmp_path, kind, depth):
    arrays, facts = stored(plain_model)
    before, after = OVER[kind]
    inner = json.dumps(facts["layers"])
    text = json.dumps(facts | {"layers": "HERE"}).replace('"HERE"', before * depth + inner + after * depth)
    (tmp_path / "deep").write_bytes(save(arrays, metadata={"elman": text}))
    started = time.monotonic()
    message = messages(lambda: elman.load(tmp_path / "deep"))
    assert time.monotonic() - started < 10
    assert "this is not a whole model: " in message or "its metadata cannot be read (" in message
    if depth == 64 and kind in ("stack", "backwards"):
        assert message.endswith("there are more than 64 layers in one another; a file holds no more")


@pytest.mark.parametrize("around", [lambda layer: Stack([layer]), Backwards])
def test_so_deep_as_files_go(tmp_path, around):
    layer = rnn()
    for _ in range(describe.DEEPEST - 1):
        layer = around(layer)
    random(Model.from_layers(layer, 2)).save(tmp_path / "model")
    runs_like_a_model(elman.load(tmp_path / "model"), "what is deep")
    data = (tmp_path / "model").read_bytes()
    deeper = Model.from_layers(around(layer), 2)
    with pytest.raises(SettingError, match="there are more than 64 layers in one another; a file holds no more"):
        deeper.save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == data


def test_thousands_of_layers(tmp_path):
    """Not in a time that grows with the square of their number: that would be minutes."""
    model = Model.from_layers(Stack([rnn(cells.elman) for _ in range(1500)]), 2)
    model.training = {}
    started = time.monotonic()
    model.save(tmp_path / "model")
    opened = elman.load(tmp_path / "model")
    assert time.monotonic() - started < 15
    assert list(opened.parameters) == list(model.parameters)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(opened.forward_propagation(x).logits, model.forward_propagation(x).logits)


@pytest.mark.parametrize(("part", "count"), [({}, 100_000), (None, 100_000), ("good", 1000), ({"kind": "stack"}, 100_000)])
def test_thousands_of_layers_that_are_none(tmp_path, part, count):
    arrays, facts = stored(plain_model)
    parts = [facts["layers"] if part == "good" else part] * count
    layers = {"kind": "stack", "layers": parts, "dropout": 0.0, "residual": False}
    started = time.monotonic()
    refused_of(tmp_path, arrays, facts | {"layers": layers})
    assert time.monotonic() - started < 10


# ---------------------------------------------------------------- layers that do not fit


def layer_facts(layer):
    return json.loads(json.dumps(describe.described(layer)))


def opened_as(tmp_path, layers, **facts):
    """What is said of a file whose layers are described so, with the arrays that they want."""
    arrays, good = stored(plain_model)
    wanted = describe.declared(layers)
    held = {name: np.zeros(shape, np.float32) for name, shape in wanted.items()}
    read = {f"readout.{name}" if name in held else name: arrays[name] for name in ("wya", "by")}
    return refused_of(tmp_path, held | read, good | {"layers": layers, "tokens": False, "vocabulary": None} | facts)


def test_layers_that_do_not_meet(tmp_path):
    one, other = layer_facts(rnn(cells.elman, 5, 3)), layer_facts(rnn(cells.elman, 4, 3))
    stack = {"kind": "stack", "dropout": 0.0, "residual": False}
    two = {"kind": "bidirectional", "merge": "sum"}
    assert opened_as(tmp_path, {**stack, "layers": [one, other]}) == (
        "Stack: layer 0 (elman) gives 3 values a step, layer 1 (elman) reads 4"
    )
    third = layer_facts(rnn(cells.elman, 3, 4))
    said = opened_as(tmp_path, {**stack, "layers": [one, third], "residual": True})
    assert said == "Stack: residual adds input and output of layer 1 (elman), which are of sizes 3 and 4"
    assert opened_as(tmp_path, {**stack, "layers": []}) == "Stack: no layer is given; one or more are wanted"
    assert opened_as(tmp_path, {**two, "forward": one, "backward": other}) == (
        "Bidirectional: forward elman reads 5 values a step, backward elman reads 4 values a step; both read one input"
    )
    assert opened_as(tmp_path, {**two, "forward": other, "backward": layer_facts(rnn(cells.elman, 4, 2))}) == (
        "Bidirectional: forward elman gives 3 values a step, backward elman gives 2 values a step; a sum wants one size"
    )
    assert opened_as(tmp_path, {**two, "forward": one, "backward": one, "merge": "concatenate"}) == (
        "the layers give (6), the read-out reads (hidden=3)"
    )
    assert opened_as(tmp_path, {**two, "forward": one, "backward": one}, once=True).startswith(
        "Bidirectional: a sum mixes the last steps of two directions"
    )


@cell
def adding_up(a, *, wya=weight("output", "hidden"), by=bias("output")):
    return elman.tanh(wya @ a + by)[0]


@cell
def tabled(a, *, wya=weight("output", "hidden"), by=bias("output")):
    return elman.outer(wya @ a + by, by)


@pytest.mark.parametrize(("readout", "shape"), [(adding_up, "()"), (tabled, "(output=5, output=5)")])
def test_a_read_out_that_gives_no_vector(tmp_path, readout, shape):
    """Its loss would fail, in a file as in a program."""
    wanted = f"Model: the read-out gives {shape}; a vector is wanted"
    arrays, facts = stored(plain_model)
    graph = json.loads(json.dumps(RNN(readout, hidden=3, output=5).graph.to_json()))
    assert refused_of(tmp_path, arrays, facts | {"readout": graph}) == wanted
    with pytest.raises(SettingError, match=re.escape(wanted)):
        Model.from_layers(rnn(), 5, readout=readout)


def test_layers_that_read_no_vector(tmp_path):
    square = RNN(numbers, hidden=3, input=2)
    assert square.input_shape == (3, 2)
    arrays, facts = stored(plain_model)
    held = {name: array for name, array in arrays.items() if name in ("wya", "by")} | square.parameters
    facts = facts | {"layers": layer_facts(square), "tokens": False}
    assert refused_of(tmp_path, held, facts) == "the layers read (hidden=3, input=2), a vector is wanted"


@cell
def numbers(x=state("hidden", "input"), h=state("hidden"), *, w=bias("input")):
    return x @ w + h / 2


def test_kinds_and_fields_that_are_not_there(tmp_path):
    arrays, facts = stored(everything)

    def said(path, value):
        return refused_of(tmp_path, arrays, changed(facts, path, value))

    kinds = "; kinds are rnn, stack, bidirectional, pooled, backwards"
    for kind in ("gru", "Stack", "rnn ", "__class__", "", None, 3, ["rnn"], {"rnn": 1}):
        found = said(("layers", "layers", 1, "layer", "kind"), kind)
        assert found == f"there is no layer of the kind {kind!r}{kinds}"
    assert said(("layers", "kind"), "rnn") == "'graph' is missing"
    assert said(("layers", "layers", 0, "merge"), "difference").startswith("Bidirectional: merge 'difference' is unknown")
    assert said(("layers", "layers", 0, "merge"), 3) == "bidirectional: merge is int, str is wanted"
    assert said(("layers", "residual"), 1) == "stack: residual is int, bool is wanted"
    assert said(("layers", "dropout"), 1.0) == "dropout=1.0 must be a share, at least 0 and below 1"
    assert said(("layers", "dropout"), float("nan")) == "dropout=nan must be a share, at least 0 and below 1"
    assert said(("layers", "zoneout"), 0.5) == "stack: there is no 'zoneout'; there are layers, dropout, residual"
    assert said(("layers", "layers", 1), [1]) == "a layer is described by list, a mapping is wanted"
    assert said(("layers", "layers", 0, "forward", "graph", "notes"), 5).endswith(
        "an entry of the graph is missing, of another type, or there without a use"
    )


def test_names_that_are_shared(tmp_path):
    arrays, facts = stored(everything)
    learnt = ("layers", "layers", 1, "layer")
    nodes = facts["layers"]["layers"][1]["layer"]["graph"]["nodes"]
    index = next(k for k, node in enumerate(nodes) if node.get("name") == "ba")
    # a parameter is called as the initial state that is learnt
    forged = changed(facts, (*learnt, "graph", "nodes", index, "name"), "a0")
    renamed = {name: array for name, array in arrays.items() if name != "1.layer.ba"}
    assert "learn_initial wants a parameter a0, which the equations have already" in refused_of(tmp_path, renamed, forged)
    # two parameters have one name
    forged = changed(facts, (*learnt, "graph", "nodes", index, "name"), "wax")
    assert "two leaves of kind parameter have one name" in refused_of(tmp_path, arrays, forged)
    # parts by name instead of in a row
    parts = dict(enumerate(facts["layers"]["layers"]))
    assert refused_of(tmp_path, arrays, changed(facts, ("layers", "layers"), parts)) == (
        "stack: layers is dict, list is wanted"
    )
    # the read-out's name for what does not collide, and the plain name for what does
    renamed = {("readout.wya" if name == "wya" else name): array for name, array in arrays.items()}
    assert refused_of(tmp_path, renamed, facts) == "its equations have no parameter readout.wya"
    arrays, facts = stored(lambda: Model.from_layers(rnn(colliding), 2))
    assert refused_of(tmp_path, {n: a for n, a in arrays.items() if n != "readout.wya"}, facts) == (
        "the parameter readout.wya is missing"
    )


# ---------------------------------------------------------------- arrays that do not belong


@pytest.mark.parametrize("build", [everything, pair])
def test_every_array_must_be_what_it_is(tmp_path, build):
    arrays, facts = stored(build)
    load = elman.load if build is everything else EncoderDecoder.load
    for name, array in arrays.items():
        others = {n: a for n, a in arrays.items() if n != name}
        assert refused_of(tmp_path, others, facts, load) == f"the parameter {name} is missing"
        for other in (f"{name}2", name.upper(), f"readout.{name}", name.rpartition(".")[2] + ".x", "é"):
            if other not in arrays:
                found = refused_of(tmp_path, others | {other: array}, facts, load)
                assert found in (f"its equations have no parameter {other}", f"the parameter {name} is missing")
                found = refused_of(tmp_path, arrays | {other: array}, facts, load)
                assert found == f"its equations have no parameter {other}"
        for dtype in ("float64", "float16", "int32", "bool"):
            found = refused_of(tmp_path, arrays | {name: array.astype(dtype)}, facts, load)
            assert found == f"{name} holds {dtype}, the model is of float32"
        for shape in ((), (0,), (*array.shape, 1), (array.size + 1,)):
            found = refused_of(tmp_path, arrays | {name: np.zeros(shape, np.float32)}, facts, load)
            assert re.match(rf"{re.escape(name)} is \(.*\), its equations want \(", found)
        bad = array.copy()
        bad[(0,) * bad.ndim] = np.nan
        assert "holds NaN or infinity (first at (0" in refused_of(tmp_path, arrays | {name: bad}, facts, load)


def test_another_dtype_is_refused(tmp_path):
    for build, path, load in ((everything, ("dtype",), elman.load), (pair, ("decoder", "dtype"), EncoderDecoder.load)):
        arrays, facts = stored(build)
        assert refused_of(tmp_path, arrays, changed(facts, path, "float64"), load).endswith(
            "holds float32, the model is of float64"
        )
        for dtype in ("float16", "<f4", "f", "float", "O", "float32,float32", "datetime64", None, 7, [], {}, [["a", "f4"]]):
            assert refused_of(tmp_path, arrays, changed(facts, path, dtype), load) == (
                f"dtype {' '.join(str(dtype).split())} is not supported; it is float32 or float64"
            )
    # a model without parameters has no array that would tell
    free = RNN(cells.running_max, input=5)
    model = Model.from_layers(free, readout=last_of_all)
    arrays, facts = dict(model.parameters), model._facts()
    assert arrays == {}
    write(tmp_path / "none", arrays, facts)
    runs_like_a_model(elman.load(tmp_path / "none"), "no parameters")
    refused_of(tmp_path, arrays, facts | {"dtype": None})


# ---------------------------------------------------------------- encoder-decoders that are forged


def said_of_pair(tmp_path, *change):
    arrays, facts = stored(pair)
    *path, value = change
    return refused_of(tmp_path, arrays, changed(facts, path, value), EncoderDecoder.load)


@pytest.mark.parametrize("name", ["start", "end"])
def test_tokens_that_are_none(tmp_path, name):
    for token in (-1, 6, 10**9, 10**30, 1.0, 1.5, True, False, "1", "a", [], [1], {}, float("inf")):
        found = said_of_pair(tmp_path, name, token)
        assert found == f"EncoderDecoder: {name}={token!r} must be a token of the decoder, 0 to 5"
    arrays, facts = stored(pair)
    assert refused_of(tmp_path, arrays, without(facts, (name,)), EncoderDecoder.load) == f"'{name}' is missing"


def test_a_start_that_does_not_fit_the_decoder(tmp_path):
    assert (
        said_of_pair(tmp_path, "start", None) == "EncoderDecoder: start is missing, the token that the decoder reads first"
    )
    found = said_of_pair(tmp_path, "decoder", "tokens", False)
    assert found == "EncoderDecoder: start and end are tokens; this decoder reads features"


def test_a_decoder_that_is_forged(tmp_path):
    arrays, facts = stored(pair)
    decoder = facts["decoder"]
    for change in ({"format": "onnx"}, {"version": 2}, {"version": True}, {"version": 1.0}, {"format": None}):
        found = refused_of(tmp_path, arrays, facts | {"decoder": decoder | change}, EncoderDecoder.load)
        assert found.endswith("is no 'elman model' version 1")
    assert refused_of(tmp_path, arrays, facts | {"decoder": facts}, EncoderDecoder.load)
    found = said_of_pair(tmp_path, "decoder", "once", True)
    assert found == "EncoderDecoder: the decoder gives once a sequence and reads (6); it must read what it gives"
    turned = {"kind": "backwards", "layer": decoder["layers"]}
    renamed = {
        n.replace("decoder.", "decoder.layer.") if "wy" not in n and "by" not in n else n: a for n, a in arrays.items()
    }
    found = refused_of(tmp_path, renamed, changed(facts, ("decoder", "layers"), turned), EncoderDecoder.load)
    assert found == "Backwards(lstm): it cannot run as a stream; a direction reads from the end of a sequence"
    vocabulary = Vocabulary.characters("abcdefg").to_json()
    assert said_of_pair(tmp_path, "decoder", "vocabulary", vocabulary) == (
        "Model: word_dim=6, but the vocabulary has 8 symbols"
    )
    assert said_of_pair(tmp_path, "decoder", "bptt_truncate", 0).startswith("bptt_truncate=0 must be a number of steps")
    assert said_of_pair(tmp_path, "decoder", "training", []) == "training is list, dict is wanted"
    assert said_of_pair(tmp_path, "training", []) == "training is list, dict is wanted"
    assert said_of_pair(tmp_path, "decoder", "readout", decoder["layers"]["graph"])


def test_bridges_that_are_forged(tmp_path):
    arrays, facts = stored(pair)
    bridges = facts["bridges"]
    assert sorted(bridges) == ["c", "h"]

    def said(forged, **more):
        held = {n: a for n, a in arrays.items() if n.split(".")[0] != "bridge" or n.split(".")[1] in forged} | more
        return refused_of(tmp_path, held, facts | {"bridges": forged}, EncoderDecoder.load)

    wanted = "EncoderDecoder: the decoder has the states h (5), c (5); each wants a bridge"
    assert said({"h": bridges["h"]}) == wanted
    third = {n.replace("bridge.h", "bridge.other"): a for n, a in arrays.items() if n.startswith("bridge.h")}
    assert said(bridges | {"other": bridges["h"]}, **third) == wanted
    assert said({"c": bridges["c"], "other": bridges["h"]}, **third) == wanted
    assert said({}).startswith("EncoderDecoder: the encoder's state (a (3)) is not of the decoder's form (h (5), c (5))")
    for forged in (None, [], 3, "h", [bridges["h"]]):
        assert refused_of(tmp_path, arrays, facts | {"bridges": forged}, EncoderDecoder.load)
    # a map of other sizes, a cell with states, a layer of layers, a layer without parameters
    for layer in (
        RNN(cells.dense, input=3, hidden=4),
        RNN(cells.dense, input=4, hidden=5),
        RNN(cells.elman, input=3, hidden=5),
        Stack([RNN(cells.dense, input=3, hidden=5)]),
        Stack([RNN(cells.running_max, input=3)]),
        RNN(cells.running_max, input=3),
    ):
        held = {f"bridge.h.{name}": value for name, value in layer.parameters.items()}
        kept = {n: a for n, a in arrays.items() if not n.startswith("bridge.h")}
        forged = changed(facts, ("bridges", "h"), layer_facts(layer))
        found = refused_of(tmp_path, kept | held, forged, EncoderDecoder.load)
        assert found == f"EncoderDecoder: the bridge {layer.name} does not map (3) to (5)"


def test_an_encoder_that_is_forged(tmp_path):
    arrays, facts = stored(pair)
    kept = {n: a for n, a in arrays.items() if not n.startswith("encoder.")}
    wider = rnn(cells.elman, 4, 6)
    held = {f"encoder.{name}": value for name, value in wider.parameters.items()}
    forged = facts | {"encoder": layer_facts(wider)}
    assert refused_of(tmp_path, kept | held, forged, EncoderDecoder.load) == (
        "EncoderDecoder: the bridge dense does not map (6) to (5)"
    )
    square = RNN(matrix, input=4, hidden=3)
    held = {f"encoder.{name}": value for name, value in square.parameters.items()}
    assert refused_of(tmp_path, kept | held, facts | {"encoder": layer_facts(square)}, EncoderDecoder.load)


# ---------------------------------------------------------------- nothing runs, and nothing hides in a message


def test_no_name_of_a_layer_becomes_code(tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    code = f"open({str(canary)!r}, 'w').write('sung')"
    attacks = [code, f'x"""\n{code}\n"""', f"x\n{code}", f"{{{code}}}", f"x, *, y={code}", "x\u2028y", "\x1b[2J\x1b]0;x\x07"]
    for build, load in ((everything, elman.load), (pair, EncoderDecoder.load)):
        arrays, facts = stored(build)
        texts = [path for path in places(facts) if in_structure(path) and "training" not in path]
        for attack in attacks:
            with nothing_runs(monkeypatch):
                for path in texts:
                    write(tmp_path / "forged", arrays, changed(facts, path, attack))
                    assert attempt(tmp_path / "forged", path, load) is None
                    write(tmp_path / "forged", arrays, changed(without(facts, path), (*path[:-1], attack), 1)
                          if isinstance(path[-1], str) else facts)  # fmt: skip
                    if isinstance(path[-1], str):
                        assert attempt(tmp_path / "forged", path, load) is None
                first = next(iter(arrays))
                held = {name: array for name, array in arrays.items() if name != first} | {attack: arrays[first]}
                write(tmp_path / "forged", held, facts)
                assert attempt(tmp_path / "forged", "array", load) is None
            assert not canary.exists(), attack


def test_messages_are_short_and_show_what_they_quote(tmp_path):
    arrays, facts = stored(everything)
    for text in ("\x1b[31m", "a\r\nb\u2028c", "\ud800", "x" * 10**6, "\u202e\x00", "\x1b" * 10**5):
        for path in (
            ("layers", "kind"),
            ("layers", "layers", 0, "merge"),
            ("readout", "name"),
            ("dtype",),
            ("layers", text),
        ):
            if path[-1] == "name" and text.isidentifier():
                continue
            message = refused_of(tmp_path, arrays, changed(facts, path, text))
            assert message.isprintable()
            assert len(message) < 1500
    for text in ("\x1b[31m", "x" * 10**6, "\ud800"):
        write(tmp_path / "forged", arrays, facts | {"format": text})
        message = messages(lambda: elman.load(tmp_path / "forged"))
        assert message.isprintable()
        assert len(message) < 1500
