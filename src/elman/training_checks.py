"""What a trainer is made of, and what a checkpoint is to fit: checked, and told in words."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from elman.data import Batch
from elman.encoder_decoder import EncoderDecoder
from elman.errors import CheckpointError, DataError, SettingError
from elman.gates import Array
from elman.network import Network
from elman.schedules import Averaging
from elman.shapes import written
from elman.updates import Optimiser


def check_parts(model: Any, source: Any, optimiser: Any, schedule: Any, averaging: Any) -> None:
    """Raises `SettingError` for a part that is none."""
    if not isinstance(model, Network | EncoderDecoder):
        kind = type(model).__name__
        raise SettingError(f"Trainer: {kind} is no network that is trained so; a Model or an EncoderDecoder is wanted")
    if not all(hasattr(source, name) for name in ("take", "position", "seek")):
        fix = "elman.data.Streams(...) makes one of a sequence, Padded(...) of many, Pairs(...) of pairs"
        raise SettingError(f"Trainer: the source is a {type(source).__name__}, which gives no batches; {fix}")
    if not isinstance(optimiser, Optimiser):
        raise SettingError(f"Trainer: optimiser={optimiser!r} is none; take one such as elman.optim.Adam()")
    if not callable(schedule):
        raise SettingError(f"Trainer: schedule={schedule!r} is none; take one such as elman.schedules.Constant(0.01)")
    if not (averaging is None or isinstance(averaging, Averaging)):
        raise SettingError(f"Trainer: averaging={averaging!r} is none; take elman.schedules.Averaging(0.999), or None")


def checked_batch(found: Any) -> Batch:
    """What a source gave. Raises `DataError` for what is no batch."""
    if not isinstance(found, Batch):
        wanted = "an elman.data.Batch is wanted, Batch(x, targets, lengths=None, anew=True, symbols=...)"
        raise DataError(f"Trainer: the source gave a {type(found).__name__}; {wanted}")
    return found


def checked_rate(rate: Any, step: int) -> float:
    """What a schedule gave for an update, as a number of Python, which the log wants. Raises `SettingError`."""
    number = isinstance(rate, int | float | np.number) and not isinstance(rate, bool)
    if not (number and 0 <= rate < math.inf):
        raise SettingError(
            f"Trainer: the schedule gave {rate!r} for update {step + 1}; a finite number, 0 or more, is wanted"
        )
    return float(rate)


def equations(facts: Mapping[str, Any]) -> Any:
    """What a model is, beside its parameters and how it was trained; so too the decoder in it."""
    found = json.loads(json.dumps({name: fact for name, fact in facts.items() if name != "training"}))
    return found | {"decoder": equations(found["decoder"])} if "decoder" in found else found


def check_equations(theirs: Any, ours: Any) -> None:
    """Raises `CheckpointError` unless both models are the same: by the setting that differs, where all else is."""
    if theirs == ours:
        return
    found = list(_differing("", theirs, ours))
    if all(map(_is_plain, found)):
        name, before, now = found[0]
        raise CheckpointError(f"the checkpoint is of a model with {name} {before}, this one has {now}")
    raise CheckpointError("the checkpoint is of a model with other equations, sizes or vocabulary")


def _differing(name: str, theirs: Any, ours: Any) -> Iterator[tuple[str, Any, Any]]:
    """What differs in two trees of facts, by its last name."""
    if isinstance(theirs, dict) and isinstance(ours, dict) and theirs.keys() == ours.keys():
        for inner in theirs:
            yield from _differing(inner, theirs[inner], ours[inner])
    elif name == "layers" and isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for before, now in zip(theirs, ours, strict=True):
            yield from _differing(name, before, now)
    elif theirs != ours:
        yield name, theirs, ours


def _is_plain(found: tuple[str, Any, Any]) -> bool:
    """Whether it is a number or none that differs, and not what is in a graph or a vocabulary."""
    return all(isinstance(value, int | float | None) for value in found[1:])


def check_alike(part: str, theirs: Mapping[str, Array], ours: Mapping[str, Array]) -> None:
    """Raises `CheckpointError` unless both have the same names, shapes and types."""
    for name in sorted(set(theirs) | set(ours)):
        told = [f"{held[name].dtype} {written(held[name].shape)}" if name in held else "missing" for held in (theirs, ours)]
        if told[0] != told[1]:
            raise CheckpointError(f"the checkpoint does not fit this {part}: {name} is {told[0]}, wanted: {told[1]}")
