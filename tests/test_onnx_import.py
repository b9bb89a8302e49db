"""`elman import` and `elman verify` of ONNX files: what is recorded, what a runtime gives, and what is told of mistakes."""

import numpy as np
import onnx
import pytest

import elman
from elman.cli import app
from elman.errors import ModelFileError, SettingError
from elman.importing import imported
from elman.io.onnx import made, run
from onnx_cases import arrays, model

T, B, I, H = 6, 3, 4, 5
RNG = np.random.default_rng(0)


@pytest.fixture
def command(capsys):
    """`elman ARGUMENTS` in this process; what it prints."""

    def run(*arguments):
        app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr()

    return run


def written(path, *, after, producer="tests"):
    """A file of one GRU that reads time first, `[T, B, I]`, and what its own operators give for an example."""
    given = arrays(np.random.default_rng(1), "GRU", inputs=I, hidden=H) | {"lengths": None, "h0": None}
    proto = model("GRU", {"linear_before_reset": int(after)}, given)
    del proto.graph.output[1:]
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "T"
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "B"
    x = RNG.normal(size=(T, B, I)).astype(np.float32)
    y = run(proto, {"x": x})["y"]
    proto.producer_name = producer
    onnx.save(proto, path)
    return x, y


def pair(folder, x, y):
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return "--example", folder / "x.npy", "--expect", folder / "y.npy"


def test_a_recorded_pair_lies_as_the_file_has_it(tmp_path, command):
    x, y = written(tmp_path / "gru.onnx", after=True)
    printed = command("import", tmp_path / "gru.onnx", "-o", tmp_path / "m", *pair(tmp_path, x, y)).out
    assert printed.splitlines()[0] == "Model(4 features, gru, 155 parameters, float32)"
    assert "at most from what was recorded (y.npy), for an input 3x6x4" in printed  # examples first, as a model has them
    opened = elman.load(tmp_path / "m")
    np.testing.assert_array_equal(opened.proof.x, x.swapaxes(0, 1))
    np.testing.assert_allclose(opened.forward_propagation(x.swapaxes(0, 1)).output, y[:, 0].swapaxes(0, 1), atol=1e-6)
    assert "from what was recorded (y.npy)" in command("verify", tmp_path / "m").out


def test_a_runtime_is_asked_where_nothing_is_recorded(tmp_path, command, monkeypatch):
    written(tmp_path / "gru.onnx", after=False)
    monkeypatch.setattr(made, "runtime", lambda path, opened, x: None)
    arguments = "import", tmp_path / "gru.onnx", "-o", tmp_path / "m"
    assert "not proved: give --example and --expect, or install the framework" in command(*arguments).out
    monkeypatch.setattr(made, "runtime", lambda path, opened, x: (run(path, {"x": x})["y"], "Runtime 9"))
    assert "at most from Runtime 9, for an input 11x3x4" in command(*arguments).out
    assert elman.load(tmp_path / "m").proof.source == "Runtime 9"
    monkeypatch.setattr(made, "runtime", lambda path, opened, x: (run(path, {"x": -x})["y"], "Runtime 9"))
    with pytest.raises(ModelFileError, match=r"gru\.onnx: the weights do not give .* \(Runtime 9\): .* explains it$"):
        command(*arguments)


def test_an_attribute_that_the_exporter_has_left_out_is_found(tmp_path, command):
    """The pair is of a GRU that resets after the product, and the file says that it does not."""
    x, y = written(tmp_path / "right.onnx", after=True)
    written(tmp_path / "gru.onnx", after=False, producer="pytorch")
    message = r"the output differs by .* explains it, but linear_before_reset=1 at the GRU of the file does, which its exp"
    warning = pytest.warns(UserWarning, match="^gru.onnx: GRU node 'cell' comes from PyTorch")
    with warning, pytest.raises(ModelFileError, match=message):
        imported(tmp_path / "gru.onnx", (x, y))
    with pytest.raises(ModelFileError, match=message):
        command("import", tmp_path / "gru.onnx", "-o", tmp_path / "m", *pair(tmp_path, x, y))
    assert not (tmp_path / "m").exists()
    with pytest.raises(ModelFileError, match=r"explains it$"):  # and where it does not help, it is not told
        command("import", tmp_path / "gru.onnx", "-o", tmp_path / "m", *pair(tmp_path, x, y + 1))
    with pytest.raises(ModelFileError, match=r"explains it$"):
        command("import", tmp_path / "right.onnx", "-o", tmp_path / "m", *pair(tmp_path, x, y + 1))


def test_the_warning_is_one_line_of_the_command(tmp_path, command):
    x, y = written(tmp_path / "gru.onnx", after=False, producer="pytorch")
    printed = command("import", tmp_path / "gru.onnx", "-o", tmp_path / "m", *pair(tmp_path, x, y))
    [line] = printed.err.splitlines()
    assert line.startswith("elman: warning: gru.onnx: GRU node 'cell' comes from PyTorch and has linear_before_reset=0.")
    assert "proved: differs by" in printed.out


def test_settings_of_pytorch_are_none_of_onnx(tmp_path, command):
    with pytest.raises(SettingError, match=r"net\.onnx: --pool last: a file of ONNX tells this itself; leave it out"):
        command("import", tmp_path / "net.onnx", "-o", tmp_path / "m", "--pool", "last")


def test_a_file_that_is_more_than_a_model_is_told(tmp_path, command):
    written(tmp_path / "gru.onnx", after=True)
    proto = onnx.load(tmp_path / "gru.onnx")
    proto.graph.node.append(onnx.helper.make_node("CumSum", ["y", "axis"], ["z"], name="odd"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "axis"))
    proto.graph.output[0].name = "z"
    onnx.save(proto, tmp_path / "gru.onnx")
    with pytest.raises(ModelFileError, match=r"^gru\.onnx: CumSum node 'odd' has .* runs the file as it is$"):
        command("import", tmp_path / "gru.onnx", "-o", tmp_path / "m")
