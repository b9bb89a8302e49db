"""Origin: where in an update that went wrong the first number is that is not finite, by the names of the equations."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from elman.data import Batch
from elman.encoder_decoder import EncoderDecoder
from elman.errors import ElmanError
from elman.gates import Array
from elman.losses import Loss, network_of, of_pairs, slopes_of
from elman.network import Network
from elman.states import State

TURNED = ("backward", "layer")
"""Parts of layers that read from the last step to the first."""

SLOPES = "the gradient that the loss gave for the logits"


def first_not_finite(
    model: Network | EncoderDecoder,
    own: Loss | None,
    batch: Batch,
    state: State | None,
    noise: int,
    loss: float,
    gradients: Mapping[str, Array],
    updated: Mapping[str, Array],
) -> str:
    """Where the first number is that is not finite: a value at a step of an example, a gradient, or a new parameter.

    The update is run forward once more, every value of it looked at. Values come in the order in which layers are run, and
    within a layer the earliest step decides. A loss of one's `own` is asked once more for its gradient.
    """
    if not np.isfinite(loss) or not all(np.isfinite(g).all() for g in gradients.values()):
        found = _in_values(model, batch, state, noise) or _in_slopes(model, own, batch, state, noise)
        if found:
            return found
    for kind, arrays in (("the gradient of", gradients), ("the new", updated)):
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                return f"first in {kind} {name}"
    return "first in the loss" if not np.isfinite(loss) else "first in the norm"


def _in_values(model: Network | EncoderDecoder, batch: Batch, state: State | None, noise: int) -> str:
    """The first value that is not finite, as a text; nothing where all are."""
    network = network_of(model)
    given: tuple[Any, ...] = (batch.x, state, batch.lengths)
    parts: dict[str, Iterable[str]] = {"": network.rnn.values}
    if isinstance(model, EncoderDecoder):
        given, bridges = of_pairs(batch), tuple(model._bridges)
        parts = {"encoder.": model.encoder.values, "bridge.": bridges, "decoder.": network.rnn.values}
    for before, held_here in parts.items():  # one after another: what is not finite is no state to begin from
        names = [f"{before}{name}" for name in held_here]
        read = [f"{before}{name}" for name in network._read_values] if before in ("", "decoder.") else []
        with np.errstate(all="ignore"):
            try:
                values = model.inspect(*given, keep=[*names, *read], dropout_seed=noise)
            except ElmanError as error:  # what was given is refused now, such as a state
                return str(error)
        layers: dict[str, dict[str, Array]] = {}
        for name in names:  # as they are run
            layers.setdefault(name.rpartition(".")[0], {})[name] = values.pop(name)
        looks = [_earliest(held, once=before == "bridge.", turned=_is_turned(layer)) for layer, held in layers.items()]
        looks.append(_earliest(values, once=network.head.once, turned=False))  # those of the read-out are left
        if any(looks):
            return next(filter(None, looks))
    return ""


def _in_slopes(model: Network | EncoderDecoder, own: Loss | None, batch: Batch, state: State | None, noise: int) -> str:
    """The first number that is not finite of what a loss of all logits gave for them; nothing where all are."""
    if own is None or not isinstance(model, Network):
        return ""
    with np.errstate(all="ignore"):
        slopes = slopes_of(own, model, batch, state, noise)
    return "" if slopes is None else _earliest({SLOPES: slopes}, once=model.head.once, turned=False)


def _is_turned(layer: str) -> bool:
    """Whether a layer, by its name, reads from the last step to the first."""
    return sum(part in TURNED for part in layer.split(".")) % 2 == 1


def _earliest(values: Mapping[str, Array], *, once: bool, turned: bool) -> str:
    """Of values `[B, T, ...]` the first that is not finite, in the order of reading; `once`: they are `[B, ...]`."""
    found: list[tuple[int, int, str, int, float]] = []
    for order, (name, value) in enumerate(values.items()):
        steps = value[:, None] if once else value
        rows = steps.reshape(*steps.shape[:2], -1)  # [B, T, units]
        wrong = np.any(~np.isfinite(rows), axis=-1)
        if wrong.any():
            step = int(np.flatnonzero(wrong.any(0))[-1 if turned else 0])
            example = int(np.flatnonzero(wrong[:, step])[0])
            [number, *_] = (x for x in rows[example, step] if not np.isfinite(x))
            found.append((-step if turned else step, order, name, example, float(number)))
    if not found:
        return ""
    step, _, name, example, number = min(found)
    place = "" if once else f"step {abs(step)} of "
    return f"first in {name}, which is {number} at {place}example {example}, counted from 0"
