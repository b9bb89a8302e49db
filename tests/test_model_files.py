"""Model files: what is saved comes back to the bit, writing is all or nothing, and nothing hostile gets through."""

import copy
import errno
import json
import keyword
import os
import re
import stat
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save, save_file

import elman
from elman import bias, cell, weight
from elman.io import safetensors
from elman.text import Vocabulary
from forging import (
    CODE,
    CUSTOM,
    HUGE,
    SOURCE,
    attempt,
    messages,
    nothing_runs,
    places,
    random,
    runs_like_a_model,
    tampered,
    without,
    write,
)

CELLS = ("elman", "gru", "gru_reset_before", "lstm")
TEXT = "the cat sat on the mat; the naïve 🙂 rat\n" * 3
TOKENS = np.array([[1, 2, 0, 3, 1, 4], [4, 4, 1, 0, 2, 2]])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def assert_same(one, other):
    """Same parameters, outputs, gradients and text of the program, to the bit."""
    assert one.parameters.keys() == other.parameters.keys()
    for name, value in one.parameters.items():
        assert value.dtype == other.parameters[name].dtype
        np.testing.assert_array_equal(value, other.parameters[name], err_msg=name)
    assert (one.rnn.graph, one.readout.graph) == (other.rnn.graph, other.readout.graph)
    assert (one.rnn.source, one.readout.source) == (other.rnn.source, other.readout.source)
    first, second = one.forward_propagation(TOKENS), other.forward_propagation(TOKENS)
    np.testing.assert_array_equal(first.logits, second.logits)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert first.state == second.state
    assert (one.bptt_truncate, one.vocabulary, one.training) == (other.bptt_truncate, other.vocabulary, other.training)
    (loss, gradients, _), (again, same, _) = (m.gradients(TOKENS, TOKENS[::-1]) for m in (one, other))
    assert loss == again
    for name, value in gradients.items():
        np.testing.assert_array_equal(value, same[name], err_msg=name)


# ---------------------------------------------------------------- there and back


@every_dtype
@pytest.mark.parametrize("name", CELLS)
def test_a_model_comes_back_to_the_bit(tmp_path, name, dtype):
    model = random(elman.Model(5, 7, 3, getattr(elman.cells, name), dtype=dtype))
    model.save(tmp_path / "model.safetensors")
    opened = elman.load(tmp_path / "model.safetensors")
    assert_same(model, opened)
    assert repr(opened) == repr(model)
    assert np.abs(model.forward_propagation(TOKENS).logits).max() > 0.1


@every_dtype
def test_a_custom_cell_opens_where_its_python_is_not(tmp_path, dtype):
    home = tmp_path / "home"
    home.mkdir()
    (home / "peculiar_cells.py").write_text(CUSTOM)
    code = f"""
import numpy as np
from peculiar_cells import build
model = build({dtype!r})
tokens = np.array({TOKENS.tolist()})
found = model.forward_propagation(tokens)
loss, gradients, _ = model.gradients(tokens, tokens[::-1])
model.save({str(tmp_path / "model.safetensors")!r})
np.savez({str(tmp_path / "expected.npz")!r}, y=found.a, logits=found.logits, loss=loss,
         **{{"d_" + n: g for n, g in gradients.items()}}, **{{"s_" + n: s for n, s in found.state.items()}})
"""
    environment = os.environ | {"PYTHONPATH": f"{SOURCE}{os.pathsep}{home}", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    (home / "peculiar_cells.py").unlink()
    with pytest.raises(ModuleNotFoundError):
        __import__("peculiar_cells")
    model = elman.load(tmp_path / "model.safetensors")
    found, expected = model.forward_propagation(TOKENS), np.load(tmp_path / "expected.npz")
    assert found.logits.dtype == dtype
    assert model.cell.name == "peculiar"
    assert model.cell.__doc__ == "A cell with a matrix for a state, numbers, slices, and an output that is no state."
    assert model.cell.sizes == ("input", "hidden", "slots")
    np.testing.assert_array_equal(found.a, expected["y"])
    np.testing.assert_array_equal(found.logits, expected["logits"])
    for name, value in found.state.items():
        np.testing.assert_array_equal(value, expected[f"s_{name}"])
    loss, gradients, _ = model.gradients(TOKENS, TOKENS[::-1])
    assert loss == expected["loss"]
    for name, value in gradients.items():
        np.testing.assert_array_equal(value, expected[f"d_{name}"], err_msg=name)
    # and what was opened is as good as what was saved: it saves the same bytes, and its cell takes other sizes
    model.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    wider = elman.RNN(model.cell, input=6, hidden=4, slots=5)
    assert wider(np.ones((3, 6)))[1].memory.shape == (4, 5)


def test_the_shipped_model_opens():
    model = elman.load(Path(elman.__file__).parent / "models" / "default.safetensors")
    assert model.vocabulary.encode("def").size == 3
    assert 0 < model.training["validation_bits_per_character"] < model.training["bigram_bits_per_character"]


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "subwords"])
def test_vocabularies_come_back(tmp_path, kind):
    vocabulary = Vocabulary.of_kind(kind, TEXT, 270 if kind == "subwords" else None)
    model = elman.Model(len(vocabulary), 3, vocabulary=vocabulary)
    model.save(tmp_path / "model")
    opened = elman.load(tmp_path / "model")
    assert opened.vocabulary == vocabulary
    assert opened.vocabulary.encode(TEXT).tolist() == vocabulary.encode(TEXT).tolist()
    np.testing.assert_array_equal(opened.forward_propagation(TEXT).logits, model.forward_propagation(TEXT).logits)
    assert opened.generate("the ", 20, seed=3) == model.generate("the ", 20, seed=3)


