"""Files of torch.save are read without PyTorch: tensors and plain containers, and nothing in them runs."""

import pickle
import zipfile

import numpy as np
import pytest

import torch_files
from elman.io import pytorch, torch_zip
from forging import attempt, messages, nothing_runs
from torch_files import mapping, named, number, tensor, text, write


def arrays():
    rng = np.random.default_rng(0)
    return {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=5).astype("f4"), "n": rng.integers(0, 99, (2, 1, 2))}


def test_arrays_come_as_they_were(tmp_path):
    found = torch_zip.read(write(tmp_path / "w.pt", arrays()))
    assert list(found) == ["w", "b", "n"]
    for name, array in arrays().items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_view_is_read_with_its_steps(tmp_path):
    w = arrays()["w"]
    opcodes = mapping(
        {"t": tensor("0", w, shape=(4, 3), strides=(1, 4)), "part": tensor("0", w, shape=(2,), strides=(4,), offset=5)}
    )
    found = torch_zip.read(write(tmp_path / "w.pt", {"w": w}, opcodes))
    np.testing.assert_array_equal(found["t"], w.T)
    np.testing.assert_array_equal(found["part"], w[1:, 1])


def test_halves_are_widened(tmp_path):
    half = np.array([1.5, -2.25, 3e-5], "f2")
    found = torch_zip.read(write(tmp_path / "w.pt", {"h": half}))["h"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, half)
    brain = np.array([1.0, -3.140625], "f4")
    upper = (brain.view("u4") >> 16).astype("u2")
    opcodes = mapping({"h": tensor("0", upper, kind="BFloat16Storage")})
    np.testing.assert_array_equal(torch_zip.read(write(tmp_path / "w.pt", {"h": upper}, opcodes))["h"], brain)


class Canary:
    def __reduce__(self):
        import os

        return os.system, ("touch canary",)


HOSTILE = {
    "a call of os.system": (named("os", "system") + b"(" + text("touch canary") + b"tR", "calls 'os.system'"),
    "eval": (named("builtins", "eval") + b"(" + text("1") + b"tR", "calls 'builtins.eval'"),
    "a call of the canary": (named("elman", "the_canary") + b")R", "calls 'elman.the_canary'"),
    "a module": (named("torch.nn.modules.rnn", "LSTM") + b")\x81", "calls 'torch.nn.modules.rnn.LSTM'"),
    "an instance": (b"(" + text("touch canary") + b"ios\nsystem\n", "the opcode INST 'os system'"),
    "an extension": (b"\x82\x01", "the opcode EXT1"),
    "state of a global": (named("os", "system") + b"}b", "sets attributes of a _Global"),
    "items of a tuple": (b")" + text("a") + text("b") + b"s", "puts items into what is no dict"),
    "append to a dict": (b"}" + text("a") + b"a", "appends to what is no list"),
    "a storage of objects": (b"(" + text("storage") + named("builtins", "list")
                             + text("0") + text("cpu") + number(1) + b"tQ", "wants a storage of 'builtins.list'"),
    "a tensor of a text": (named("torch._utils", "_rebuild_tensor_v2") + b"(" + text("0") + number(0) + b"))t\x52",
                           "makes a tensor of what is no storage"),
    "nothing on the stack": (b"\x87\x87", "takes more from the stack than there is"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_is_called(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    opcodes, told = HOSTILE[case]
    path = write(tmp_path / "w.pt", {"w": np.zeros(3)}, mapping({"w": opcodes}))
    with nothing_runs(monkeypatch):
        assert told in messages(lambda: pytorch.load(path))
    assert not (tmp_path / "canary").exists()


def test_a_pickle_of_python_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = pickle.dumps({"w": Canary()}, protocol=2)[2:-1]
    path = write(tmp_path / "w.pt", {}, body)
    told = "system', which is not done; only tensors and plain containers are read; of a whole module, save its state_dict()"
    assert told in messages(lambda: torch_zip.read(path))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("module", ["__main__", "torch.nn.modules.rnn", "__torch__.torch.nn.modules.rnn"])
def test_a_whole_module_is_told_to_be_one(tmp_path, module):
    path = write(tmp_path / "w.pt", {}, named(module, "Net") + b")R")
    told = f"its pickle calls '{module}.Net', which is not done; save the module's state_dict()"
    assert told in messages(lambda: torch_zip.read(path))


LIES = {
    "a longer tensor": {"shape": (13,), "strides": (1,)},
    "an offset": {"offset": 1},
    "a negative offset": {"offset": -1},
    "steps too long": {"strides": (5, 1)},
    "negative steps": {"strides": (-4, 1)},
    "one number a million times": {"shape": (1000, 1000), "strides": (0, 0)},
}


@pytest.mark.parametrize("case", LIES)
def test_tensors_lie_within_their_storage(tmp_path, case):
    w = arrays()["w"]
    path = write(tmp_path / "w.pt", {"w": w}, mapping({"w": tensor("0", w, **LIES[case])}))
    assert "lies outside of its storage of 12 numbers" in messages(lambda: torch_zip.read(path))


def test_storages_are_as_long_as_they_say(tmp_path):
    w = arrays()["w"]
    path = write(tmp_path / "w.pt", {"w": w}, mapping({"w": tensor("0", w, count=11)}))
    assert "storage 0 has 96 bytes; 11 of float64 are wanted" in messages(lambda: torch_zip.read(path))


def test_a_compressed_file_is_none_of_torch_save(tmp_path):
    path = write(tmp_path / "w.pt", arrays(), compression=zipfile.ZIP_DEFLATED)
    assert "byteorder is compressed" in messages(lambda: torch_zip.read(path))


def test_a_truncated_or_damaged_file_is_refused_or_read_alike(tmp_path):
    path = write(tmp_path / "w.pt", arrays())
    whole, cut = path.read_bytes(), tmp_path / "cut.pt"
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        messages(lambda: torch_zip.read(cut))
    rng = np.random.default_rng(0)
    for _ in range(300):
        at = int(rng.integers(len(whole)))
        cut.write_bytes(whole[:at] + bytes([int(rng.integers(256))]) + whole[at + 1 :])
        attempt(cut, "damaged", load=torch_zip.read)


def test_other_files(tmp_path):
    assert "there is no such file" in messages(lambda: torch_zip.read(tmp_path / "none.pt"))
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"w": 1}))
    assert "save an older file again" in messages(lambda: torch_zip.read(tmp_path / "w.pt"))
    with zipfile.ZipFile(tmp_path / "z.pt", "w") as archive:
        archive.writestr("a", "b")
    assert "there is no data.pkl in it" in messages(lambda: torch_zip.read(tmp_path / "z.pt"))
    assert "are read from .pt, .pth, .bin, .ckpt or .safetensors" in messages(lambda: pytorch.load(tmp_path / "w.onnx"))


def test_helpers_hold_what_they_say():
    assert torch_files.numbers([1, -2]) == b"(J\x01\x00\x00\x00J\xfe\xff\xff\xfft"
