"""PyTorch as the oracle of its own weights: modules and files come in, compute the same, and go out to the bit."""

import itertools
from typing import Any

import numpy as np
import pytest

import elman
from elman import importing
from elman.io import pytorch

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")]

TOLERANCE = {"float64": 1e-12, "float32": 2e-6}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "tanh": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
    "gru": ("GRU", {}),
    "lstm": ("LSTM", {}),
    "projected": ("LSTM", {"proj_size": 2}),
}
SHAPES = list(itertools.product((1, 2), (False, True), (True, False)))
B, T, INPUTS, H, SYMBOLS = 2, 6, 3, 4, 9


class Net(torch.nn.Module):
    """An embedding where there are symbols, recurrent layers, and a linear layer."""

    def __init__(self, kind: str, layers: int, both: bool, biases: bool, symbols: int = 0) -> None:
        super().__init__()
        name, settings = KINDS[kind]
        self.embed = torch.nn.Embedding(symbols, INPUTS) if symbols else torch.nn.Identity()
        shape = {"num_layers": layers, "bidirectional": both, "bias": biases, "batch_first": True}
        self.inner = getattr(torch.nn, name)(INPUTS, H, **shape, **settings)
        self.head = torch.nn.Linear(settings.get("proj_size", H) * (1 + both), 5, bias=biases)

    def forward(self, x: Any, state: Any = None) -> Any:
        y, last = self.inner(self.embed(x), state)
        return self.head(y), last