@pytest.mark.parametrize("unknown", [True, False])
def test_a_vocabulary_with_and_without_unknown(tmp_path, unknown):
    vocabulary = Vocabulary.characters("abc", unknown=unknown)
    elman.Model(len(vocabulary), 3, vocabulary=vocabulary).save(tmp_path / "model")
    assert elman.load(tmp_path / "model").vocabulary.unknown == (3 if unknown else None)


def test_training_facts_and_truncation_come_back(tmp_path):
    facts = {
        "corpus": "Ünïcode 🙂 \x00 \u2028",
        "bits": 1.5e-300,
        "steps": 2**70,
        "list": [1, None, True, {"a": []}],
        "": "",
    }
    for truncate in (None, 1, 40):
        model = elman.Model(5, 3, truncate)
        model.training = facts
        model.save(tmp_path / "model")
        assert elman.load(tmp_path / "model").training == facts
        assert elman.load(tmp_path / "model").bptt_truncate == truncate


def test_numbers_at_the_edge_come_back(tmp_path):
    model = elman.Model(5, 3, dtype="float64")
    model.update({"ba": [5e-324, -0.0, 1.7976931348623157e308]})
    model.save(tmp_path / "model")
    assert elman.load(tmp_path / "model").parameters["ba"].tobytes() == model.parameters["ba"].tobytes()


def test_arrays_that_are_not_contiguous_are_saved(tmp_path):
    model = elman.Model(5, 3)
    turned = np.arange(15.0).reshape(5, 3).T
    model.update({"wax": turned})
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(elman.load(tmp_path / "model").parameters["wax"], turned)


def test_equal_models_give_equal_bytes(tmp_path):
    def build(seed):
        model = elman.Model(5, 3, cell=elman.cells.lstm, seed=seed, vocabulary=Vocabulary.characters("abcd"))
        model.training = {"b": 1, "a": 2} if seed == 1 else {"a": 2, "b": 1}
        return model

    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(seed).save(tmp_path / name)
    elman.load(tmp_path / "a").save(tmp_path / "d")
    a, b, c, d = ((tmp_path / name).read_bytes() for name in "abcd")
    assert a == b == d != c


def test_a_new_process_writes_the_same_bytes(tmp_path):
    """Nothing hangs on the order of a set, or of a hash."""
    code = "import sys, elman; elman.Model(5, 3, cell=elman.cells.gru, seed=4).save(sys.argv[1])"
    for name in ("1", "2"):
        environment = os.environ | {"PYTHONPATH": SOURCE, "PYTHONHASHSEED": name}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], env=environment, check=True)
    elman.Model(5, 3, cell=elman.cells.gru, seed=4).save(tmp_path / "3")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes() == (tmp_path / "3").read_bytes()


def test_others_can_read_the_arrays(tmp_path):
    model = random(elman.Model(5, 3))
    model.save(tmp_path / "model")
    with safe_open(str(tmp_path / "model"), framework="numpy") as file:
        assert set(file.keys()) == set(model.parameters)
        assert list(file.metadata()) == ["elman"]
        assert json.loads(file.metadata()["elman"])["format"] == "elman model"
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(file.get_tensor(name), value)


# ---------------------------------------------------------------- names

MODULE = ("np", "t", "order", "sigmoid", "softmax", "loop", "before", "after", "prepare", "finish", "one_hot", "column_of")
BUILTIN = ("len", "range", "sum", "exec", "open", "print", "object", "__import__", "__builtins__", "__name__", "__doc__")
SOFT = (*keyword.softkwlist, "v0", "v1", "constant_0", "self", "x_all", "h_next", "h_", "ﬁ", "ℌ", "ª", "µ", "Å", "变量", "_")


def literal(p, x, h):
    """What the cell of the next function computes, step by step."""
    outputs = []
    for row in x:
        h = np.tanh(p[0] @ row + p[1] @ h + p[2]) * 0.5 + h / 4
        outputs.append(h)
    return np.array(outputs)


def named_cell(parameter, local, given, memory):
    """A cell with these names for a parameter, a local variable, the input and the state."""
    code = f"""
def f({given}, {memory}, *, {parameter}=weight("hidden", "input"), u2=weight("hidden", "hidden"), b2=bias("hidden")):
    {local} = tanh({parameter} @ {given} + u2 @ {memory} + b2)
    {local}2 = {local} * 0.5
    return {local}2 + {memory} / 4
"""
    space = {"weight": weight, "bias": bias, "tanh": elman.tanh}
    exec(code, space)
    return cell(space["f"], name="named")


@pytest.mark.parametrize("name", [*MODULE, *BUILTIN, *SOFT])
def test_any_name_runs_right_and_comes_back(tmp_path, name):
    """The names of the equations become names of emitted source; none may meet a name that the source needs."""
    rng = np.random.default_rng(2)
    p = [rng.normal(size=shape) for shape in ((3, 4), (3, 3), (3,))]
    x, h = rng.normal(size=(5, 4)), rng.normal(size=3)
    for place in range(4):
        names = ["w", "new", "x", "h"]
        names[place] = name
        made = named_cell(*names)
        rnn = elman.RNN(made, input=4, hidden=3, dtype="float64")
        rnn.update(dict(zip(rnn.parameters, p, strict=True)))
        y, state = rnn(x, (h,))
        np.testing.assert_allclose(y, literal(p, x, h), rtol=0, atol=1e-14)
        np.testing.assert_array_equal(next(iter(state.values())), y[-1])
        dy = rng.normal(size=y.shape)
        oracle = elman.RNN(made, input=4, hidden=3, dtype="float64", target="interpreter")
        oracle.update(dict(zip(oracle.parameters, p, strict=True)))
        ours, theirs = rnn.gradients(x, dy, (h,)), oracle.gradients(x, dy, (h,))
        for key, value in theirs.parameters.items():
            np.testing.assert_allclose(ours.parameters[key], value, rtol=0, atol=1e-13)
        model = elman.Model(4, 3, cell=made, dtype="float64")
        model.save(tmp_path / "model")
        opened = elman.load(tmp_path / "model")
        np.testing.assert_array_equal(opened.forward_propagation([1, 3]).a, model.forward_propagation([1, 3]).a)


