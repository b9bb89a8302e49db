"""Models from the layers of another framework, and back: what the frameworks share, by the weight maps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elman import cells, gates
from elman.cells import activations, ported
from elman.errors import SettingError, ShapeError
from elman.gates import Array
from elman.graph import equations_of
from elman.io.maps import MAPS, Map
from elman.io.packing import cell_of, packed, unpacked
from elman.layer import Layer
from elman.model import Model
from elman.pooled import Pooled
from elman.rnn import RNN
from elman.stack import Backwards, Bidirectional, Stack
from elman.trace import Cell

Arrays = Mapping[str, Array]

ACTIVATIONS: dict[str, Callable[[Any], Any] | None] = {
    "linear": None,
    **{name: getattr(gates, name) for name in ("tanh", "sigmoid", "relu", "softmax", "softplus", "log_softmax")},
    **{name: getattr(activations, name) for name in (
        "softsign", "elu", "selu", "silu", "mish", "relu6", "leaky_relu", "hard_silu", "hard_sigmoid",
        "hard_sigmoid_of_keras_2", "gelu", "squareplus", "log_sigmoid", "hard_tanh", "tanh_shrink", "soft_shrink",
        "hard_shrink", "sparse_plus", "sparse_sigmoid",
    )},
    "celu": activations.elu,
    "exponential": gates.exp,
    "swish": activations.silu,
    "hard_swish": activations.hard_silu,
}  # fmt: skip
"""What may follow a linear layer, or stand in a cell, by the name that frameworks have for it."""


@dataclass(frozen=True)
class Part:
    """A layer of another framework: what it is called there, its map, and its arrays in one direction or in both.

    `ending` is what the names of its arrays end with. `equations` stand in the place of the map's cell; `activation` follows
    a linear layer.
    """

    name: str
    weights: Map
    ways: tuple[Arrays, ...]
    ending: str = ""
    equations: Cell | None = None
    activation: str = "linear"
    backwards: bool = False

    @property
    def is_linear(self) -> bool:
        """Whether it is a map that a read-out can be."""
        return self.weights.cell == "readout_linear"


@dataclass(frozen=True)
class Directions:
    """Two directions over one sequence, each of parts from below, and how what they give becomes one."""

    forward: tuple[Part, ...]
    backward: tuple[Part, ...]
    merge: str = "concatenate"

    @property
    def is_linear(self) -> bool:
        """It is not."""
        return False


def model_of(
    parts: Sequence[Part | Directions], *, pool: str | None = None, origin: Mapping[str, Any] | None = None
) -> Model:
    """A model of parts from below: an embedding reads tokens, linear parts at the top are the read-out.

    Raises `SettingError` or `ShapeError` for arrays that are none of a part's, and for parts that do not meet.
    """
    top = len(parts) - next((k for k, part in enumerate(reversed(parts)) if not part.is_linear), len(parts))
    below, above = list(parts[:top]), [part for part in parts[top:] if isinstance(part, Part)]
    if not below:
        raise SettingError("there is no recurrent layer and no embedding in it, so there is no model to make")
    readout, values = _readout(above)
    if pool == "last" and isinstance(below[-1], Directions) and below[-1].merge != "concatenate":
        readout = ported.merging(readout, below[-1].merge)  # the last steps of the directions, which are two
        below[-1] = replace(below[-1], merge="concatenate")
    layers = _stacked(below)
    outputs: dict[str, Any] = {name: size for name, size in _sizes(readout, values).items() if name != "hidden"}
    if ported.WAY in readout.sizes:
        outputs[ported.WAY] = int(layers.output_shape[0]) // 2
    reads = isinstance(below[0], Part) and below[0].weights.cell == "embedding"
    model = Model.from_layers(layers, readout=readout, pool=pool, tokens=reads, **outputs)
    model.update(values)
    model.training = {"imported": dict(origin or {})} if origin else {}
    return model


def floating(arrays: Arrays) -> str:
    """The type that holds all arrays: float64 where one of them is. Raises `ShapeError` for arrays of other numbers."""
    other = next((name for name, array in arrays.items() if array.dtype.kind != "f"), None)
    if other is not None:
        raise ShapeError(f"{other} holds {arrays[other].dtype}; weights are floating-point numbers")
    return "float64" if any(array.dtype.itemsize > 4 for array in arrays.values()) else "float32"


def layers_of(layer: Layer) -> tuple[Layer, ...]:
    """The layers of a model from below, without what pools them. Raises `SettingError` for residual ones."""
    inner = layer.layer if isinstance(layer, Pooled) else layer
    if isinstance(inner, Stack) and inner.residual:
        raise SettingError(f"{inner.name}: layers that add their input to their output have no counterpart elsewhere")
    return inner.layers if isinstance(inner, Stack) else (inner,)


def ways_of(layer: Layer) -> tuple[RNN, ...]:
    """The cells of a layer: one, or that of each direction. Raises `SettingError` for another layer."""
    ways = tuple(layer.parts.values()) if isinstance(layer, Bidirectional) else (layer,)
    if isinstance(layer, Bidirectional) and layer.merge != "concatenate":
        raise SettingError(
            f"{layer.name}: elsewhere two directions stand side by side; the {layer.merge} has no counterpart"
        )
    if not all(isinstance(way, RNN) for way in ways):
        raise SettingError(f"{layer.name}: an RNN, or two in a Bidirectional, have a counterpart elsewhere; this has none")
    return ways  # type: ignore[return-value]


def map_of(rnn: RNN, framework: str, choices: Sequence[Cell] = ()) -> tuple[Map, Cell | None]:
    """The map of a framework under which an RNN has the equations it has; `choices` are further equations to try.

    Raises `SettingError` where the framework has no such layer.
    """
    held, equations = list(rnn.parameters), equations_of(rnn.graph)
    for weights in (m for m in MAPS if m.framework == framework):
        for chosen in (None, *choices):
            cell = cell_of(weights, held, chosen)
            alike = set(cell.parameters) == set(held) <= set(weights.parameters) and set(cell.sizes) == set(rnn.graph.sizes)
            if alike and equations_of(cell.graph(**rnn.graph.sizes)) == equations:
                return weights, chosen
    known = ", ".join(dict.fromkeys(m.layer for m in MAPS if m.framework == framework))
    raise SettingError(f"{rnn.name}: {framework} has no layer with these equations; it has {known}")


def arrays_of(rnn: RNN, weights: Map) -> dict[str, Array]:
    """The arrays that a framework would hold for an RNN."""
    return packed(weights, rnn.parameters)


def maps_of_readout(model: Model) -> list[dict[str, Array]]:
    """Weights and biases of the maps of a read-out from below, as `wya` and `by`; none where it changes nothing."""
    held, names = dict(model.readout.parameters), [("wya", "by")]
    names = [(f"w{k}", f"b{k}") for k in range(1, len(held) + 1) if f"w{k}" in held] + names
    if set(held) - {name for pair in names for name in pair}:
        raise SettingError(f"{model.readout.name}: a read-out of linear maps has a counterpart elsewhere; this has none")
    found = [{ours: held[name] for ours, name in zip(("wya", "by"), pair, strict=True) if name in held} for pair in names]
    if ported.WAY in model.readout.sizes:
        raise SettingError(f"{model.readout.name}: it reads two directions as one, which has no counterpart elsewhere")
    return [entry for entry in found if entry]


def linear_maps(names: Iterable[str]) -> tuple[Cell, ...]:
    """Every cell that a linear layer can be, with these activations behind it."""
    return tuple(linear_map(name, has_bias) for name in names for has_bias in (True, False))


def linear_map(activation: str, has_bias: bool) -> Cell:
    """A linear layer and what follows it, as a read-out of one map."""
    named = {"softmax": cells.readout, "sigmoid": cells.readout_sigmoid, "linear": cells.readout_linear}
    if has_bias and activation in named:
        return named[activation]
    return ported.readout_of([activation_of(activation)], [has_bias])


# --- inside -----------------------------------------------------------------------------------------------------------


def _stacked(parts: Sequence[Part | Directions]) -> Layer:
    layers = [_layer(part) for part in parts]
    try:
        return layers[0] if len(layers) == 1 else Stack(layers)
    except SettingError as error:
        names = ", ".join(part.name + part.ending if isinstance(part, Part) else "two directions" for part in parts)
        raise SettingError(f"{error}; the layers, from below, are taken to be {names}") from None


def _layer(part: Part | Directions) -> Layer:
    if isinstance(part, Directions):
        return Bidirectional(_stacked(part.forward), _stacked(part.backward), merge=part.merge)
    ways = []
    for arrays in part.ways:
        try:
            values, sizes = unpacked(part.weights, arrays)
        except (SettingError, ShapeError) as error:
            raise type(error)(f"{part.name or part.weights.layer}: {error}") from None
        named: dict[str, Any] = sizes
        ways.append(RNN(_cell(part, list(values)), dtype=floating(arrays), **named))
        ways[-1].update(values)
    if len(ways) > 1:
        return Bidirectional(*ways)
    return Backwards(ways[0]) if part.backwards else ways[0]


def _cell(part: Part, held: Sequence[str]) -> Cell:
    if part.is_linear:
        return linear_map(part.activation, "by" in held)
    return cell_of(part.weights, held, part.equations)


def activation_of(name: str) -> Callable[[Any], Any] | None:
    """An activation by the name that frameworks share. Raises `SettingError` for an unknown one."""
    if name not in ACTIVATIONS:
        raise SettingError(f"the activation {name!r} is unknown; it is one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _readout(parts: Sequence[Part]) -> tuple[Cell, dict[str, Array]]:
    """The read-out of linear parts, and its parameters."""
    if not parts:
        return ported.unread, {}
    values: dict[str, Array] = {}
    held = [unpacked(part.weights, part.ways[0])[0] for part in parts]
    for position, found in enumerate(held):
        last = position == len(parts) - 1
        values |= found if last else {{"wya": f"w{position + 1}", "by": f"b{position + 1}"}[n]: v for n, v in found.items()}
    if len(parts) == 1:
        return linear_map(parts[0].activation, "by" in values), values
    activations = [activation_of(part.activation) for part in parts]
    return ported.readout_of(activations, ["by" in found for found in held]), values


def _sizes(readout: Cell, values: Arrays) -> dict[str, int]:
    """The sizes of a read-out, from the rows and columns of its weights."""
    found: dict[str, int] = {}
    for name, value in values.items():
        found |= dict(zip(map(str, readout.parameters[name].shape), value.shape, strict=True))
    return found
