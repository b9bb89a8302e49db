"""Weights from Keras, which is not needed for it: models of recurrent layers in .keras and .h5 files."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elman import cells
from elman.cells import activations, ported
from elman.errors import ElmanError, ModelFileError, SettingError, one_line
from elman.foreign import Directions, Part, activation_of, floating, model_of
from elman.gates import Array
from elman.io import keras_file, maps
from elman.io.keras_file import KerasLayer, own
from elman.model import Model
from elman.trace import Cell

RECURRENT = ("SimpleRNN", "GRU", "LSTM")
WRAPPING = (*RECURRENT, "RNN", "Bidirectional")
"""Layers that are recurrent, themselves or within."""

NOTHING = (
    "InputLayer",
    "Masking",
    "Dropout",
    "SpatialDropout1D",
    "GaussianNoise",
    "GaussianDropout",
    "ActivityRegularization",
)
"""Layers that change nothing when a model is run; what Masking leaves out is told by `lengths` here."""

CODE = ("Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer")
"""Layers that carry code."""

ALONE: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "Activation": lambda config: config["activation"],
    "Softmax": lambda config: {-1: "softmax"}.get(config["axis"]),
    "ELU": lambda config: {1.0: "elu"}.get(config["alpha"]),
    "ReLU": lambda config: (
        None if config["threshold"] or config["negative_slope"] else {None: "relu", 6: "relu6"}.get(config["max_value"])
    ),
}
"""Layers that are the activation of the one below, by its name; None where it has none."""

MERGES = {"concat": "concatenate", "sum": "sum", "mul": "product", "ave": "mean"}

OF_KERAS_2 = {"hard_sigmoid": "hard_sigmoid_of_keras_2"}
"""Names that stood for something else before version 3."""


def load(path: str | os.PathLike[str]) -> Model:
    """A model from a file of Keras: Embedding, SimpleRNN, GRU (both forms), LSTM, RNN of their cells, Bidirectional, Dense.

    A recurrent layer that returns its last output makes a model that reads once a sequence. Where Keras masks (Masking,
    `mask_zero`), give `lengths`: outputs past a length are 0 here, while Keras repeats the last. Raises `ModelFileError` for
    a file that is damaged, or has layers that carry code or have no counterpart, `MissingLibraryError` without h5py.
    """
    layers, version = keras_file.read(path)
    try:
        used = _with_activations([layer for layer in layers if layer.kind not in NOTHING])
        parts = _parts(used, version)
        origin = {"framework": "keras", "parts": [[layer.name, layer.kind] for layer in used]}
        return model_of(parts, pool=_pool(used), origin=origin)
    except (ElmanError, *keras_file.DAMAGED) as error:
        told = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(f"{path}: {one_line(told)}") from error


def run(path: str | os.PathLike[str], x: Array) -> tuple[Array, str] | None:
    """What Keras gives for `x`, and its name and version; None where it is not installed."""
    try:
        import keras
    except ImportError:
        return None
    model = keras.saving.load_model(os.fspath(path), compile=False)
    return np.asarray(keras.ops.convert_to_numpy(model(np.asarray(x), training=False))), f"Keras {keras.__version__}"


# --- inside -----------------------------------------------------------------------------------------------------------


def _with_activations(layers: Sequence[KerasLayer]) -> list[KerasLayer]:
    """The layers, with those that are an activation alone in the Dense layer below."""
    found: list[KerasLayer] = []
    for layer in layers:
        kind, config = _inner(layer)
        if kind not in ALONE:
            found.append(layer)
            continue
        name = ALONE[kind](config)
        below, settings = _inner(found[-1]) if found else ("", {})
        if name is None or below != "Dense" or settings["activation"] != "linear":
            raise SettingError(f"{layer.name}: one of Keras's own activations, upon a Dense layer that has none, is read")
        found[-1] = replace(found[-1], kind="Dense", config={**settings, "activation": name})
    return found


def _parts(layers: Sequence[KerasLayer], version: int) -> list[Part | Directions]:
    """The layers from below. A layer may give its outputs from the last to the first, as long as one above turns them."""
    found: list[Part | Directions] = []
    turned = False
    for layer in layers:
        if layer.kind == "Bidirectional":
            found.append(_directions(layer, version, turned))
        elif layer.kind in WRAPPING:
            turned ^= _is_backwards(layer.config)
            found += _upon(layer.name, layer.kind, layer.config, layer.arrays, version, turned)
        else:
            found.append(_map(layer, version))
    if turned and _pool(layers) is None:
        top = [layer.name for layer in layers if layer.kind in WRAPPING][-1]
        raise SettingError(f"{top} returns its outputs from the last to the first; there is no counterpart")
    return found


def _is_backwards(config: Mapping[str, Any]) -> bool:
    """Whether a layer reads from the end. Raises `SettingError` for settings that have no counterpart."""
    for name in ("return_state", "time_major"):
        if config.get(name):
            raise SettingError(f"{config['name']}: {name}=True has no counterpart; a layer of one output, batch first, has")
    return bool(config["go_backwards"])


def _map(layer: KerasLayer, version: int) -> Part:
    """An embedding or a dense layer."""
    kind, config = _inner(layer)
    if kind in CODE:
        raise SettingError(f"the layer {layer.name!r} is a {kind}, which carries code; code in a file is not run")
    if kind not in ("Embedding", "Dense"):
        known = ", ".join((*WRAPPING, "Embedding", "Dense", "TimeDistributed"))
        raise SettingError(f"the layer {layer.name!r} is a {kind}, which has no counterpart; there are {known}")
    weights = maps.named("keras", kind)
    activation = _activation(config.get("activation", "linear"), version)
    return Part(layer.name, weights, (_named(weights, layer.arrays),), activation=activation)


def _directions(layer: KerasLayer, version: int, turned: bool) -> Directions:
    """Both directions of a Bidirectional, whose layers may differ. They are turned where what they read is."""
    ahead = own(layer.config["layer"])
    behind = own(layer.config["backward_layer"]) if layer.config.get("backward_layer") else ahead
    merge = MERGES.get(layer.config.get("merge_mode", "concat"))
    if merge is None:
        raise SettingError(f"{layer.name}: merge_mode=None has no counterpart; {', '.join(MERGES)} have")
    if _is_backwards(ahead[2]) or (_is_backwards(behind[2]) != (behind is not ahead)):
        raise SettingError(f"{layer.name}: forward reads from the end, which has no counterpart")
    count = sum(_count(config) for _, config in _cells_of(ahead[0], ahead[2]))
    if behind is ahead:
        count = len(layer.arrays) // 2
    ways = (ahead, layer.arrays[:count]), (behind, layer.arrays[count:])
    forward, backward = (
        tuple(_upon(layer.name, kind, config, arrays, version, turned)) for (kind, _, config), arrays in ways
    )
    return Directions(forward, backward, merge)


def _cells_of(kind: str, config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The cells of a recurrent layer from below, each by the layer that has it alone, and its settings."""
    if kind in RECURRENT:
        return [(kind, config)]
    if kind == "RNN":
        inner, _, held = own(config["cell"])
        entries = [own(entry) for entry in held["cells"]] if inner == "StackedRNNCells" else [(inner, "", held)]
        found = [(inner.removesuffix("Cell"), held) for inner, _, held in entries]
        if all(kind in RECURRENT for kind, _ in found):
            return found
    raise SettingError(f"the layer {config['name']!r} is a {kind} of other cells than {', '.join(RECURRENT)} have")