def test_names_that_python_takes_for_one_are_two():
    """NFKC makes one identifier of these; the emitted source must not."""
    builder = elman.graph.Builder("lookalikes")
    x = builder.leaf("input", "x", (2,))
    h = builder.leaf("state", "h", (2,))
    one = builder.add("tanh", (x,), (), "ﬁ")
    two = builder.add("exp", (h,), (), "fi")
    both = builder.add("subtract", (one, two), (), "both")
    results = [elman.graph.Result("both", "output", both), elman.graph.Result("h", "state", both)]
    made = elman.from_graph(builder.finish(results))
    rnn = elman.RNN(made, dtype="float64")
    y, _ = rnn([[0.5, 1.0]], np.array([0.1, 0.2]))
    np.testing.assert_allclose(y, [np.tanh([0.5, 1.0]) - np.exp([0.1, 0.2])], rtol=0, atol=1e-15)


# ---------------------------------------------------------------- writing is all or nothing


@pytest.fixture
def old(tmp_path):
    """A folder with a model file that must stay whole, and a model that wants its place."""
    path = tmp_path / "model.safetensors"
    random(elman.Model(5, 3), 1).save(path)
    return path, path.read_bytes(), random(elman.Model(5, 3), 2)


def fail(error):
    def failing(*_, **__):
        raise error

    return failing


FULL, BROKEN = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError(errno.EIO, os.strerror(errno.EIO))


class Stuck:
    """A file that fails when so many bytes are in it."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: self.room])
        self.file.flush()
        raise FULL

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("error", [FULL, BROKEN, PermissionError(errno.EPERM, os.strerror(errno.EPERM))])
@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "os.chmod", "os.fdopen", "tempfile.mkstemp"])
def test_a_failure_leaves_the_old_file_whole(old, monkeypatch, call, error):
    path, data, model = old
    monkeypatch.setattr(call, fail(error))
    assert messages(lambda: model.save(path)) == f"{path} cannot be written: {error.strerror}"
    monkeypatch.undo()
    assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("room", [0, 1, 100, 2000])
def test_a_full_disk_leaves_the_old_file_whole(old, monkeypatch, room):
    path, data, model = old
    opened = os.fdopen
    monkeypatch.setattr("os.fdopen", lambda *arguments, **settings: Stuck(opened(*arguments, **settings), room))
    assert messages(lambda: model.save(path)) == f"{path} cannot be written: No space left on device"
    monkeypatch.undo()
    assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]
    assert_same(elman.load(path), random(elman.Model(5, 3), 1))


def test_ctrl_c_while_writing_leaves_the_old_file_whole(old, monkeypatch):
    path, data, model = old
    for call in ("os.fsync", "os.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(call, fail(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                model.save(path)
        assert path.read_bytes() == data
        assert list(path.parent.iterdir()) == [path]


def test_a_real_limit_of_the_system(old):
    """Not simulated: the process may not write files of more than 1000 bytes."""
    path, data, _ = old
    code = (
        "import resource, signal, sys, elman\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: elman.Model(50, 30).save(sys.argv[1])\n"
        "except elman.ModelFileError as error: print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == f"{path} cannot be written: File too large\n"
    assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_what_is_written_is_on_disk_before_it_takes_the_place(old, monkeypatch):
    """And then its new name is, too, which stands in the folder."""
    path, data, model = old
    done, fsync, replace = [], os.fsync, os.replace

    def flushed(handle):
        found = os.fstat(handle)
        done.append(("folder", None) if stat.S_ISDIR(found.st_mode) else ("fsync", found.st_size))
        fsync(handle)

    def renamed(source, target):
        assert Path(target).read_bytes() == data
        assert Path(source).parent == path.parent
        done.append(("replace", Path(source).stat().st_size))
        replace(source, target)

    monkeypatch.setattr("os.fsync", flushed)
    monkeypatch.setattr("os.replace", renamed)
    model.save(path)
    size = path.stat().st_size
    assert done == [("fsync", size), ("replace", size), ("folder", None)]
    assert_same(elman.load(path), model)


def test_a_reader_never_sees_half(tmp_path):
    path = tmp_path / "model"
    models = [random(elman.Model(5, 3), seed) for seed in (1, 2)]
    models[0].save(path)
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(float(elman.load(path).parameters["ba"][0]))

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(20):
        models[k % 2].save(path)
    stop.set()
    reader.join()
    assert seen <= {float(model.parameters["ba"][0]) for model in models}
    assert seen


def test_permissions_are_those_of_a_new_or_the_old_file(old):
    path, _, model = old
    mask = os.umask(0o027)
    try:
        model.save(path.parent / "new")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((path.parent / "new").stat().st_mode) == 0o640
    path.chmod(0o604)
    model.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_link_stays_and_its_file_is_replaced(old):
    path, _, model = old
    link = path.parent / "latest"
    link.symlink_to(path.name)
    model.save(link)
    assert link.is_symlink()
    assert_same(elman.load(path), model)


def test_places_that_cannot_be_written(old, monkeypatch):
    path, data, model = old
    folder = path.parent
    no = "cannot be written"
    assert messages(lambda: model.save(folder)) == f"{folder} {no}: it is a folder; name a file"
    assert messages(lambda: model.save(folder / "a" / "b")) == f"{folder}/a/b {no}: the folder {folder}/a does not exist"
    assert messages(lambda: model.save(path / "b")) == f"{path}/b {no}: the folder {path} does not exist"
    assert messages(lambda: model.save("/dev/null")) == f"/dev/null {no}: it is a device or a pipe; name a file"
    os.mkfifo(folder / "pipe")
    assert messages(lambda: model.save(folder / "pipe")) == f"{folder}/pipe {no}: it is a device or a pipe; name a file"
    said = messages(lambda: model.save("a\0b"))  # the words after the colon are those of the Python that runs
    assert f"b {no}: " in said
    assert "embedded null" in said
    long = folder / ("a" * 300)
    assert messages(lambda: model.save(long)) == f"{long} {no}: File name too long"
    (folder / "pipe").unlink()
    assert list(folder.iterdir()) == [path]
    model.save(folder / ("ä" * 125))  # 250 bytes: the temporary file's name must not be longer than this one
    assert_same(elman.load(folder / ("ä" * 125)), model)
    assert path.read_bytes() == data


def test_an_unwritable_folder(old):
    path, _, model = old
    path.parent.chmod(0o555)
    try:
        if os.access(path.parent, os.W_OK):
            pytest.skip("who runs this may write everywhere")
        assert messages(lambda: model.save(path)) == f"{path} cannot be written: Permission denied"
    finally:
        path.parent.chmod(0o755)


@pytest.mark.parametrize("fact", [float("nan"), float("inf"), np.float32(1), object(), {1, 2}, b"bytes"])
def test_facts_that_are_no_plain_data(old, fact):
    path, data, model = old
    model.training = {"fact": fact}
    assert messages(lambda: model.save(path)).startswith(f"{path} cannot be written: its facts are no plain data for JSON (")
    assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


# ---------------------------------------------------------------- damaged files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a good model file, and where its header ends."""
    path = tmp_path_factory.mktemp("whole") / "model"
    model = random(elman.Model(5, 3, vocabulary=Vocabulary.characters("abcd")))
    model.training = {"bits": 1.5}
    model.save(path)
    data = path.read_bytes()
    return data, 8 + struct.unpack("<Q", data[:8])[0]


