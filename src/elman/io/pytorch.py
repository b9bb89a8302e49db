"""Weights from and to PyTorch, which is not needed for it.

nn.RNN, GRU and LSTM with layers, directions and projections, and the embedding below and linear layers around them.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from elman import cells, gates
from elman.errors import ElmanError, ModelFileError, SettingError, ShapeError, one_line
from elman.foreign import Part, arrays_of, floating, layers_of, map_of, maps_of_readout, model_of, ways_of
from elman.gates import Array
from elman.io import maps, packing, pytorch_run, safetensors, torch_zip
from elman.layer_order import ordered
from elman.model import Model
from elman.shapes import written

RECURRENT = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))(?:_l(\d+))?(_reverse)?")
KINDS = {1: "RNN", 3: "GRU", 4: "LSTM"}
"""By the rows of weight_hh over its columns."""

LINEAR, EMBEDDING = (maps.named("pytorch", kind) for kind in ("Linear", "Embedding"))
RELU = cells.elman_with(gates.relu)
CHOICES = (RELU, cells.readout, cells.readout_sigmoid, cells.readout_with(gates.tanh), cells.readout_with(gates.relu))
"""Equations that the maps' arrays have besides the map's own."""

FOLLOWING = ("linear", "tanh", "sigmoid", "relu", "softmax", "log_softmax", "softplus", "softsign", "elu", "selu", "silu",
             "mish", "relu6")  # fmt: skip
"""Activations that are called the same and compute the same in PyTorch."""

HELD = ("state_dict", "model_state_dict", "model")
"""What the weights are usually called where a file holds other things besides."""


def load(
    source: Any, *, nonlinearity: str = "tanh", activations: Sequence[str] | None = None, pool: str | None = None
) -> Model:
    """A model from a `state_dict`, a module, or a file of one (.pt, .pth, .safetensors), which runs nothing.

    The weights do not tell everything: `nonlinearity` is that of nn.RNN ("tanh" or "relu"), where `source` is not a module;
    `activations` follow the linear layers, from below (such as "relu", "softmax"; "linear" where there is one layer); `pool`
    says when the read-out reads, as for `Model.from_layers`. Raises `ModelFileError` for a file that is damaged or wants to
    call something, `SettingError` or `ShapeError` for arrays that make no such model.

    >>> import numpy as np
    >>> arrays = {"weight_ih_l0": np.ones((12, 3)), "weight_hh_l0": np.ones((12, 4))}
    >>> load(arrays)
    Model(3 features, gru_no_bias, 84 parameters, float64)
    """
    if isinstance(source, str | os.PathLike):
        try:
            return _loaded(_read(source), nonlinearity, activations, pool, defined=_is_ordered(source))
        except ModelFileError:
            raise
        except ElmanError as error:
            raise type(error)(f"{source}: {one_line(str(error))}") from None
    return _loaded(source, nonlinearity, activations, pool, defined=True)


def run(
    source: Any,
    x: Array,
    *,
    nonlinearity: str = "tanh",
    activations: Sequence[str] | None = None,
    pool: str | None = None,
) -> tuple[Array, str] | None:
    """What PyTorch makes of the weights and `x`, and its name; None where it is not installed. Arguments as for `load`.

    A module is not run itself: what its weights stand for is.
    """
    defined = not isinstance(source, str | os.PathLike) or _is_ordered(source)
    arrays = _arrays(_read(source) if isinstance(source, str | os.PathLike) else source)
    return pytorch_run.run(_parts(arrays, _nonlinearity(source, nonlinearity), activations, defined=defined), x, pool)


def state_dict(model: Model) -> dict[str, Array]:
    """The arrays of a model under the names that PyTorch has for them; what `load` read comes out to the bit.

    They are called as in the module that they are from, or else `embedding`, `rnn` and `linear`. Of our single bias the
    first of theirs is that and the second 0. Raises `SettingError` for equations that PyTorch has no layer of.

    >>> import elman
    >>> list(state_dict(elman.Model(8, 5, cell=elman.cells.gru)))[:3]
    ['rnn.weight_ih_l0', 'rnn.weight_hh_l0', 'rnn.bias_ih_l0']
    """
    found: dict[str, Array] = {}
    layers, names = layers_of(model.rnn), _names(model)
    for layer, (name, ending) in zip(layers, names, strict=False):
        for way, turned in zip(ways_of(layer), ("", "_reverse"), strict=False):
            weights, _ = map_of(way, "pytorch", CHOICES)
            found |= {f"{_joined(name, array)}{ending}{turned}": value for array, value in arrays_of(way, weights).items()}
    for values, (name, _) in zip(maps_of_readout(model), names[len(layers) :], strict=True):
        found |= {_joined(name, array): value for array, value in packing.packed(LINEAR, values).items()}
    return found


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write `state_dict(model)` to a safetensors file, atomically. Raises `ModelFileError` where it cannot be written."""
    safetensors.write_arrays(path, state_dict(model))


