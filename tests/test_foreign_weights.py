"""Weights of other frameworks: taken apart and put together to the bit, and the values that their equations give."""

from dataclasses import replace

import numpy as np
import pytest

import elman
from elman.cells import ported
from elman.errors import ModelFileError, SettingError, ShapeError
from elman.io import maps, packing, pytorch, safetensors
from elman.shapes import resolve

I, H, P, T, B = 3, 4, 2, 6, 2
every_map = pytest.mark.parametrize("weights", maps.MAPS, ids=str)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def foreign(weights, *, biases=True, seed=0):
    """Random arrays of one layer, of the shapes that its map wants."""
    rng = np.random.default_rng(seed)
    cell, found = packing.cell_of(weights), {}
    sizes = {"input": I, "hidden": H, "projection": P, "output": 5}
    for block in weights.blocks:
        for name, held in weights.arrays(block):
            declared = cell.parameters[held[0]]
            if declared.kind == "bias" and not biases:
                continue
            rows, *columns = resolve(declared.shape, sizes)
            array = rng.normal(size=(rows * len(held), *columns)).astype("f4")
            found.setdefault(name, []).append(np.ascontiguousarray(array.T) if block.transposed else array)
    rows = {block.name for block in weights.blocks if block.row is not None}
    return {name: np.stack(arrays) if name in rows else arrays[0] for name, arrays in found.items()}


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no bias"])
@every_map
def test_what_goes_in_comes_out_to_the_bit(weights, biases):
    given = foreign(weights, biases=biases)
    parameters, sizes = packing.unpacked(weights, given)
    found = packing.packed(weights, parameters)
    assert set(found) == set(given)
    for name, array in given.items():
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes(), name
    assert list(parameters) == list(packing.cell_of(weights, list(parameters)).parameters)
    assert set(sizes) == set(packing.cell_of(weights).sizes)


@every_map
def test_every_parameter_of_the_cell_has_a_place(weights):
    cell = packing.equations_of(weights)
    assert set(cell.parameters) <= set(weights.parameters)
    assert len(set(weights.names)) == len(weights.names)
    assert sorted(weights.gates) == sorted({"gru": "rzn", "gru_reset_before": "rzn"}.get(weights.cell, weights.gates))


# ---------------------------------------------------------------- PyTorch, by its own equations written out


def torch_arrays(rows, *, inputs=I, out=H, biases=True, ends=("_l0",), seed=0):
    rng, found = np.random.default_rng(seed), {}
    for end in ends:
        wide = inputs if "l0" in end else out * (2 if any("reverse" in e for e in ends) else 1)
        found[f"weight_ih{end}"] = rng.normal(size=(rows * H, wide))
        found[f"weight_hh{end}"] = rng.normal(size=(rows * H, out))
        if biases:
            found |= {f"bias_ih{end}": rng.normal(size=rows * H), f"bias_hh{end}": rng.normal(size=rows * H)}
        if out != H:
            found[f"weight_hr{end}"] = rng.normal(size=(out, H))
    return found


def torch_loop(arrays, x, h, c=None, end="_l0", f=np.tanh):
    """A layer of PyTorch step by step, as its documentation has the equations; `x` `[T, I]`."""
    w, u = arrays[f"weight_ih{end}"], arrays[f"weight_hh{end}"]
    b, d = (arrays.get(f"{name}{end}", np.zeros(len(w))) for name in ("bias_ih", "bias_hh"))
    ys = []
    for x_t in x:
        a, s = w @ x_t + b, u @ h + d
        if len(w) == H:
            h = f(a + s)
        elif len(w) == 3 * H:
            (ar, az, an), (sr, sz, sn) = np.split(a, 3), np.split(s, 3)
            r, z = sigmoid(ar + sr), sigmoid(az + sz)
            h = (1 - z) * np.tanh(an + r * sn) + z * h
        else:
            i, j, g, o = np.split(a + s, 4)
            c = sigmoid(j) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            h = arrays[f"weight_hr{end}"] @ h if f"weight_hr{end}" in arrays else h
        ys.append(h)
    return np.array(ys)


