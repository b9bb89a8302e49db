"""Recorded outputs: kept with a model, checked when it is opened, and what is told where they do not match."""

import json

import numpy as np
import pytest

import elman
from elman import suspects
from elman.cells import ported
from elman.cli import app
from elman.errors import ModelFileError, SettingError, ShapeError
from elman.io import maps, pytorch, pytorch_run, safetensors
from elman.suspects import check, explained
from forging import messages, random

I, H, T, B = 3, 4, 7, 2


def model_of(cell="lstm", *, both=False, readout=elman.cells.readout_linear, **settings):
    layers = [elman.RNN(getattr(elman.cells, cell), input=I, hidden=H, dtype="float64", seed=s) for s in (0, 1)]
    stack = elman.Stack([elman.Bidirectional(*layers)]) if both else layers[0]
    return random(elman.Model.from_layers(stack, outputs=5, readout=readout, **settings))


def proved(model, seed=1):
    x = np.random.default_rng(seed).normal(size=(B, T, I))
    model.prove(x, model.forward_propagation(x).output, "somewhere")
    return model


def test_a_proof_goes_with_the_file_and_is_checked(tmp_path):
    model, path = proved(model_of()), tmp_path / "m"
    model.save(path)
    again = elman.load(path)
    assert again.proof.source == "somewhere"
    np.testing.assert_array_equal(again.proof.y, model.proof.y)
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    arrays, facts = safetensors.read(path)
    arrays["wi"] = arrays["wi"] + 0.01
    safetensors.write(path, arrays, facts)
    with pytest.raises(ModelFileError, match=r"do not give what was recorded \(somewhere\): the output differs by 0\.\d+"):
        elman.load(path)
    assert elman.load(path, verify=False).proof is not None


def test_trained_parameters_have_no_proof(tmp_path):
    model = proved(model_of())
    model.update({"bi": np.ones(H)})
    model.save(tmp_path / "m")
    assert elman.load(tmp_path / "m").proof is None
    assert "proof" not in safetensors.read(tmp_path / "m")[1]


def test_rounding_is_allowed_and_nothing_else(tmp_path):
    model = proved(model_of())
    for share, holds in ((1e-10, True), (1e-8, False)):
        assert model.proof.holds_for(model.proof.y + share) is holds
    single = model.proof.of(model.parameters, model.proof.x, model.proof.y.astype("f4"))
    assert single.holds_for(model.proof.y + 1e-5)
    assert not single.holds_for(model.proof.y + 1e-3)
    assert not model.proof.holds_for(model.proof.y * np.nan)
    assert not model.proof.holds_for(model.proof.y[:1])


