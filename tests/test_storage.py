"""Weights in a shorter type: a file of half the size that opens as a model of the same type, and never as another one."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import elman
from elman.errors import ModelFileError, SettingError


@pytest.fixture
def model():
    made = elman.Model(11, 13, None, elman.cells.lstm, layers=2, seed=4)
    made.update({name: np.random.default_rng(3).normal(size=p.shape) for name, p in made.parameters.items()})
    return made


def test_weights_come_back_rounded_to_the_nearest(tmp_path, model):
    model.save(tmp_path / "short.safetensors", stored="float16")
    opened = elman.load(tmp_path / "short.safetensors")
    for name, value in model.parameters.items():
        back = opened.parameters[name]
        assert back.dtype == np.float32
        assert np.array_equal(back, value.astype(np.float16).astype(np.float32)), name
        assert not np.array_equal(back, value), name
    tokens = [1, 5, 2, 10, 0, 3]
    rounded = elman.Model(11, 13, None, elman.cells.lstm, layers=2, seed=0)
    rounded.update(opened.parameters)
    found = opened.forward_propagation(tokens).output
    assert np.array_equal(found, rounded.forward_propagation(tokens).output)
    np.testing.assert_allclose(found, model.forward_propagation(tokens).output, atol=5e-3)


def test_half_the_bytes_and_no_more_names(tmp_path, model):
    model.save(tmp_path / "whole.safetensors")
    model.save(tmp_path / "short.safetensors", stored="float16")
    sizes = {}
    for kind in ("whole", "short"):
        with safe_open(tmp_path / f"{kind}.safetensors", framework="numpy") as file:
            sizes[kind] = {name: file.get_tensor(name).nbytes for name in file.keys()}  # noqa: SIM118
    assert {name: size // 2 for name, size in sizes["whole"].items()} == sizes["short"]


def test_what_was_rounded_once_stays(tmp_path, model):
    paths = [tmp_path / f"{n}.safetensors" for n in range(2)]
    model.save(paths[0], stored="float16")
    elman.load(paths[0]).save(paths[1], stored="float16")
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_model_of_float64_stores_either(tmp_path):
    model = elman.Model(5, 4, seed=2, dtype="float64")
    for stored in ("float16", "float32", "float64"):
        model.save(tmp_path / "m.safetensors", stored=stored)
        opened = elman.load(tmp_path / "m.safetensors")
        for name, value in model.parameters.items():
            assert opened.parameters[name].dtype == np.float64
            assert np.array_equal(opened.parameters[name], value.astype(stored).astype(np.float64)), (stored, name)


def test_a_proof_goes_with_the_weights_it_is_of(tmp_path, model):
    model.prove([1, 2, 3], model.forward_propagation([1, 2, 3]).output)
    model.save(tmp_path / "m.safetensors", stored="float16")
    opened = elman.load(tmp_path / "m.safetensors")
    assert opened.proof is None  # the output was that of other weights
    opened.prove([1, 2, 3], opened.forward_propagation([1, 2, 3]).output)
    opened.save(tmp_path / "m.safetensors", stored="float16")
    assert elman.load(tmp_path / "m.safetensors").proof is not None


def test_a_number_beyond_the_type_is_refused_and_the_old_file_stays(tmp_path, model):
    model.save(tmp_path / "m.safetensors")
    before = (tmp_path / "m.safetensors").read_bytes()
    model.update({"by": np.where(np.arange(11) == 7, 70000.0, 1.0)})
    wanted = r"by cannot be stored as float16: its largest number is 7e\+04, float16 ends at 6\.55e\+04"
    with pytest.raises(ModelFileError, match=wanted):
        model.save(tmp_path / "m.safetensors", stored="float16")
    assert (tmp_path / "m.safetensors").read_bytes() == before


def test_types_that_are_unknown_or_longer(tmp_path, model):
    with pytest.raises(SettingError, match="stored='int8' is unknown; it is float16, float32, float64"):
        model.save(tmp_path / "m.safetensors", stored="int8")
    with pytest.raises(SettingError, match="stored='float64' is longer than float32, which the model is of"):
        model.save(tmp_path / "m.safetensors", stored="float64")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("int8", "its parameters are stored as int8; float16, float32, float64 are read"),
        (["float16"], r"its parameters are stored as \['float16'\]"),
        ("float64", "holds float16, the model is of float32, stored as float64"),
        (None, "its parameters are stored as None"),
    ],
)
def test_a_file_that_says_another_type_than_it_holds(tmp_path, model, stored, message):
    path = tmp_path / "m.safetensors"
    model.save(path, stored="float16")
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(file.metadata()["elman"])
    save_file(arrays, path, metadata={"elman": json.dumps({**facts, "stored": stored})})
    with pytest.raises(ModelFileError, match=message):
        elman.load(path)