KINDS = {
    "rnn": (1, H, "tanh"),
    "relu": (1, H, "relu"),
    "gru": (3, H, "tanh"),
    "lstm": (4, H, "tanh"),
    "projected": (4, P, "tanh"),
}


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no bias"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_of_a_layer(kind, biases):
    rows, out, nonlinearity = KINDS[kind]
    arrays, rng = torch_arrays(rows, out=out, biases=biases), np.random.default_rng(1)
    x, h, c = rng.normal(size=(T, I)), rng.normal(size=out), rng.normal(size=H)
    model = pytorch.load(arrays, nonlinearity=nonlinearity)
    f = np.tanh if nonlinearity == "tanh" else lambda v: np.maximum(v, 0)
    state = (h, c) if rows == 4 else (h,)
    got = model.forward_propagation(x, dict(zip(model.rnn.cell.states, state, strict=True))).output
    np.testing.assert_allclose(got, torch_loop(arrays, x, h, c, f=f), rtol=0, atol=1e-12)
    found = pytorch.state_dict(model)
    assert list(found) == list(arrays)
    assert all(found[name].tobytes() == array.tobytes() for name, array in arrays.items())


def mutated(weights, mutation):
    """A map with one mistake in it, or None where it has no room for that one."""
    match mutation:
        case "gates":
            return replace(weights, gates=weights.gates[1::-1] + weights.gates[2:]) if weights.gates else None
        case "biases":
            turn = {"b": "d", "d": "b"}
            blocks = tuple(replace(b, holds=turn.get(b.holds[0], b.holds[0]) + b.holds[1:]) for b in weights.blocks)
            return replace(weights, blocks=blocks) if weights.cell == "gru" else None  # elsewhere only their sum matters
    return None