FORGED = {
    "an input of another size": {"proof.x": np.zeros((2, 5))},
    "an input of no axes": {"proof.x": np.zeros(())},
    "an input that is no number": {"proof.x": np.full((B, T, I), np.nan)},
    "an output of another shape": {"proof.y": np.zeros((2, 5))},
    "an output of integers": {"proof.y": np.zeros((B, T, 5), int)},
    "an empty output": {"proof.y": np.zeros((0, T, 5))},
    "no output": {"proof.y": None},
    "one array more": {"proof.z": np.zeros(2)},
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_proof_is_told(tmp_path, case):
    proved(model_of()).save(tmp_path / "m")
    arrays, facts = safetensors.read(tmp_path / "m")
    safetensors.write(tmp_path / "m", {n: v for n, v in (arrays | FORGED[case]).items() if v is not None}, facts)
    told = str(tmp_path / "m")
    assert messages(lambda: elman.load(tmp_path / "m")).startswith(told)


# ---------------------------------------------------------------- what is suspected


def swapped(model, one, other):
    names = {name: name[0] + {one: other, other: one}.get(name[-1], name[-1]) for name in model.rnn.parameters}
    return {name: model.parameters[names[name]] for name in names}


MISTAKES = {
    "gates of the lstm": ("lstm", lambda m: swapped(m, "g", "o"), "the gates taken in the order i f o g"),
    "gates of the gru": ("gru_reset_before", lambda m: swapped(m, "r", "z"), "the gates taken in the order z r n"),
    "recurrent matrices": ("lstm", lambda m: {n: v.T for n, v in m.parameters.items() if n[0] == "u"},
                           "the recurrent weights transposed"),
    "of the simple cell": ("elman", lambda m: {"waa": m.parameters["waa"].T}, "the recurrent weights transposed"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_wrong_weights_are_told_by_what_mends_them(case):
    cell, mistake, told = MISTAKES[case]
    model = proved(model_of(cell))
    proof = model.proof
    model.update(mistake(model))
    assert [name for name in explained(model, proof) if not name.startswith(told)] == []
    assert explained(model, proof)


def test_what_was_recorded_in_another_way_is_told():
    model, x = model_of(readout=elman.cells.readout), np.random.default_rng(0).normal(size=(B, T, I))
    found = model.forward_propagation(x)
    told = {}
    for name, (given, y) in {
        "logits": (x, found.logits),
        "time first": (x.swapaxes(0, 1), found.output.swapaxes(0, 1)),
        "output time first": (x, found.output.swapaxes(0, 1)),
        "input time first": (x.swapaxes(0, 1), found.output),
    }.items():
        model.prove(given, y)
        told[name] = explained(model, model.proof)
    assert told == {
        "logits": ["the output before its activation"],
        "time first": ["time and batch of input and output exchanged"],
        "output time first": ["time and batch of the output exchanged"],
        "input time first": ["time and batch of the input exchanged"],
    }


def test_forms_of_the_gru_and_biases_are_told():
    rng, x = np.random.default_rng(0), np.random.default_rng(1).normal(size=(B, T, I))
    arrays = {"weight_ih_l0": rng.normal(size=(3 * H, I)), "weight_hh_l0": rng.normal(size=(3 * H, H))}
    arrays |= {name: rng.normal(size=3 * H) for name in ("bias_ih_l0", "bias_hh_l0")}
    model = pytorch.load(arrays)
    before, after = (
        elman.Model.from_layers(elman.RNN(cell, input=I, hidden=H, dtype="float64"), readout=ported.unread)
        for cell in (elman.cells.gru_reset_before, elman.cells.gru)
    )
    p = model.parameters
    before.update({n: p[n] + p[f"d{n[1]}"] if n[0] == "b" else p[n] for n in before.parameters})
    model.prove(x, before.forward_propagation(x).output)
    assert explained(model, model.proof) == ["the reset of the GRU before the product"]
    before.update({"bn": p["bn"]})
    after.update({**before.parameters, "dn": np.zeros(H)})
    before.prove(x, after.forward_propagation(x).output)
    assert explained(before, before.proof) == ["the reset of the GRU after the product"]
    lone = pytorch.load({**arrays, "bias_hh_l0": np.zeros(3 * H)})
    model.prove(x, lone.forward_propagation(x).output)
    assert explained(model, model.proof) == ["the second bias left out"]


def test_exchanged_directions_are_told():
    model = proved(model_of("gru", both=True))
    proof, held = model.proof, dict(model.parameters)
    turn = {"forward": "backward", "backward": "forward"}
    inner = {n: held[".".join(turn.get(part, part) for part in n.split("."))] for n in model.rnn.parameters}
    model.update(inner)
    assert explained(model, proof) == ["the two directions exchanged"]


def test_relu_is_told():
    arrays = {"weight_ih_l0": np.eye(4, 3), "weight_hh_l0": 0.3 * np.ones((4, 4))}
    arrays |= {"bias_ih_l0": np.arange(4.0), "bias_hh_l0": np.ones(4)}
    model, right = (pytorch.load(arrays, nonlinearity=kind) for kind in ("tanh", "relu"))
    model.prove(x := np.ones((2, 3, 3)) * np.arange(3), right.forward_propagation(x).output)
    assert explained(model, model.proof) == ["relu in the place of tanh"]


def test_other_weights_are_explained_by_nothing():
    model = proved(model_of())
    proof = model.proof
    random(model, seed=9)
    assert explained(model, proof) == []
    with pytest.raises(ModelFileError, match="no known mistake explains it"):
        suspects.check(model, proof)


# ---------------------------------------------------------------- from the terminal


@pytest.fixture
def command(capsys):
    """`elman ARGUMENTS` in this process; what it prints."""

    def run(*arguments):
        app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out

    return run


@pytest.fixture
def weights(tmp_path):
    """Arrays of a GRU and a linear layer in a file, an input, and the model."""
    rng = np.random.default_rng(0)
    arrays = {"rnn.weight_ih_l0": rng.normal(size=(3 * H, I)), "rnn.weight_hh_l0": rng.normal(size=(3 * H, H))}
    arrays |= {f"rnn.{name}_l0": rng.normal(size=3 * H) for name in ("bias_ih", "bias_hh")}
    arrays["fc.weight"] = rng.normal(size=(2, H))
    safetensors.write_arrays(tmp_path / "w.safetensors", arrays)
    x, model = rng.normal(size=(B, T, I)), pytorch.load(arrays)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", model.forward_propagation(x).output)
    return tmp_path, x, model


def test_import_and_verify(weights, command):
    folder, x, model = weights
    given = "--example", folder / "x.npy", "--expect", folder / "y.npy"
    printed = command("import", folder / "w.safetensors", "-o", folder / "m", *given)
    assert printed.splitlines()[0] == repr(model)
    assert "proved: differs by 0 at most from what was recorded (y.npy), for an input 2x7x3" in printed
    assert "differs by 0 at most from what was recorded (y.npy)" in command("verify", folder / "m")
    opened = elman.load(folder / "m")
    np.testing.assert_array_equal(opened.proof.x, x)
    np.testing.assert_array_equal(opened.forward_propagation(x).output, model.forward_propagation(x).output)


def test_a_wrong_import_is_not_written(weights, command):
    folder, x, model = weights
    np.save(folder / "y.npy", model.forward_propagation(x).output.swapaxes(0, 1))
    given = "--example", folder / "x.npy", "--expect", folder / "y.npy"
    with pytest.raises(ModelFileError, match="it would match with time and batch of the output exchanged"):
        command("import", folder / "w.safetensors", "-o", folder / "m", *given)
    assert not (folder / "m").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [("w.safetensors", "the file to import"), ("x.npy", "that of --example"), ("y.npy", "that of --expect")],
)
def test_an_import_takes_the_place_of_none_of_its_files(weights, command, name, told):
    folder, before = weights[0], (weights[0] / name).read_bytes()
    (folder / "link").symlink_to(folder / name)
    given = "--example", folder / "x.npy", "--expect", folder / "y.npy"
    for output in (folder / name, folder / "link"):
        with pytest.raises(SettingError, match=f"{output} is {told}; write to another file"):
            command("import", folder / "w.safetensors", "-o", output, *given)
        assert (folder / name).read_bytes() == before


def test_the_framework_is_asked_where_nothing_is_recorded(weights, command, monkeypatch):
    folder, _, model = weights
    monkeypatch.setattr(pytorch_run, "run", lambda parts, x, pool: None)
    printed = command("import", folder / "w.safetensors", "-o", folder / "m")
    assert "not proved: give --example and --expect, or install the framework" in printed
    with pytest.raises(ModelFileError, match="no recorded output is kept in it"):
        command("verify", folder / "m")
    monkeypatch.setattr(pytorch_run, "run", lambda parts, x, pool: (model.forward_propagation(x).output, "PyTorch 9"))
    assert "from PyTorch 9, for an input 3x11x3" in command("import", folder / "w.safetensors", "-o", folder / "m")
    assert elman.load(folder / "m").proof.source == "PyTorch 9"


def test_verify_tells_what_a_changed_file_would_match(weights, command):
    folder, _, _ = weights
    command(
        "import", folder / "w.safetensors", "-o", folder / "m", "--example", folder / "x.npy", "--expect", folder / "y.npy"
    )
    arrays, facts = safetensors.read(folder / "m")
    arrays |= {name: arrays[name].T for name in ("ur", "uz", "un")}
    safetensors.write(folder / "m", arrays, facts)
    with pytest.raises(ModelFileError, match=r"m: the weights do not give .* match with the recurrent weights transposed$"):
        command("verify", folder / "m")


def test_settings_of_pytorch_are_none_of_keras(command, tmp_path):
    with pytest.raises(SettingError, match=r"net\.keras: --pool last: a file of Keras tells this itself; leave it out"):
        command("import", tmp_path / "net.keras", "-o", tmp_path / "m", "--pool", "last")


def test_messages_of_the_command_speak_of_its_options(command, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"rnn.weight_{name}_l0": rng.normal(size=(3 * H, size)) for name, size in (("ih", I), ("hh", H))}
    arrays |= {"a.weight": rng.normal(size=(5, H)), "b.weight": rng.normal(size=(2, 5))}
    safetensors.write_arrays(tmp_path / "w.safetensors", arrays)
    asked = "import", tmp_path / "w.safetensors", "-o", tmp_path / "m"
    told = r"are a, b, .*wanted: 2, given: {}; such as --activation relu --activation linear \(linear: nothing follows\)$"
    for given in range(2):
        with pytest.raises(SettingError, match=told.format(given)):
            command(*asked, *["--activation", "relu"] * given)
    with pytest.raises(SettingError, match=r"such as activations=\['relu', 'linear'\]"):
        pytorch.load(arrays)
    both = "--activation", "relu", "--activation", "linear"
    with pytest.raises(SettingError, match=r"--pool first is unknown; it is last, mean, max, or left out for every step$"):
        command(*asked, *both, "--pool", "first")
    with pytest.raises(SettingError, match="--nonlinearity sine is unknown"):
        command(*asked, *both, "--nonlinearity", "sine")
    command(*asked, *both)


def test_what_the_command_cannot_import(weights, command):
    folder, _, model = weights
    model.save(folder / "model.safetensors")
    model.save(folder / "m")
    for name in ("model.safetensors", "m"):
        with pytest.raises(SettingError, match=rf"{name} is a model of elman already; .*: elman\.load opens it"):
            command("import", folder / name, "-o", folder / "n")
    told = r"x\.npy: .* \.pt, \.pth, \.bin, \.ckpt, \.safetensors, \.keras, \.h5, \.hdf5, \.onnx are read"
    with pytest.raises(ModelFileError, match=told):
        command("import", folder / "x.npy", "-o", folder / "n")


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_weights_that_were_rounded_are_told(kind):
    """An output of the finer weights lies too far off; one that is far from it is of other weights."""
    rng = np.random.default_rng(0)
    model, x = elman.Model(8, 5), [1, 2, 3]
    fine = {name: rng.normal(size=value.shape).astype(np.float32) for name, value in model.parameters.items()}
    model.update(fine)
    y = model.forward_propagation(x).output
    model.prove(x, y + np.float32(1e-3), "finer")
    with pytest.raises(ModelFileError, match=r"no known mistake explains it$"):
        check(model, model.proof)
    if kind == "float16":
        model.update({name: value.astype(kind).astype(np.float32) for name, value in fine.items()})
    else:
        model.update({n: (v.view(np.uint32) & 0xFFFF0000).view(np.float32) for n, v in fine.items()})
    y = model.forward_propagation(x).output
    model.prove(x, y + np.float32(1e-3), "fine")
    told = f"no known mistake explains it, but the weights are numbers of {kind}, rounded from finer ones perhaps; record"
    with pytest.raises(ModelFileError, match=told):
        check(model, model.proof)
    model.prove(x, y + np.float32(0.5), "other")
    with pytest.raises(ModelFileError, match=r"no known mistake explains it$"):
        check(model, model.proof)


def test_half_of_a_pair_is_none(weights, command):
    folder, _, _ = weights
    with pytest.raises(SettingError, match="--example and --expect belong together"):
        command("import", folder / "w.safetensors", "-o", folder / "m", "--example", folder / "x.npy")
    (folder / "y.npy").write_bytes(b"none")
    given = "--example", folder / "x.npy", "--expect", folder / "y.npy"
    with pytest.raises(SettingError, match=r"y\.npy is no \.npy file that can be read"):
        command("import", folder / "w.safetensors", "-o", folder / "m", *given)


def test_maps_are_printed(command):
    printed = command("maps")
    assert all(f"{weights}: {weights.cell}" in printed for weights in maps.MAPS)
    assert "  bias[1]                  dz dr dn" in command("maps", "keras")
    found = [json.loads(line) for line in command("maps", "pytorch", "--json").splitlines()]
    assert [entry["layer"] for entry in found] == ["RNN", "GRU", "LSTM", "LSTM", "Linear", "Embedding"]
    assert found[1]["biases"] == "two; the second is dr, dz"
    with pytest.raises(SettingError, match="there is no weight map of 'caffe'; there are maps of pytorch, keras, flax"):
        command("maps", "caffe")


def test_an_output_is_numbers():
    with pytest.raises(ShapeError, match=r"the recorded output is \(3\) of int64; floating-point numbers are wanted"):
        model_of().prove(np.zeros((3, I)), np.arange(3))
