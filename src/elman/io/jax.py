"""Weights from and to libraries for JAX, which are not needed for it: mappings of arrays of flax and equinox."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elman.errors import SettingError, ShapeError
from elman.foreign import (
    ACTIVATIONS,
    Part,
    activation_of,
    arrays_of,
    floating,
    layers_of,
    linear_maps,
    map_of,
    maps_of_readout,
    model_of,
    ways_of,
)
from elman.gates import Array
from elman.io import maps, packing
from elman.layer_order import ordered
from elman.model import Model

FRAMEWORKS = ("flax", "equinox")

CHOICES = linear_maps(ACTIVATIONS)
"""Equations that the maps' arrays have besides the map's own."""


def load(
    arrays: Mapping[str, Any], framework: str, *, activations: Sequence[str] | None = None, pool: str | None = None
) -> Model:
    """A model from the arrays of a net by name, in mappings within mappings as flax has them, or with points in the names.

    Layers stand in the one order in which their sizes meet; `activations` follow the dense ones from below ("linear" where
    there is one), `pool` is that of `Model.from_layers`. Raises `SettingError` or `ShapeError` for arrays of other layers.

    >>> import numpy as np
    >>> held = {"weight_ih": np.ones((12, 3)), "weight_hh": np.ones((12, 4)), "bias": np.ones(12), "bias_n": np.ones(4)}
    >>> load({"cell": held}, "equinox")
    Model(3 features, gru, 100 parameters, float64)
    """
    _check(framework)
    flat = dict(_flat(arrays))
    floating(flat)
    parts = ordered(list(_parts(flat, framework)), "give the layers one by one, or another model of them")
    dense = [part for part in parts if part.is_linear]
    told = ["linear"] if activations is None and len(dense) == 1 else list(activations or ())
    if len(told) != len(dense):
        names = ", ".join(part.name for part in dense) or "none"
        raise SettingError(f"{framework}: the dense layers are {names}; give activations, {len(dense)} of them")
    for name in told:
        activation_of(name)
    following = iter(told)
    parts = [replace(part, activation=next(following)) if part.is_linear else part for part in parts]
    return model_of(parts, pool=pool, origin={"framework": framework, "parts": [[p.name, p.weights.layer] for p in parts]})


def arrays(model: Model, framework: str) -> dict[str, Array]:
    """The arrays of a model under the names of a framework, with points; what `load` read comes out to the bit.

    Layers are called as they came, or `layer_0` and so on. Raises `SettingError` for equations that the framework lacks.

    >>> import elman
    >>> list(arrays(elman.Model(8, 5, cell=elman.cells.gru), "equinox"))[:4]
    ['layer_0.weight_ih', 'layer_0.weight_hh', 'layer_0.bias', 'layer_0.bias_n']
    """
    _check(framework)
    layers, above = layers_of(model.rnn), maps_of_readout(model)
    held = [values for layer in layers for values in [_arrays(layer, framework)]]
    dense = maps.named(framework, "Dense" if framework == "flax" else "Linear")
    held += [packing.packed(dense, values) for values in above]
    imported = model.training.get("imported", {})
    names = [str(name) for name, _ in imported.get("parts", ())] if imported.get("framework") == framework else []
    names = names if len(names) == len(held) else [f"layer_{k}" for k in range(len(held))]
    return {_joined(name, array): v for name, values in zip(names, held, strict=True) for array, v in values.items()}


# --- inside -----------------------------------------------------------------------------------------------------------


def _check(framework: str) -> None:
    if framework not in FRAMEWORKS:
        raise SettingError(f"there is no weight map of {framework!r} here; it is one of {', '.join(FRAMEWORKS)}")


def _flat(given: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Array]]:
    """Arrays by names with points; what is None, as a bias that is left out, is not there."""
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from _flat(value, _joined(before, str(name)))
        elif value is not None:
            array = np.asarray(value)
            yield _joined(before, str(name)), array.astype(np.float32) if array.dtype == np.float16 else array


def _parts(flat: Mapping[str, Array], framework: str) -> Iterator[Part]:
    """The layers, each with the map whose names and sizes its arrays have; all arrays belong to one."""
    left = dict(flat)
    prefixes = dict.fromkeys(".".join(name.split(".")[:k]) for name in flat for k in range(name.count(".") + 1))
    for prefix in sorted(prefixes, key=lambda name: name.count(".") + bool(name)):  # a cell before what it is made of
        inner = {n: n.removeprefix(f"{prefix}.") for n in left if not prefix or n.startswith(f"{prefix}.")}
        held = {short: left[name] for name, short in inner.items()}
        weights = next((m for m in maps.MAPS if m.framework == framework and held and _fits(m, held, prefix)), None)
        if weights is not None:
            left = {name: array for name, array in left.items() if name not in inner}
            yield Part(prefix, weights, (held,))
    if left:
        raise SettingError(f"{framework}: {next(iter(left))} belongs to no layer that there is a weight map of")


def _fits(weights: maps.Map, held: Mapping[str, Array], prefix: str) -> bool:
    """Whether arrays are those of a map. A lone matrix is an embedding where it is called so."""
    if weights.layer in ("Embedding", "Linear") and list(held) == ["weight"]:
        return (weights.layer == "Embedding") == ("emb" in prefix.lower())
    try:
        packing.unpacked(weights, held)
    except (SettingError, ShapeError):
        return False
    return True


def _arrays(layer: Any, framework: str) -> dict[str, Array]:
    """The arrays of a layer in one direction."""
    [rnn, *others] = ways_of(layer)
    if others:
        raise SettingError(f"{layer.name}: {framework} has no layer of two directions here; take them apart")
    return arrays_of(rnn, map_of(rnn, framework, CHOICES)[0])


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