def random(net: Any, dtype: str, seed: int = 0) -> Any:
    """The module with random unequal weights of size one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return net.to(getattr(torch, dtype))


def nested(kind: str, layers: int, both: bool, states: Any) -> Any:
    """PyTorch's states `[layers, B, H]` as those of a Stack."""
    names = {"gru": ("h",), "lstm": ("h", "c"), "projected": ("h", "c")}.get(kind, ("a",))
    rows = [{name: state[k] for name, state in zip(names, states, strict=True)} for k in range(len(states[0]))]
    ways = [{"forward": rows[2 * k], "backward": rows[2 * k + 1]} for k in range(layers)] if both else rows
    return ways[0] if layers == 1 else {str(k): way for k, way in enumerate(ways)}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("layers", "both", "biases"), SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_module_computes_the_same_and_comes_back(kind, layers, both, biases, dtype):
    net = random(Net(kind, layers, both, biases), dtype)
    rng = np.random.default_rng(1)
    x, wide = rng.normal(size=(B, T, INPUTS)).astype(dtype), KINDS[kind][1].get("proj_size", H)
    sizes = {"lstm": (H, H), "projected": (wide, H)}.get(kind, (H,))
    states = [rng.normal(size=(layers * (1 + both), B, size)).astype(dtype) for size in sizes]
    model = pytorch.load(net)
    given = tuple(map(torch.tensor, states)) if len(states) == 2 else torch.tensor(states[0])
    expected = net(torch.tensor(x), given)[0].detach().numpy()
    got = model.forward_propagation(x, nested(kind, layers, both, states)).output
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * max(1, np.abs(expected).max()))
    found, held = pytorch.state_dict(model), net.state_dict()
    assert list(found) == list(held)
    assert all(found[name].tobytes() == held[name].numpy().tobytes() for name in held)
    Net(kind, layers, both, biases).load_state_dict({name: torch.from_numpy(array) for name, array in found.items()})


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_imported_and_proved(tmp_path, kind, suffix):
    net, path = random(Net(kind, 2, True, True, SYMBOLS), "float32"), tmp_path / f"net{suffix}"
    if suffix == ".pt":
        torch.save({"epoch": 3, "state_dict": net.state_dict()}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(net.state_dict(), path)
    settings = {"nonlinearity": "relu"} if kind == "relu" else {}
    model, told = importing.imported(path, **settings)
    assert told.startswith("proved: differs by ")
    assert f"at most from PyTorch {torch.__version__.partition('+')[0]}, for an input 3x11" in told
    assert model.proof is not None
    expected = net(torch.from_numpy(model.proof.x))[0].detach().numpy()
    np.testing.assert_allclose(model.proof.y, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    model.save(tmp_path / "model")
    assert elman.load(tmp_path / "model").proof is not None


@pytest.mark.parametrize("pool", [None, "last", "mean", "max"])
def test_what_pytorch_is_run_on_reads_as_the_model_does(tmp_path, pool):
    inner, rng = random(torch.nn.GRU(INPUTS, H, 1, bidirectional=True), "float32"), np.random.default_rng(2)
    arrays = {f"rnn.{name}": tensor for name, tensor in inner.state_dict().items()}
    for name, shape in {"a.weight": (5, 2 * H), "b.weight": (3, 5)}.items():
        arrays[name] = torch.tensor(rng.normal(size=shape), dtype=torch.float32)
    torch.save(arrays, tmp_path / "w.pt")
    model, told = importing.imported(tmp_path / "w.pt", activations=["tanh", "softmax"], pool=pool)
    assert told.startswith("proved")
    assert model.proof is not None
    assert model.proof.y.shape == ((3, 11, 3) if pool is None else (3, 3))


def test_cells_are_read_too():
    cell = random(torch.nn.LSTMCell(INPUTS, H), "float64")
    x = np.random.default_rng(3).normal(size=(T, INPUTS))
    model, state, ys = pytorch.load(cell), None, []
    for x_t in torch.tensor(x):
        state = cell(x_t, state)
        ys.append(state[0].detach().numpy())
    np.testing.assert_allclose(model.forward_propagation(x).output, ys, rtol=0, atol=1e-12)
    assert list(pytorch.state_dict(model)) == list(cell.state_dict())


@pytest.mark.parametrize("layer", ["Linear", "Embedding"])
def test_a_module_tells_its_embeddings(layer):
    """Both hold a square matrix without a bias, first and named alike."""
    below = torch.nn.Linear(H, H, bias=False) if layer == "Linear" else torch.nn.Embedding(H, H, padding_idx=0)
    net = random(torch.nn.Sequential(below, torch.nn.GRU(H, 3, batch_first=True)), "float32")
    model = pytorch.load(net, activations=["linear"] if layer == "Linear" else None)
    x = torch.randint(0, H, (B, T)) if layer == "Embedding" else torch.randn(B, T, H)
    np.testing.assert_allclose(model.forward_propagation(x.numpy()).output, net(x)[0].detach().numpy(), rtol=0, atol=2e-6)
    held, found = net.state_dict(), pytorch.state_dict(model)
    assert list(found) == list(held)
    assert all(found[name].tobytes() == held[name].numpy().tobytes() for name in held)


def test_a_whole_module_in_a_file_is_refused_by_name(tmp_path):
    torch.save(torch.nn.GRU(2, 2), tmp_path / "w.pt")
    with pytest.raises(elman.ModelFileError, match=r"calls 'torch.nn.modules.rnn.GRU', which is not done"):
        pytorch.load(tmp_path / "w.pt")


def test_what_pytorch_cannot_run_is_told(tmp_path):
    """A projection as wide as what it projects is an LSTM here, and none of PyTorch's."""
    arrays = {"weight_ih_l0": (4 * H, INPUTS), "weight_hh_l0": (4 * H, H), "weight_hr_l0": (H, H)}
    torch.save({name: torch.ones(shape) for name, shape in arrays.items()}, tmp_path / "w.pt")
    with pytest.raises(
        elman.SettingError, match=r"w\.pt: PyTorch [\d.]+ could not run what .*: proj_size has to be smaller"
    ):
        importing.imported(tmp_path / "w.pt")


def test_tensors_of_every_kind_come_as_they_are(tmp_path):
    generator = torch.Generator().manual_seed(0)
    w = torch.randn((4, 6), generator=generator)
    held = {"t": w.T, "part": w[1:, 2], "half": w.half(), "brain": w.bfloat16(), "double": w.double(), "scalar": w[0, 0],
            "parameter": torch.nn.Parameter(w), "none": torch.zeros(0, 3)}  # fmt: skip
    torch.save(held, tmp_path / "w.pt")
    found = pytorch._read(tmp_path / "w.pt")
    for name, tensor in held.items():
        np.testing.assert_array_equal(found[name], tensor.detach().float().numpy() if name != "double" else tensor.numpy())
