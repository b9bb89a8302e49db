"""Weights from Keras, which is not needed for it: models of recurrent layers in .keras and .h5 files."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elman import cells
from elman.cells import activations, ported
from elman.errors import ElmanError, ModelFileError, SettingError, one_line
from elman.foreign import Part, activation_of, floating, model_of
from elman.gates import Array
from elman.io import keras_file, maps
from elman.io.keras_file import KerasLayer
from elman.model import Model
from elman.trace import Cell

RECURRENT = ("SimpleRNN", "GRU", "LSTM")
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

MERGES = {"concat": "concatenate", "sum": "sum", "mul": "product", "ave": "mean"}

OF_KERAS_2 = {"hard_sigmoid": "hard_sigmoid_of_keras_2"}
"""Names that stood for something else before version 3."""


def load(path: str | os.PathLike[str]) -> Model:
    """A model from a file of Keras: Embedding, SimpleRNN, GRU (both forms), LSTM, Bidirectional, Dense, and stacks of them.

    A recurrent layer that returns its last output makes a model that reads once a sequence. Where Keras masks (Masking,
    `mask_zero`), give `lengths`: outputs past a length are 0 here, while Keras repeats the last. Raises `ModelFileError` for
    a file that is damaged, or has layers that carry code or have no counterpart, `MissingLibraryError` without h5py.
    """
    layers, version = keras_file.read(path)
    try:
        used = [layer for layer in layers if layer.kind not in NOTHING]
        parts = [_part(layer, version) for layer in used]
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


def _part(layer: KerasLayer, version: int) -> Part:
    """A layer as its map and arrays."""
    (kind, config), arrays = _inner(layer), layer.arrays
    if kind in CODE:
        raise SettingError(f"the layer {layer.name!r} is a {kind}, which carries code; code in a file is not run")
    if kind in ("Embedding", "Dense"):
        weights = maps.named("keras", kind)
        activation = _activation(config.get("activation", "linear"), version)
        return Part(layer.name, weights, (_named(weights, arrays),), activation=activation)
    if kind not in RECURRENT:
        known = ", ".join((*RECURRENT, "Bidirectional", "Embedding", "Dense", "TimeDistributed"))
        raise SettingError(f"the layer {layer.name!r} is a {kind}, which has no counterpart; there are {known}")
    form = f"reset_after={bool(config.get('reset_after', False))}" if kind == "GRU" else ""
    weights, ways = maps.named("keras", kind, form), 2 if layer.kind == "Bidirectional" else 1
    merge, backwards = MERGES.get(layer.config.get("merge_mode", "concat")), bool(config["go_backwards"])
    if merge is None or (ways == 2 and backwards):
        raise SettingError(f"{layer.name}: merge_mode=None and directions that are turned have no counterpart")
    parted = [arrays[k * len(arrays) // ways : (k + 1) * len(arrays) // ways] for k in range(ways)]
    directions, equations = tuple(_named(weights, way) for way in parted), _equations(weights, config, version)
    return Part(layer.name, weights, directions, equations=equations, merge=merge, backwards=backwards)


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
    """Class and settings of a layer, or of that which it wraps."""
    kind, config = layer.kind, layer.config
    while kind in ("Bidirectional", "TimeDistributed"):
        kind, config = config["layer"]["class_name"], config["layer"]["config"]
    return kind, config


def _pool(layers: Sequence[KerasLayer]) -> str | None:
    """When the read-out reads: once, where the last recurrent layer returns its last output only."""
    found = [(layer, config) for layer in layers for kind, config in [_inner(layer)] if kind in RECURRENT]
    for layer, config in found:
        if not config["return_sequences"] and layer is not found[-1][0]:
            raise SettingError(f"{layer.name} returns its last output only, and {found[-1][0].name} stands on it")
        if config["return_sequences"] and config["go_backwards"]:
            raise SettingError(f"{layer.name} returns its outputs from the last to the first; there is no counterpart")
    return None if not found or found[-1][1]["return_sequences"] else "last"