# --- inside -----------------------------------------------------------------------------------------------------------


def _loaded(source: Any, nonlinearity: str, activations: Sequence[str] | None, pool: str | None, *, defined: bool) -> Model:
    arrays = _arrays(source)
    floating(arrays)
    parts = _parts(arrays, _nonlinearity(source, nonlinearity), activations, defined=defined)
    named = [[part.name, part.weights.layer, part.ending] for part in parts]
    return model_of(parts, pool=pool, origin={"framework": "pytorch", "parts": named})


def _is_ordered(path: str | os.PathLike[str]) -> bool:
    """Whether a file keeps the order in which layers are defined; one of safetensors sorts them by name."""
    return Path(path).suffix.lower() != ".safetensors"


def _read(path: str | os.PathLike[str]) -> Any:
    """What a file holds, by the end of its name."""
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors":
        return safetensors.read_arrays(path)
    if suffix not in (".pt", ".pth", ".bin", ".ckpt"):
        raise ModelFileError(f"{path}: weights of PyTorch are read from .pt, .pth, .bin, .ckpt or .safetensors")
    return torch_zip.read(path)


def _arrays(source: Any) -> dict[str, Array]:
    """Arrays by name, in the order of their definition; of a module, or of what a file holds."""
    given = source.state_dict() if hasattr(source, "state_dict") else source
    if not isinstance(given, Mapping):
        raise SettingError(f"pytorch: a state_dict, a module or a path is wanted; this is {type(source).__name__}")
    inner = {name: value for name, value in given.items() if isinstance(value, Mapping) and _holds_arrays(value)}
    if not _holds_arrays(given) and inner:
        name = next((name for name in HELD if name in inner), next(iter(inner)) if len(inner) == 1 else None)
        if name is None:
            raise SettingError(f"pytorch: there are several sets of weights, {', '.join(map(str, inner))}; give one of them")
        given = inner[name]
    if not _holds_arrays(given):
        raise SettingError("pytorch: there are no arrays by name in it, as a state_dict has them")
    return {str(name): _array(value) for name, value in given.items()}


def _holds_arrays(given: Mapping[Any, Any]) -> bool:
    return bool(given) and all(hasattr(value, "shape") and hasattr(value, "dtype") for value in given.values())


def _array(value: Any) -> Array:
    """An array of NumPy, from a tensor too; of 16 bits as float32, which holds them exactly."""
    if not isinstance(value, np.ndarray):
        tensor = value.detach().cpu()
        value = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return np.array(value, np.float32 if value.dtype == np.float16 else value.dtype)


def _parts(
    arrays: Mapping[str, Array], nonlinearity: str, activations: Sequence[str] | None, *, defined: bool
) -> list[Part]:
    """The layers from below; the arrays are in the order in which they are `defined`, or in none."""
    cells_of: dict[tuple[str, str], dict[str, dict[str, Array]]] = {}  # prefix and layer -> direction -> arrays
    for key, array in arrays.items():
        found = RECURRENT.fullmatch(key)
        if found:
            prefix, name, layer, way = found[1] or "", found[2], "" if found[3] is None else f"_l{found[3]}", found[4] or ""
        else:
            prefix, _, name = key.rpartition(".")
            layer = way = ""
        cells_of.setdefault((prefix, layer), {}).setdefault(way, {})[name] = array
    inputs = {ways[""]["weight_ih"].shape[1:] for ways in cells_of.values() if "weight_ih" in ways.get("", {})}
    first = next(iter(cells_of))
    parts = [
        _recurrent(spot, ways, nonlinearity)
        if "weight_hh" in ways.get("", {})
        else _other(spot[0], ways, inputs, first=defined and spot == first)
        for spot, ways in cells_of.items()
    ]
    parts = parts if defined else ordered(parts, "give the state_dict, or a .pt file of it, which has their order")
    linear = [part for part in parts if part.is_linear]
    told = list(activations) if activations is not None else ["linear"] * len(linear)
    if len(told) != len(linear) or (activations is None and len(linear) > 1):
        names = ", ".join(part.name for part in linear) or "none"
        raise SettingError(
            f"pytorch: the linear layers are {names}, and weights do not tell what follows each; "
            f"give activations, {len(linear)} of them"
        )
    unknown = next((name for name in told if name not in FOLLOWING), None)
    if unknown is not None:
        raise SettingError(f"pytorch: the activation {unknown!r} is unknown; it is one of {', '.join(FOLLOWING)}")
    following = iter(told)
    return [replace(part, activation=next(following)) if part.is_linear else part for part in parts]