def test_missing_files(tmp_path):
    assert messages(lambda: elman.load(tmp_path / "no")) == f"{tmp_path}/no: there is no such file"
    assert messages(lambda: elman.load(tmp_path)) == f"{tmp_path} is a folder; a model file is wanted"
    assert messages(lambda: elman.load("a\0b")).endswith("b: there is no such file")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert messages(lambda: elman.load(tmp_path / "dangling")) == f"{tmp_path}/dangling: there is no such file"


def test_a_truncated_file_is_refused_at_every_length(tmp_path, whole):
    data, header = whole
    lengths = {*range(20), *range(header - 5, header + 5), *range(0, len(data), 17), len(data) - 1}
    for length in sorted(lengths):
        (tmp_path / "cut").write_bytes(data[:length])
        text = messages(lambda: elman.load(tmp_path / "cut"))
        assert text.startswith(f"{tmp_path}/cut is truncated, damaged or no safetensors file ("), length
    (tmp_path / "cut").write_bytes(data + b"\0")
    assert "is truncated, damaged" in messages(lambda: elman.load(tmp_path / "cut"))


def test_flipped_bits_never_do_worse_than_an_error(tmp_path, whole):
    data, header = whole
    rng = np.random.default_rng(3)
    opened = 0
    for k in range(800):
        damaged = bytearray(data)
        for _ in range(1 + k % 3):
            place = int(rng.integers(header if k % 4 else len(data)))
            damaged[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "flipped").write_bytes(bytes(damaged))
        if model := attempt(tmp_path / "flipped", k):
            opened += 1
            runs_like_a_model(model, k)
    assert 10 < opened < 300