def _count(config: Mapping[str, Any]) -> int:
    """How many arrays a cell has."""
    return 2 + bool(config.get("use_bias", True))


def _upon(
    name: str, kind: str, config: Mapping[str, Any], arrays: Sequence[Array], version: int, backwards: bool
) -> Iterator[Part]:
    """A recurrent layer in one direction: its cells upon one another."""
    cells_of = _cells_of(kind, config)
    for position, (inner, settings) in enumerate(cells_of):
        form = f"reset_after={bool(settings.get('reset_after', False))}" if inner == "GRU" else ""
        weights, last = maps.named("keras", inner, form), position == len(cells_of) - 1
        ours, arrays = (arrays, ()) if last else (arrays[: _count(settings)], arrays[_count(settings) :])
        equations = _equations(weights, settings, version)
        yield Part(name, weights, (_named(weights, ours),), equations=equations, backwards=backwards)


def _named(weights: maps.Map, arrays: Sequence[Array]) -> dict[str, Array]:
    """The arrays in Keras's order under the names of the map; a bias may be missing."""
    if len(arrays) > len(weights.names):
        raise SettingError(f"{weights}: {len(arrays)} arrays are in the file; there are {', '.join(weights.names)}")
    found = dict(zip(weights.names, arrays, strict=False))
    floating(found)
    return found


def _equations(weights: maps.Map, config: Mapping[str, Any], version: int) -> Cell | None:
    """The cell with the layer's activations; None where they are the usual ones."""
    names = _activation(config["activation"], version), _activation(config.get("recurrent_activation", "sigmoid"), version)
    if names == ("tanh", "sigmoid"):
        return None
    inner, gate = (activation_of(name) or activations.linear for name in names)
    if weights.cell == "elman":
        return cells.elman_with(inner)
    return ported.with_activations(getattr(cells, weights.cell), "_".join((weights.cell, *names)), tanh=inner, sigmoid=gate)


def _activation(given: Any, version: int) -> str:
    """The name of an activation. Raises `SettingError` for one that is code, or unknown."""
    if not isinstance(given, str):
        raise SettingError(f"the activation {given!r} is a function of somebody's; one of Keras's own is wanted")
    name = OF_KERAS_2.get(given, given) if version < 3 else given
    activation_of(name)
    return name


def _inner(layer: KerasLayer) -> tuple[str, Mapping[str, Any]]:
    """Class and settings of a layer, or of that which it repeats at every step."""
    kind, config = layer.kind, layer.config
    while kind == "TimeDistributed":
        kind, _, config = own(config["layer"])
    return kind, config


def _pool(layers: Sequence[KerasLayer]) -> str | None:
    """When the read-out reads: once, where the last recurrent layer returns its last output only."""
    found = [layer for layer in layers if layer.kind in WRAPPING]
    whole = [_returns_all(layer) for layer in found]
    if not all(whole[:-1]):
        name = found[whole.index(False)].name
        raise SettingError(f"{name} returns its last output only, and {found[-1].name} stands on it")
    return "last" if whole and not whole[-1] else None


def _returns_all(layer: KerasLayer) -> bool:
    config = own(layer.config["layer"])[2] if layer.kind == "Bidirectional" else layer.config
    return bool(config["return_sequences"])