def _recurrent(spot: tuple[str, str], ways: Mapping[str, Mapping[str, Array]], nonlinearity: str) -> Part:
    """A layer of nn.RNN, GRU or LSTM, told apart by their rows."""
    (prefix, ending), told = spot, _joined(*spot).rstrip(".")
    if list(ways) not in ([""], ["", "_reverse"]):
        raise SettingError(f"pytorch: {told} has the direction {', '.join(ways)} only")
    arrays = ways[""]
    projected = "weight_hr" in arrays
    hidden = arrays["weight_hr" if projected else "weight_hh"].shape[-1:] or (0,)
    kind = next((k for rows, k in KINDS.items() if arrays["weight_hh"].shape[:1] == (rows * hidden[0],)), None)
    if kind is None or (projected and kind != "LSTM"):
        shape = written(arrays["weight_hh"].shape)
        raise ShapeError(f"pytorch: {told}: weight_hh is {shape}; rows of 1, 3 or 4 times {hidden[0]} are wanted")
    weights = maps.named("pytorch", kind, "proj_size" if projected else "")
    equations = RELU if kind == "RNN" and nonlinearity == "relu" else None
    return Part(prefix, weights, tuple(ways.values()), ending, equations)


def _other(prefix: str, ways: Mapping[str, Mapping[str, Array]], inputs: set[Any], *, first: bool) -> Part:
    """An embedding, which comes first or is called so, has no bias, and gives what an RNN reads; or a linear layer."""
    [arrays] = ways.values()
    if not set(arrays) <= {"weight", "bias"} or "weight" not in arrays or arrays["weight"].ndim != 2:
        name = _joined(prefix, next(iter(arrays)))
        raise SettingError(f"pytorch: {name} belongs to no layer that there is a weight map of; `elman maps` lists them")
    embeds = "bias" not in arrays and arrays["weight"].shape[1:] in inputs and (first or "emb" in prefix.lower())
    return Part(prefix, EMBEDDING if embeds else LINEAR, (arrays,))


def _nonlinearity(source: Any, given: str) -> str:
    """That of nn.RNN: a module tells it."""
    if given not in ("tanh", "relu"):
        raise SettingError(f"pytorch: nonlinearity={given!r} is unknown; it is tanh or relu")
    modules = source.modules() if hasattr(source, "modules") else ()
    found = {module.nonlinearity for module in modules if isinstance(getattr(module, "nonlinearity", None), str)}
    if len(found) > 1:
        raise SettingError("pytorch: some RNNs of the module are of tanh and some of relu; give them one by one")
    return found.pop() if found else given


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _names(model: Model) -> list[tuple[str, str]]:
    """Prefix and ending of the names of each layer's arrays, from below: as they came, or names of our own."""
    layers, above = layers_of(model.rnn), maps_of_readout(model)
    imported = model.training.get("imported", {})
    told = [(str(name), str(ending)) for name, _, ending in imported.get("parts", ())]
    if imported.get("framework") == "pytorch" and len(told) == len(layers) + len(above):
        return told
    found: list[tuple[str, str]] = []
    before: Any = None
    stacks = depth = 0
    for position, layer in enumerate(layers):
        ways = ways_of(layer)
        kind = map_of(ways[0], "pytorch", CHOICES)
        if kind[0] in (EMBEDDING, LINEAR):
            found.append(("embedding" if kind[0] is EMBEDDING else f"linear_{position}", ""))
            before = None
            continue
        now = (kind, len(ways), layer.output_shape)
        stacks, depth = (stacks, depth + 1) if now == before else (stacks + 1, 0)
        found.append(("rnn" if stacks == 1 else f"rnn_{stacks}", f"_l{depth}"))
        before = now
    return found + [("linear" if k == len(above) - 1 else f"linear_{len(layers) + k}", "") for k in range(len(above))]