def test_damaged_weights_are_refused(tmp_path, whole):
    data, header = whole
    for bits in (b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\xff\xff"):  # NaN, infinity, NaN
        (tmp_path / "nan").write_bytes(data[:header] + bits + data[header + 4 :])
        text = messages(lambda: elman.load(tmp_path / "nan"))
        assert re.fullmatch(
            rf"{tmp_path}/nan: this is not a whole model: \w+: \w+ holds NaN or infinity \(first at .*, as float32\)",
            text,
        )


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 8, b"\0" * 100, b"\xff" * 100, b"PK\x03\x04" + b"\0" * 99, b"\x80\x04\x95" + b"." * 99, b"{}",
     b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]", b"\x04\0\0\0\0\0\0\0null", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"],
)  # fmt: skip
def test_what_is_no_model_at_all(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    text = messages(lambda: elman.load(tmp_path / "file"))
    assert "is truncated, damaged or no safetensors file (" in text or "but not a model of elman" in text


def test_foreign_safetensors_are_named_as_such(tmp_path):
    arrays = {"weight": np.zeros((2, 3), np.float32)}
    for metadata in (None, {"format": "pt"}):
        save_file(arrays, tmp_path / "foreign", metadata=metadata)
        assert messages(lambda: elman.load(tmp_path / "foreign")) == (
            f"{tmp_path}/foreign is a safetensors file, but not a model of elman: its metadata has no 'elman' entry"
        )
    cases = {
        "": "its metadata cannot be read (Expecting value: line 1 column 1 (char 0))",
        "[1, 2]": "its metadata is not an object",
        "{}": "format None version None; 'elman model' version 1 is read",
        '{"format": "elman model", "version": 99}': "format 'elman model' version 99; 'elman model' version 1 is read",
        '{"format": "elman model", "version": 1}': "this is not a whole model: 'layers' is missing",
        "[" * 100_000: "its metadata cannot be read (maximum recursion depth exceeded",
        "9" * 5000: "its metadata cannot be read (Exceeds the limit",
    }
    for text, message in cases.items():
        save_file(arrays, tmp_path / "foreign", metadata={"elman": text})
        assert messages(lambda: elman.load(tmp_path / "foreign")).startswith(f"{tmp_path}/foreign: {message}"), text[:50]


# ---------------------------------------------------------------- hostile files


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Arrays and facts of three good files."""
    folder, space = tmp_path_factory.mktemp("good"), {}
    exec(CUSTOM, space)
    models = [elman.Model(5, 3), elman.Model(5, 4, cell=elman.cells.lstm), space["build"]("float32")]
    found = []
    for model in models:
        model.vocabulary = Vocabulary.characters("abcd")
        model.training = {"bits": 1.5, "corpus": "x"}
        model.save(folder / "model")
        found.append(safetensors.read(folder / "model"))
    return found


CELL = ("layers", "graph")
"""Where the graph of the cell stands."""

HOSTILE = {
    # what is there has another type
    "layers": [None, 1, "x", [], {}, [[]]],
    "readout": [None, {}, []],
    "dtype": ["float16", "int32", "object", "O", None, 7, [], CODE],
    "bptt_truncate": [0, -1, 1.5, "4", True, [], HUGE * 10**100],
    "vocabulary": [
        7,
        "x",
        [],
        {},
        {"kind": "runes"},
        {"kind": "bytes"},
        {"kind": "characters", "symbols": ["a"], "unknown": None},
    ],
    "once": [None, 0, 1, "x", [], {}, "False", True],
    "tokens": [None, 0, 1, "x", [], {}, "True", False],
    "training": [None, [], "x", 1, [["a", 1]]],
    "version": [None, 0, 2, "1", True * 2],
    "format": [None, "", "onnx"],
}
HOSTILE_CELL = {
    "name": ["", "a b", "a-b", "1a", 'x"""\nimport os\n"""', "a\nb", "\x00", CODE, None, 3, "{0}", "a\\"],
    "sizes": [None, {}, {"hidden": HUGE, "input": 5}, {"hidden": 3, "input": HUGE}, {"hidden": -3, "input": 5},
              {"hidden": "3", "input": []}, {"hidden": 0, "input": 5}, {"hidden": 1e999, "input": 5}, {"hidden": 3}],
    "nodes": [None, [], {}, "x", [[]], [{}], [None]],
    "results": [None, [], {}, [{}], [None], "x"],
}  # fmt: skip
X, A, WAX, WAA, BA, MULAX, MULAA, SUM, ADD, NEW = range(10)
HOSTILE_NODES = [
    (ADD, "gate", ["", "exec", "__init__", "Tanh", None, 3, [], "token_", CODE, "lookup", "total", "detach", "scatter"]),
    (ADD, "inputs", [[], [99], [8], [-1], [9, 4], [1.5, "a"], None, "ab", [None], [[0]], [HUGE, 0]]),
    (MULAX, "inputs", [[0, 2], [2, 1], [2], [2, 0, 0], [5, 0]]),
    (ADD, "name", ["a b", "import", "class", "None", "1x", "a.b", "x;y", CODE, "x\n", "a,b", "\u2028", 7, [], "a\x00"]),
    (WAX, "name", ["", "lambda", "True", "a b", CODE, "waa", "x", None, 5]),
    (X, "name", ["", "def", "x y", None, CODE]),
    (A, "name", ["", "yield", "b", None]),
    (X, "shape", [[], [HUGE], [0], [-5], ["nowhere"], [5, 5], None, 5, "input", [[5]], [1.5], [None], ["2*", "input"]]),
    (A, "shape", [[HUGE], [0], [4], ["input"], [3, 3], [], None]),
    (WAX, "shape", [[3], [5, 3], [HUGE, HUGE], [3, 5, 1], [0, 0], [], None, ["hidden", "hidden"]]),
    (BA, "shape", [[HUGE], ["input"], [1], []]),
    (NEW, "attributes", [{"x": 1}, {"start": 0}, {"axis": -1}, {CODE: 1}, [1], "x", 7, {"x": {"y": 1}}, {"x": [[1]]}]),
]  # fmt: skip
HOSTILE_RESULTS = [
    ("node", [99, -1, 1.5, None, "a", [], HUGE, 0, 2]),
    ("name", ["b", "", None]),
    ("role", ["sum", "Output", "", None, "state_"]),
]


def every_attack(good):
    """All of the tables above, one change a file."""
    for key, values in HOSTILE.items():
        for value in values:
            yield f"{key}={value!r}", tampered(good, key, value)
    for key, values in HOSTILE_CELL.items():
        for value in values:
            yield f"cell.{key}={value!r}", tampered(good, *CELL, key, value)
    for node, key, values in HOSTILE_NODES:
        for value in values:
            yield f"node {node}.{key}={value!r}", tampered(good, *CELL, "nodes", node, key, value)
    for key, values in HOSTILE_RESULTS:
        for value in values:
            for result in (0, 1):
                yield f"result {result}.{key}={value!r}", tampered(good, *CELL, "results", result, key, value)


def every_lack(good):
    """One entry less a file."""
    arrays, facts = good[0]
    for key in facts:
        yield f"no {key}", (arrays, without(facts, (key,)))
    for part in (CELL, ("readout",)):
        for key in ("sizes", "name", "notes", "nodes", "results"):
            yield f"no {part}.{key}", (arrays, without(facts, (*part, key)))
    for key in ("kind", "graph", "learn_initial", "recurrent_dropout"):
        yield f"no layers.{key}", (arrays, without(facts, ("layers", key)))


FINE = {"once=True", "tokens=False", "result 0.name='b'", f"bptt_truncate={HUGE * 10**100}"}
"""Changes that leave a model, another one."""


def test_hostile_facts_are_refused(tmp_path, good, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused, opened = 0, set()
    with nothing_runs(monkeypatch):
        for what, (arrays, facts) in (*every_attack(good), *every_lack(good)):
            write(tmp_path / "hostile", arrays, facts)
            if model := attempt(tmp_path / "hostile", what):
                runs_like_a_model(model, what)
                opened.add(what)
            else:
                refused += 1
    assert refused > 200
    assert opened == FINE
    assert not (tmp_path / "canary").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["hostile"]


def test_a_name_cannot_become_code(tmp_path, good, monkeypatch):
    """Whatever stands in a file as a name: nothing of it is run, neither when it is opened nor when the model runs."""
    canary = tmp_path / "canary"
    code = f"open({str(canary)!r}, 'w').write('sung')"
    attacks = [
        f'x"""\n{code}\n"""', f"x'''\n{code}\n'''", f"x\n{code}", f"x; {code}", f"{{{code}}}", f"x\\\n{code}", code,
        f"x, *, y={code}", f"x=({code})", f"x:{code}", f"x)\n    {code}\n", "x\u2028y", "x\x0cy",
    ]  # fmt: skip
    for attack in attacks:
        changes = [(*CELL, "name", attack), (*CELL, "notes", attack), ("readout", "name", attack), ("dtype", attack)]
        changes += [(*CELL, "nodes", node, "name", attack) for node in (X, A, WAX, MULAX, NEW)]
        changes += [(*CELL, "results", 0, "name", attack), (*CELL, "nodes", ADD, "gate", attack)]
        changes += [(*CELL, "sizes", {"input": 5, "hidden": 3, attack: 2}), ("training", {attack: attack})]
        changes += [("layers", "kind", attack), ("layers", "learn_initial", attack), ("layers", attack, attack)]
        for change in changes:
            arrays, facts = tampered(good, *change)
            write(tmp_path / "hostile", arrays, facts)
            if model := attempt(tmp_path / "hostile", change):
                runs_like_a_model(model, change)
            assert not canary.exists(), change
        renamed = {name if name != "wax" else attack: array for name, array in good[0][0].items()}
        _, facts = tampered(good, *CELL, "nodes", WAX, "name", attack)
        write(tmp_path / "hostile", renamed, facts)
        assert "is not a name" in messages(lambda: elman.load(tmp_path / "hostile"))


def test_random_changes_of_the_facts(tmp_path, good, monkeypatch):
    """Many small changes, drawn at random: an error of ours, or a model that runs."""
    values = [
        None, True, False, 0, -1, 1, 2, 3, 10**6, HUGE, "y", "z", "a note",
        1.5, 1e300, "", "x", "np", "import", "hidden", "tanh", "constant", "input",
        CODE, [], [0], [-1], [0, 0], [[[[]]]], {}, {"a": 1}, [1, 2, 3], "inf", "nan", "state", "output", "multiply",
        "product", "slice", "expand", "lookup", "pad", "concatenate", "transpose", "outer", "softmax", "exp", "negate",
    ]  # fmt: skip
    rng = np.random.default_rng(5)

    opened = refused = 0
    with nothing_runs(monkeypatch):
        for k in range(2000):
            arrays, facts = good[k % 3]
            facts = copy.deepcopy(facts)
            chosen = list(places(facts))
            for _ in range(1 + k % 2):
                *path, last = chosen[rng.integers(len(chosen))]
                place = facts
                try:
                    for key in path:
                        place = place[key]
                    if rng.random() < 0.2:
                        del place[last]
                    else:
                        place[last] = values[rng.integers(len(values))]
                except (KeyError, IndexError, TypeError):
                    continue  # the change before took it away
            write(tmp_path / "hostile", arrays, facts)
            if model := attempt(tmp_path / "hostile", json.dumps(facts)):
                opened += 1
                runs_like_a_model(model, json.dumps(facts))
            else:
                refused += 1
    assert opened > 20
    assert refused > 1500


TAKES = {"sigmoid": 1, "tanh": 1, "exp": 1, "negate": 1, "softmax": 1, "add": 2, "maximum": 2, "where": 3}


@pytest.mark.parametrize(
    ("gate", "count"),
    [(gate, count) for gate, wanted in TAKES.items() for count in range(5)],
)
def test_a_gate_takes_as_many_inputs_as_it_has(tmp_path, good, gate, count):
    """np.tanh(x, y) writes into y: a gate with one input too many would change the weights."""
    arrays, facts = tampered(good, *CELL, "nodes", ADD, "gate", gate)
    facts["layers"]["graph"]["nodes"][ADD]["inputs"] = [MULAX, MULAA, MULAX, MULAA][:count]
    write(tmp_path / "model", arrays, facts)
    if count == TAKES[gate]:
        runs_like_a_model(elman.load(tmp_path / "model"), gate)
    else:
        assert "this is not a whole model" in messages(lambda: elman.load(tmp_path / "model"))


READ = ("hidden", "output")


def test_sizes_that_fill_the_memory_are_refused_first(tmp_path, good, monkeypatch):
    with nothing_runs(monkeypatch, limit=1 << 28):
        for path in ((*CELL, "sizes", "hidden"), (*CELL, "sizes", "input"), *(("readout", "sizes", n) for n in READ)):
            for size in (10**9, HUGE, 2**63, 10**30):
                arrays, facts = tampered(good, *path, size)
                write(tmp_path / "huge", arrays, facts)
                assert "this is not a whole model" in messages(lambda: elman.load(tmp_path / "huge"))


def chain(length, twice):
    """A graph of a chain of gates, each used once or twice by the next, without a name."""
    nodes = [{"gate": "input", "name": "x", "shape": ["input"]}, {"gate": "state", "name": "a", "shape": ["input"]}]
    nodes.append({"gate": "add", "inputs": [0, 1]})
    for k in range(length):
        nodes.append({"gate": "add", "inputs": [k + 2, k + 2]} if twice else {"gate": "tanh", "inputs": [k + 2]})
    last = len(nodes) - 1
    results = [{"name": "y", "role": "output", "node": last}, {"name": "a", "role": "state", "node": last}]
    return {"name": "chain", "notes": "", "sizes": {"input": 5}, "nodes": nodes, "results": results}


def chained(good, length, twice):
    arrays, facts = copy.deepcopy(good[0])
    arrays = {"wya": np.zeros((5, 5), np.float32), "by": arrays["by"]}
    facts["layers"]["graph"] = chain(length, twice)
    facts["readout"]["sizes"]["hidden"] = 5
    return arrays, facts


@pytest.mark.parametrize("length", [10, 150, 2000])
def test_a_long_chain_of_gates(tmp_path, good, length):
    write(tmp_path / "chain", *chained(good, length, twice=False))
    model = elman.load(tmp_path / "chain")
    y, expected = model.forward_propagation([0]).a[0], np.eye(5, dtype=np.float32)[0]
    for _ in range(length):
        expected = np.tanh(expected)
    np.testing.assert_allclose(y, expected, rtol=1e-4)


@pytest.mark.parametrize("length", [5, 40])
def test_a_value_used_twice_is_not_written_twice(tmp_path, good, length):
    """Forty doublings: written out they would be a terabyte, in the printed graph as in a message."""
    arrays, facts = chained(good, length, twice=True)
    write(tmp_path / "chain", arrays, facts)
    with pytest.MonkeyPatch.context() as patch, nothing_runs(patch, limit=1 << 28):
        model = elman.load(tmp_path / "chain")
        assert model.forward_propagation([1]).a[0, 1] == 2.0**length
        assert len(str(model.rnn.graph)) < 100 * length
        facts["layers"]["graph"]["nodes"].append({"gate": "product", "inputs": [length, length]})
        write(tmp_path / "chain", arrays, facts)
        assert len(messages(lambda: elman.load(tmp_path / "chain"))) < 10_000


def test_deep_data_is_refused(tmp_path, good):
    for depth in (100, 900, 50_000):
        for key in ("training", "vocabulary", "once", "tokens", "layers", "readout", "bptt_truncate", "dtype"):
            arrays, facts = copy.deepcopy(good[0])
            facts[key] = "DEEP"
            text = json.dumps(facts).replace('"DEEP"', "[" * depth + "]" * depth)
            (tmp_path / "deep").write_bytes(save(arrays, metadata={"elman": text}))
            messages(lambda: elman.load(tmp_path / "deep"))
        arrays, facts = tampered(good, *CELL, "nodes", MULAX, {"gate": "constant", "attributes": {"value": "DEEP"}})
        text = json.dumps(facts).replace('"DEEP"', "[" * depth + "]" * depth)
        (tmp_path / "deep").write_bytes(save(arrays, metadata={"elman": text}))
        messages(lambda: elman.load(tmp_path / "deep"))


SPAN = [("start", "stop"), [(-3, -1), (-1, 3), (0, 99), (2, 1), (0, 0), (3, 3), (1.5, 2), ("a", "b"), (None, 2), (0, HUGE)]]


@pytest.mark.parametrize("span", SPAN[1])
def test_slices_outside_are_refused(tmp_path, good, span):
    arrays, facts = copy.deepcopy(good[0])
    nodes = facts["layers"]["graph"]["nodes"]
    nodes[ADD] = {"gate": "slice", "inputs": [SUM], "attributes": dict(zip(SPAN[0], span, strict=True))}
    write(tmp_path / "slice", arrays, facts)
    assert "this is not a whole model" in messages(lambda: elman.load(tmp_path / "slice"))


@pytest.mark.parametrize(
    "value", ["nan", "NaN", [1, "nan", 3], "x", None, {}, [[1, 2], [3]], [[1, 2], [3, 4]], [1, 2], [], True, [HUGE] * 4]
)
def test_constants_that_do_not_fit_are_refused(tmp_path, good, value):
    arrays, facts = copy.deepcopy(good[0])
    facts["layers"]["graph"]["nodes"][MULAX] = {"gate": "constant", "attributes": {"value": value}}
    write(tmp_path / "constant", arrays, facts)
    assert "this is not a whole model" in messages(lambda: elman.load(tmp_path / "constant"))


# ---------------------------------------------------------------- tensors that do not belong


def with_arrays(tmp_path, good, **changes):
    arrays, facts = good[0]
    changed = {name: array for name, array in (arrays | changes).items() if array is not None}
    write(tmp_path / "model", changed, facts)
    return messages(lambda: elman.load(tmp_path / "model")).removeprefix(f"{tmp_path}/model: this is not a whole model: ")


def test_missing_and_additional_tensors(tmp_path, good):
    assert with_arrays(tmp_path, good, ba=None) == "the parameter ba is missing"
    assert with_arrays(tmp_path, good, wya=None, ba=None) == "the parameter ba is missing"
    assert with_arrays(tmp_path, good, extra=np.zeros(3, np.float32)) == "its equations have no parameter extra"


def test_wrong_shapes(tmp_path, good):
    want = "its equations want"
    assert with_arrays(tmp_path, good, ba=np.zeros(4, np.float32)) == f"ba is (4), {want} (hidden=3)"
    assert with_arrays(tmp_path, good, wax=np.zeros((5, 3), np.float32)) == f"wax is (5, 3), {want} (hidden=3, input=5)"
    assert with_arrays(tmp_path, good, wax=np.zeros(15, np.float32)) == f"wax is (15), {want} (hidden=3, input=5)"
    assert with_arrays(tmp_path, good, by=np.zeros((), np.float32)) == f"by is (), {want} (output=5)"


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "int64", "uint8", "bool", "complex64"])
def test_wrong_types(tmp_path, good, dtype):
    assert with_arrays(tmp_path, good, ba=np.zeros(3, dtype)) == f"ba holds {dtype}, the model is of float32"


def test_types_that_numpy_lacks(tmp_path, good):
    arrays, facts = good[0]
    data = save(dict(arrays), metadata={"elman": json.dumps(facts)})
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    for dtype, size in (("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1), ("X9", 4)):
        offset = 0
        for name in header:
            if name != "__metadata__":
                count = int(np.prod(header[name]["shape"]))
                header[name] |= {"dtype": dtype, "data_offsets": [offset, offset + count * size]}
                offset += count * size
        text = json.dumps(header).encode()
        (tmp_path / "model").write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))
        message = messages(lambda: elman.load(tmp_path / "model"))  # another library may have taught NumPy the type
        assert "is truncated, damaged or no safetensors file" in message or ", the model is of float32" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(tmp_path, good, value):
    text = with_arrays(tmp_path, good, waa=np.array([[1, 2, 3], [4, value, 6], [7, 8, 9]], np.float32))
    assert text == "elman: waa holds NaN or infinity (first at (1, 1), as float32)"
    text = with_arrays(tmp_path, good, by=np.array([1, 2, 3, 4, value], np.float32))
    assert text == "readout: by holds NaN or infinity (first at (4,), as float32)"


# ---------------------------------------------------------------- parts that do not fit together


def refused(tmp_path, good, *change):
    arrays, facts = tampered(good, *change)
    write(tmp_path / "model", arrays, facts)
    return messages(lambda: elman.load(tmp_path / "model")).removeprefix(f"{tmp_path}/model: this is not a whole model: ")


def test_messages_say_what_is_wrong(tmp_path, good):
    assert refused(tmp_path, good, "vocabulary", Vocabulary.characters("abc").to_json()) == (
        "Model: word_dim=5, but the vocabulary has 4 symbols"
    )
    assert refused(tmp_path, good, *CELL, "results", []).endswith("states a get no new value")
    assert refused(tmp_path, good, "readout", "results", []) == "readout: 1 inputs and 0 outputs; a cell has one of each"
    assert refused(tmp_path, good, *CELL, "nodes", ADD, "gate", "exec").startswith(
        "there is no gate 'exec'; gates are add, "
    )
    assert refused(tmp_path, good, *CELL, "nodes", ADD, "inputs", [8]) == "node 8 (add): inputs [8] must come before it"
    assert (
        refused(tmp_path, good, *CELL, "nodes", ADD, "inputs", [99, 1]) == "node 8 (add): inputs [99, 1] must come before it"
    )
    assert refused(tmp_path, good, *CELL, "nodes", ADD, "name", "class") == "elman: node 8 (add): 'class' is not a name"
    assert refused(tmp_path, good, *CELL, "sizes", "hidden", 4) == "ba is (3), its equations want (hidden=4)"
    assert refused(tmp_path, good, "readout", "sizes", "output", 4) == "by is (5), its equations want (output=4)"
    assert refused(tmp_path, good, "training", []) == "training is list, dict is wanted"
    assert refused(tmp_path, good, "tokens", 1) == "tokens is int, bool is wanted"
    assert refused(tmp_path, good, "dtype", "float16") == "dtype float16 is not supported; it is float32 or float64"
    assert refused(tmp_path, good, "bptt_truncate", 0) == "bptt_truncate=0 must be a number of steps, 1 or more, or None"


def test_the_parts_of_another_model_do_not_fit(tmp_path, good):
    arrays, facts = good[0]
    other_arrays, other = good[1]
    write(tmp_path / "model", arrays, other)
    assert "this is not a whole model" in messages(lambda: elman.load(tmp_path / "model"))
    write(tmp_path / "model", other_arrays, facts)
    assert "this is not a whole model" in messages(lambda: elman.load(tmp_path / "model"))
    write(tmp_path / "model", arrays, facts | {"readout": facts["layers"]["graph"]})
    assert "this is not a whole model" in messages(lambda: elman.load(tmp_path / "model"))
    write(tmp_path / "model", arrays, facts | {"layers": facts["layers"] | {"graph": facts["readout"]}})
    assert "this is not a whole model" in messages(lambda: elman.load(tmp_path / "model"))
