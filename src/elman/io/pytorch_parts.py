"""The arrays of a state_dict as layers: told apart by their names and sizes, from below."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from elman import cells, gates
from elman.errors import SettingError, ShapeError
from elman.foreign import Part
from elman.gates import Array
from elman.io import maps
from elman.layer_order import ordered
from elman.shapes import written

RECURRENT = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))(?:_l(\d+))?(_reverse)?")
KINDS = {1: "RNN", 3: "GRU", 4: "LSTM"}
"""By the rows of weight_hh over its columns."""

LINEAR, EMBEDDING = (maps.named("pytorch", kind) for kind in ("Linear", "Embedding"))
RELU = cells.elman_with(gates.relu)
FOLLOWING = ("linear", "tanh", "sigmoid", "relu", "softmax", "log_softmax", "softplus", "softsign", "elu", "selu", "silu",
             "mish", "relu6", "gelu")  # fmt: skip
"""Activations that are called the same and compute the same in PyTorch."""


def parts(
    arrays: Mapping[str, Array],
    nonlinearity: str,
    activations: Sequence[str] | None,
    *,
    defined: bool,
    tables: Collection[str] | None = None,
) -> list[Part]:
    """The layers from below; the arrays are in the order in which they are `defined`, or in none.

    `tables` are the names of the embeddings, where a module tells them.
    """
    _check_plain(arrays)
    cells_of = _grouped(arrays)
    _check_biases(cells_of)
    inputs = {ways[""]["weight_ih"].shape[1:] for ways in cells_of.values() if "weight_ih" in ways.get("", {})}
    first = next(iter(cells_of))
    found = []
    for spot in _counted(list(cells_of)):
        if "weight_hh" in cells_of[spot].get("", {}):
            found.append(_recurrent(spot, cells_of[spot], nonlinearity))
        else:
            embeds = None if tables is None else spot[0] in tables
            found.append(_other(spot[0], cells_of[spot], inputs, embeds=embeds, first=defined and spot == first))
    found = found if defined else ordered(found, "give the state_dict, or a .pt file of it, which has their order")
    following = iter(_told([part for part in found if part.is_linear], activations))
    return [replace(part, activation=next(following)) if part.is_linear else part for part in found]


# --- inside -----------------------------------------------------------------------------------------------------------


def _check_plain(arrays: Collection[str]) -> None:
    """Raises `SettingError` for a weight that is kept as what it is computed from, as by weight_norm."""
    for name in arrays:
        inside, _, rest = name.partition("parametrizations.")
        if rest or (name.endswith("_g") and f"{name[:-2]}_v" in arrays):
            told = inside + rest.partition(".")[0] if rest else name[:-2]
            fix = "take the state_dict after torch.nn.utils.parametrize.remove_parametrizations (or remove_weight_norm)"
            raise SettingError(f"pytorch: {told} is computed from other arrays, as by weight_norm; {fix}")


def _grouped(arrays: Mapping[str, Array]) -> dict[tuple[str, str], dict[str, dict[str, Array]]]:
    """Arrays by prefix and layer, then by direction, then by their own names."""
    found: dict[tuple[str, str], dict[str, dict[str, Array]]] = {}
    for key, array in arrays.items():
        known = RECURRENT.fullmatch(key)
        if known:
            prefix, name, layer, way = known[1] or "", known[2], "" if known[3] is None else f"_l{known[3]}", known[4] or ""
        else:
            prefix, _, name = key.rpartition(".")
            layer = way = ""
        found.setdefault((prefix, layer), {}).setdefault(way, {})[name] = array
    return found


def _check_biases(cells_of: Mapping[tuple[str, str], Mapping[str, Mapping[str, Array]]]) -> None:
    """Raises `SettingError` where some biases of a recurrent module are there and some are missing: `bias` is of all."""
    wanted: dict[str, str] = {}
    held: set[str] = set()
    for (prefix, ending), ways in cells_of.items():
        for way, arrays in ways.items():
            for name in ("bias_ih", "bias_hh") if "weight_hh" in arrays else ():
                held |= {joined(prefix, name + ending + way)} if name in arrays else set()
                wanted[joined(prefix, name + ending + way)] = prefix
    there = {wanted[name] for name in held}
    missing = next((name for name, prefix in wanted.items() if prefix in there and name not in held), None)
    if missing is not None:
        beside = next(name for name in wanted if name in held and wanted[name] == wanted[missing])
        why = "an RNN, GRU or LSTM has all of its biases or none"
        raise SettingError(f"pytorch: {missing} is missing, and {beside} is there; {why}: take the whole state_dict")


def _told(linear: Sequence[Part], activations: Sequence[str] | None) -> list[str]:
    """What follows each linear layer."""
    told = list(activations) if activations is not None else ["linear"] * len(linear)
    if len(told) != len(linear) or (activations is None and len(linear) > 1):
        names = ", ".join(part.name for part in linear) or "none"
        example = ["relu"] * (len(linear) - 1) + ["linear"]
        fix = f"such as activations={example!r} (linear: nothing follows)" if linear else "leave them out"
        raise SettingError(
            f"pytorch: the linear layers are {names}, and weights do not tell what follows each; "
            f"activations wanted: {len(linear)}, given: {len(activations or ())}; {fix}"
        )
    unknown = next((name for name in told if name not in FOLLOWING), None)
    if unknown is not None:
        raise SettingError(
            f"pytorch: the activation {unknown!r} is unknown; it is one of {', '.join(FOLLOWING)} (linear: nothing)"
        )
    return told


def _counted(spots: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Prefixes and layers, the layers of a prefix by their numbers: a sorted file has the tenth before the second."""
    layers: dict[str, list[str]] = {}
    for prefix, layer in spots:
        layers.setdefault(prefix, []).append(layer)
    for prefix, found in layers.items():
        found.sort(key=lambda layer: int(layer.removeprefix("_l") or -1))
        numbered = [layer for layer in found if layer]
        missing = next((k for k, layer in enumerate(numbered) if layer != f"_l{k}"), None)
        if missing is not None:
            raise SettingError(f"pytorch: {prefix or 'the RNN'} has {numbered[missing]} and no _l{missing} below it")
    return [(prefix, layer) for prefix, found in layers.items() for layer in found]


def _recurrent(spot: tuple[str, str], ways: Mapping[str, Mapping[str, Array]], nonlinearity: str) -> Part:
    """A layer of nn.RNN, GRU or LSTM, told apart by their rows."""
    (prefix, ending), told = spot, joined(*spot).rstrip(".")
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


def _other(
    prefix: str, ways: Mapping[str, Mapping[str, Array]], inputs: set[Any], *, embeds: bool | None, first: bool
) -> Part:
    """An embedding, or a linear layer. Where no module tells (`embeds`), an embedding comes first or is called so, has no
    bias, and gives what an RNN reads.
    """
    [arrays] = ways.values()
    if not set(arrays) <= {"weight", "bias"} or "weight" not in arrays or arrays["weight"].ndim != 2:
        name = joined(prefix, next(iter(arrays)))
        raise SettingError(f"pytorch: {name} belongs to no layer that there is a weight map of; `elman maps` lists them")
    if embeds is None:
        embeds = "bias" not in arrays and arrays["weight"].shape[1:] in inputs and (first or "emb" in prefix.lower())
    return Part(prefix, EMBEDDING if embeds else LINEAR, (arrays,))


def joined(prefix: str, name: str) -> str:
    """The name of an array within a module."""
    return f"{prefix}.{name}" if prefix else name
