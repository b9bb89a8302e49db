"""Weights from and to PyTorch, which is not needed for it.

nn.RNN, GRU and LSTM with layers, directions and projections, and the embedding below and linear layers around them.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import ElmanError, ModelFileError, SettingError, one_line
from elman.foreign import arrays_of, floating, layers_of, linear_maps, map_of, maps_of_readout, model_of, ways_of
from elman.gates import Array
from elman.io import packing, pytorch_run, safetensors, torch_zip
from elman.io.pytorch_parts import EMBEDDING, FOLLOWING, LINEAR, RELU, joined, parts
from elman.model import Model

CHOICES = (RELU, *linear_maps(FOLLOWING))
"""Equations that the maps' arrays have besides the map's own."""

ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
"""Of the files that are read."""

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
    is_file = isinstance(source, str | os.PathLike)
    defined = not is_file or _is_ordered(source)
    arrays = _arrays(_read(source) if is_file else source)
    told = _nonlinearity(source, nonlinearity)
    found = parts(arrays, told, activations, defined=defined, tables=_tables(source))
    try:
        return pytorch_run.run(found, x, pool)
    except SettingError as error:
        raise SettingError(f"{source}: {error}" if is_file else str(error)) from error


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
        ways = ways_of(layer)
        weights = map_of(ways[0], "pytorch", CHOICES)
        if any(map_of(way, "pytorch", CHOICES) != weights or way.sizes != ways[0].sizes for way in ways):
            raise SettingError(f"{layer.name}: both directions of a layer of pytorch are of one cell and one size")
        for way, turned in zip(ways, ("", "_reverse"), strict=False):
            arrays = arrays_of(way, weights[0])
            found |= {f"{joined(name, array)}{ending}{turned}": value for array, value in arrays.items()}
    for values, (name, _) in zip(maps_of_readout(model), names[len(layers) :], strict=True):
        found |= {joined(name, array): value for array, value in packing.packed(LINEAR, values).items()}
    return found


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write `state_dict(model)` to a safetensors file, atomically.

    Raises `ModelFileError` where it cannot be written, `SettingError` for another ending and for what is no model.
    """
    if not isinstance(model, Model):
        raise SettingError(f"pytorch: save(model, path) is wanted; {model!r:.200} is no model")
    if not isinstance(path, str | os.PathLike):
        raise SettingError(f"pytorch: save(model, path) is wanted; {path!r:.200} is no path")
    if Path(path).suffix.lower() != ".safetensors":
        fix = "{name: torch.from_numpy(array) for name, array in elman.io.pytorch.state_dict(model).items()}"
        raise SettingError(f"{path}: weights are written as .safetensors; for another file, torch.save({fix}, path)")
    safetensors.write_arrays(path, state_dict(model))


# --- inside -----------------------------------------------------------------------------------------------------------


def _loaded(source: Any, nonlinearity: str, activations: Sequence[str] | None, pool: str | None, *, defined: bool) -> Model:
    arrays = _arrays(source)
    floating(arrays)
    told = _nonlinearity(source, nonlinearity)
    found = parts(arrays, told, activations, defined=defined, tables=_tables(source))
    named = [[part.name, part.weights.layer, part.ending] for part in found]
    return model_of(found, pool=pool, origin={"framework": "pytorch", "parts": named})


def _is_ordered(path: str | os.PathLike[str]) -> bool:
    """Whether a file keeps the order in which layers are defined; one of safetensors sorts them by name."""
    return Path(path).suffix.lower() != ".safetensors"


def _read(path: str | os.PathLike[str]) -> Any:
    """What a file holds, by the end of its name."""
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors":
        return safetensors.read_arrays(path)
    if suffix not in ENDINGS:
        raise ModelFileError(f"{path}: weights of PyTorch are read from {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
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
            sets = ", ".join(map(str, inner))
            raise SettingError(f"pytorch: there are several sets of weights, {sets}; give one of them, or save one alone")
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


def _nonlinearity(source: Any, given: str) -> str:
    """That of nn.RNN: a module tells it."""
    if given not in ("tanh", "relu"):
        raise SettingError(f"pytorch: nonlinearity={given!r} is unknown; it is tanh or relu")
    modules = source.modules() if hasattr(source, "modules") else ()
    found = {module.nonlinearity for module in modules if isinstance(getattr(module, "nonlinearity", None), str)}
    if len(found) > 1:
        raise SettingError("pytorch: some RNNs of the module are of tanh and some of relu; give them one by one")
    return found.pop() if found else given


def _tables(source: Any) -> set[str] | None:
    """Names of the embeddings of a module; None where nothing tells them."""
    if not hasattr(source, "named_modules"):
        return None
    return {name for name, module in source.named_modules() if type(module).__name__ == "Embedding"}


def _names(model: Model) -> list[tuple[str, str]]:
    """Prefix and ending of the names of each layer's arrays, from below: as they came, or names of our own."""
    layers, above = layers_of(model.rnn), maps_of_readout(model)
    imported = model.training.get("imported", {})
    known = imported.get("parts", ()) if imported.get("framework") == "pytorch" else ()
    if known and len(known) == len(layers) + len(above):
        return [(str(name), str(ending)) for name, _, ending in known]
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