@pytest.mark.parametrize("mutation", ["gates", "biases"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_mistake_in_a_map_is_seen_by_values(kind, mutation, monkeypatch):
    rows, out, _ = KINDS[kind]
    arrays, x = torch_arrays(rows, out=out), np.random.default_rng(1).normal(size=(T, I))
    expected = torch_loop(arrays, x, np.zeros(out), np.zeros(H))
    changed = [
        mutated(m, mutation) if m.layer == kind.upper() and m.framework == "pytorch" and not m.form else m for m in maps.MAPS
    ]
    if None in changed:
        return
    np.testing.assert_allclose(pytorch.load(arrays).forward_propagation(x).output, expected, atol=1e-12)
    monkeypatch.setattr(maps, "MAPS", tuple(changed))
    assert not np.allclose(pytorch.load(arrays).forward_propagation(x).output, expected, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_a_net(kind):
    """An embedding, two layers in both directions, and two linear layers."""
    rows, out, nonlinearity = KINDS[kind]
    ends, rng = ("_l0", "_l0_reverse", "_l1", "_l1_reverse"), np.random.default_rng(2)
    arrays = {"embed.weight": rng.normal(size=(7, I))}
    arrays |= {f"net.rnn.{name}": v for name, v in torch_arrays(rows, out=out, ends=ends).items()}
    arrays |= {
        "first.weight": rng.normal(size=(5, 2 * out)),
        "first.bias": rng.normal(size=5),
        "top.weight": rng.normal(size=(3, 5)),
    }
    model = pytorch.load(arrays, nonlinearity=nonlinearity, activations=["relu", "softmax"])
    tokens = rng.integers(7, size=T)
    f = np.tanh if nonlinearity == "tanh" else lambda v: np.maximum(v, 0)
    y, inner = arrays["embed.weight"][tokens], {n.removeprefix("net.rnn."): v for n, v in arrays.items()}
    for layer in ("_l0", "_l1"):
        ways = (
            torch_loop(inner, y[::s], np.zeros(out), np.zeros(H), layer + e, f)[::s] for s, e in ((1, ""), (-1, "_reverse"))
        )
        y = np.concatenate(list(ways), -1)
    logits = np.maximum(y @ arrays["first.weight"].T + arrays["first.bias"], 0) @ arrays["top.weight"].T
    expected = np.exp(logits - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(
        model.forward_propagation(tokens).output, expected / expected.sum(-1, keepdims=True), atol=1e-12
    )
    found = pytorch.state_dict(model)
    assert set(found) == set(arrays)
    assert all(found[name].tobytes() == array.tobytes() for name, array in arrays.items())


def test_weights_come_back_from_a_file_of_ours(tmp_path):
    arrays = {f"enc.{n}": v.astype("f4") for n, v in torch_arrays(3).items()} | {"out.weight": np.ones((2, H), "f4")}
    pytorch.load(arrays).save(tmp_path / "m.safetensors")
    pytorch.save(elman.load(tmp_path / "m.safetensors"), tmp_path / "w.safetensors")
    found = safetensors.read_arrays(tmp_path / "w.safetensors")
    assert set(found) == set(arrays)
    assert all(found[name].tobytes() == array.tobytes() for name, array in arrays.items())
    again = pytorch.load(tmp_path / "w.safetensors")
    x = np.random.default_rng(0).normal(size=(T, I))
    np.testing.assert_array_equal(again.forward_propagation(x).output, pytorch.load(arrays).forward_propagation(x).output)


def test_two_biases_give_the_bits_of_their_sum():
    arrays = {name: v.astype("f4") for name, v in torch_arrays(4).items()}
    two, one = pytorch.load(arrays), elman.RNN(elman.cells.lstm, input=I, hidden=H)
    held = two.parameters
    one.update({n: held[n] + held[f"d{n[1]}"] if n[0] == "b" else held[n] for n in one.parameters})
    x = np.random.default_rng(3).normal(size=(B, T, I))
    np.testing.assert_array_equal(two.forward_propagation(x).output, one(x)[0])


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm", "lstm_projected"])
def test_a_model_of_our_own_goes_out(cell):
    """Its one bias is the first of two there; names are those that a module of PyTorch would have."""
    sizes = {"projection": P} if cell == "lstm_projected" else {}
    model = elman.Model(7, H, cell=getattr(elman.cells, cell), layers=2, seed=4, dtype="float64", **sizes)
    rng = np.random.default_rng(5)
    model.update({name: rng.normal(size=v.shape) for name, v in model.parameters.items()})
    arrays = pytorch.state_dict(model)
    assert {name.rpartition("_l")[2] for name in arrays if name.startswith("rnn.")} == {"0", "1"}
    assert not arrays["rnn.bias_hh_l0"][: 2 * H].any()
    out, x = P if sizes else H, np.eye(7)[[1, 5, 0, 2]]
    inner = {n.removeprefix("rnn."): v for n, v in arrays.items()}
    for end in ("_l0", "_l1"):
        x = torch_loop(inner, x, np.zeros(out), np.zeros(H), end)
    logits = x @ arrays["linear.weight"].T + arrays["linear.bias"]
    np.testing.assert_allclose(model.forward_propagation([1, 5, 0, 2]).logits, logits, atol=1e-12)


def test_what_pytorch_has_no_layer_of_does_not_go_out():
    with pytest.raises(
        SettingError, match="gru_reset_before: pytorch has no layer with these equations; it has RNN, GRU, LSTM"
    ):
        pytorch.state_dict(elman.Model(7, H, cell=elman.cells.gru_reset_before))
    lone = pytorch.load(torch_arrays(3, biases=False))
    bare = ported.with_biases(elman.cells.gru_reset_before, dict.fromkeys(("br", "bz", "bn"), ()))
    assert pytorch.state_dict(lone)
    with pytest.raises(SettingError, match="no layer with these equations"):  # though its parameters are called the same
        pytorch.state_dict(elman.Model.from_layers(elman.RNN(bare, input=I, hidden=H), readout=ported.unread))


# ---------------------------------------------------------------- what does not fit


def without(*names):
    return {name: v for name, v in torch_arrays(4).items() if name not in names}


TWO = torch_arrays(4, ends=("_l0", "_l1"))
WRONG = {
    "a shape": (torch_arrays(4) | {"bias_hh_l0": np.ones(12)}, ShapeError,
                r"bias_hh is \(12\); \(16\) is wanted \(hidden=4, input=3\)"),
    "rows": (torch_arrays(4) | {"weight_hh_l0": np.ones((17, 4))}, ShapeError, "rows of 1, 3 or 4 times 4 are wanted"),
    "a missing matrix": (without("weight_ih_l0"), SettingError, "pytorch LSTM: weight_ih is missing"),
    "one bias": (without("bias_hh_l0"), SettingError, "bias_hh_l0 is missing, and bias_ih_l0 is there; an RNN, GRU "),
    "one bias of a module": (
        {f"a.{n}": v for n, v in without("bias_ih_l0").items()}, SettingError, r"a\.bias_ih_l0 is missing"
    ),
    "a layer without biases": (TWO | torch_arrays(4, ends=("_l2",), biases=False), SettingError, "bias_ih_l2 is missing"),
    "a direction without biases": (
        torch_arrays(4) | torch_arrays(4, ends=("_l0_reverse",), biases=False), SettingError, "bias_ih_l0_reverse is missing"
    ),
    "another layer": (torch_arrays(4) | {"norm.running_mean": np.ones(4)}, SettingError,
                      "norm.running_mean belongs to no layer"),
    "whole numbers": (torch_arrays(4) | {"weight_hh_l0": np.ones((16, 4), int)}, ShapeError, "weight_hh_l0 holds int64"),
    "no layer": ({"fc.weight": np.ones((3, 4))}, SettingError, "there is no recurrent layer"),
    "no arrays": ({"a": 1}, SettingError, "there are no arrays by name in it"),
    "no mapping": ([1], SettingError, "a state_dict, a module or a path is wanted; this is list"),
    "several nets": ({"a": torch_arrays(3), "b": torch_arrays(4)}, SettingError, "a, b; .* or save one alone"),
    "layers that do not meet": (TWO | {"weight_ih_l1": np.ones((16, 5))}, SettingError, "5; .* taken to be _l0, _l1"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_told(case):
    arrays, error, told = WRONG[case]
    with pytest.raises(error, match=told):
        pytorch.load(arrays)


def test_what_is_written_is_named_for_what_it_is(tmp_path):
    model = pytorch.load(torch_arrays(3))
    for name in ("w.pt", "w.pth", "w"):
        with pytest.raises(
            SettingError, match=rf"{name}: weights are written as \.safetensors; .*torch\.save\(.*state_dict\("
        ):
            pytorch.save(model, tmp_path / name)
        assert not (tmp_path / name).exists()
    with pytest.raises(SettingError, match=r"save\(model, path\) is wanted; 'w\.safetensors' is no model"):
        pytorch.save("w.safetensors", model)
    with pytest.raises(SettingError, match=r"save\(model, path\) is wanted; None is no path"):
        pytorch.save(model, None)
    pytorch.save(model, tmp_path / "w.SafeTensors")
    assert pytorch.load(tmp_path / "w.SafeTensors").parameters.keys() == model.parameters.keys()


def test_settings_are_told():
    arrays = torch_arrays(1) | {"a.weight": np.ones((2, H)), "b.weight": np.ones((2, 2))}
    with pytest.raises(SettingError, match="the linear layers are a, b, and weights do not tell what follows each"):
        pytorch.load(arrays)
    with pytest.raises(SettingError, match="the activation 'sine' is unknown; it is one of linear, tanh"):
        pytorch.load(arrays, activations=["sine", "linear"])
    with pytest.raises(SettingError, match="nonlinearity='sine' is unknown"):
        pytorch.load(arrays, nonlinearity="sine")
    with pytest.raises(SettingError, match="there is no weight map of keras RNN; there are keras SimpleRNN"):
        maps.named("keras", "RNN")


def test_layers_of_a_sorted_file_stand_as_they_meet(tmp_path):
    """The names say nothing: the file has them in the order of the alphabet."""
    arrays = {f"m.{n}": v for n, v in torch_arrays(3).items()} | {
        "z_embed.weight": np.random.default_rng(0).normal(size=(7, I))
    }
    arrays |= {"a.weight": np.random.default_rng(1).normal(size=(2, H)), "a.bias": np.ones(2)}
    safetensors.write_arrays(tmp_path / "w.safetensors", arrays)
    model = pytorch.load(tmp_path / "w.safetensors")
    tokens = np.array([5, 0, 3])
    y = torch_loop({n.removeprefix("m."): v for n, v in arrays.items()}, arrays["z_embed.weight"][tokens], np.zeros(H))
    np.testing.assert_allclose(model.forward_propagation(tokens).output, y @ arrays["a.weight"].T + 1, atol=1e-12)
    safetensors.write_arrays(tmp_path / "w.safetensors", arrays | {"a.weight": np.ones((2, 5))})
    with pytest.raises(SettingError, match="meet in no order"):
        pytorch.load(tmp_path / "w.safetensors")
    twice = {f"{name}.{n}": v for name in "ab" for n, v in torch_arrays(3, inputs=H).items()}
    safetensors.write_arrays(tmp_path / "w.safetensors", twice)
    with pytest.raises(SettingError, match="the layers a, b meet in several orders; give the state_dict"):
        pytorch.load(tmp_path / "w.safetensors")


def test_more_than_ten_layers_of_a_sorted_file(tmp_path):
    """The alphabet has the tenth layer before the second; their sizes meet in either order."""
    ends = [f"_l{k}" for k in range(12)]
    arrays = {name: value * 0.5 for name, value in torch_arrays(3, ends=ends).items()}
    safetensors.write_arrays(tmp_path / "w.safetensors", dict(sorted(arrays.items())))
    model, y = pytorch.load(tmp_path / "w.safetensors"), np.random.default_rng(1).normal(size=(T, I))
    got = model.forward_propagation(y).output
    for end in ends:
        y = torch_loop(arrays, y, np.zeros(H), end=end)
    np.testing.assert_allclose(got, y, rtol=0, atol=1e-12)
    found = pytorch.state_dict(model)
    assert list(found) == list(arrays)
    assert all(found[name].tobytes() == array.tobytes() for name, array in arrays.items())


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(("name", "f"), [("linear", lambda v: v), ("relu", lambda v: np.maximum(v, 0)), ("softsign", None)])
def test_a_linear_layer_below(name, f, biased):
    """A matrix as wide as what the RNN reads, which neither is called an embedding nor comes first."""
    rng, inner = np.random.default_rng(4), {f"top.{n}": v for n, v in torch_arrays(3, inputs=H).items()}
    arrays = {f"low.{n}": v for n, v in torch_arrays(3).items()}
    arrays |= {"map.weight": rng.normal(size=(H, H))} | ({"map.bias": rng.normal(size=H)} if biased else {}) | inner
    model, x = pytorch.load(arrays, activations=[name]), rng.normal(size=(T, I))
    y = torch_loop({n.removeprefix("low."): v for n, v in arrays.items()}, x, np.zeros(H))
    y = (f or (lambda v: v / (1 + abs(v))))(y @ arrays["map.weight"].T + arrays.get("map.bias", 0))
    y = torch_loop({n.removeprefix("top."): v for n, v in inner.items()}, y, np.zeros(H))
    np.testing.assert_allclose(model.forward_propagation(x).output, y, rtol=0, atol=1e-12)
    found = pytorch.state_dict(model)
    assert list(found) == list(arrays)
    assert all(found[n].tobytes() == array.tobytes() for n, array in arrays.items())


def test_what_would_be_another_net_there_does_not_go_out():
    """Its arrays would have names that PyTorch knows, and other values behind them."""

    def rnn(cell, size=H):
        return elman.RNN(cell, input=H, hidden=size)

    def out(layer):
        return pytorch.state_dict(elman.Model.from_layers(layer, outputs=2))

    with pytest.raises(SettingError, match="layers that add their input to their output have no counterpart elsewhere"):
        out(elman.Stack([rnn(elman.cells.gru), rnn(elman.cells.gru)], residual=True))
    for merge in ("sum", "mean", "product"):
        with pytest.raises(
            SettingError, match=f"elsewhere two directions stand side by side; the {merge} has no counterpart"
        ):
            out(elman.Bidirectional(rnn(elman.cells.gru), rnn(elman.cells.gru), merge=merge))
    for other in (rnn(elman.cells.gru, 5), rnn(elman.cells.lstm)):
        with pytest.raises(SettingError, match="both directions of a layer of pytorch are of one cell and one size"):
            out(elman.Bidirectional(rnn(elman.cells.gru), other))


@pytest.mark.parametrize("name", ["rnn.{}_g", "rnn.parametrizations.{}.original0"])
def test_a_weight_that_is_computed_is_told(name):
    arrays = {f"rnn.{n}": v for n, v in torch_arrays(3).items()}
    first = name.format("weight_hh_l0")
    second = first.replace("original0", "original1").replace("_g", "_v")
    arrays |= {first: np.ones((3 * H, 1)), second: arrays.pop("rnn.weight_hh_l0")}
    with pytest.raises(SettingError, match=r"rnn\.weight_hh_l0 is computed from other arrays, as by weight_norm; take the"):
        pytorch.load(arrays)


def test_a_layer_that_is_missing_is_told():
    with pytest.raises(SettingError, match="pytorch: the RNN has _l2 and no _l1 below it"):
        pytorch.load(torch_arrays(3, inputs=H, ends=("_l0", "_l2")))


def test_the_weights_in_a_larger_file_are_found():
    arrays = torch_arrays(3)
    held = {"epoch": 3, "state_dict": arrays, "optimizer": {"lr": 0.1}}
    assert list(pytorch.state_dict(pytorch.load(held))) == list(arrays)


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ModelFileError, match="truncated, damaged or no safetensors file"):
        pytorch.load(tmp_path / "w.safetensors")
