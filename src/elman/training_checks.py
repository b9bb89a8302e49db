"""What a trainer is made of, and what a checkpoint is to fit: checked, and told in words."""

import json
from collections.abc import Mapping
from typing import Any

from elman.encoder_decoder import EncoderDecoder
from elman.errors import CheckpointError, SettingError
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


def equations(facts: Mapping[str, Any]) -> Any:
    """What a model is, beside its parameters and how it was trained; so too the decoder in it."""
    found = json.loads(json.dumps({name: fact for name, fact in facts.items() if name != "training"}))
    return found | {"decoder": equations(found["decoder"])} if "decoder" in found else found


def check_alike(part: str, theirs: Mapping[str, Array], ours: Mapping[str, Array]) -> None:
    """Raises `CheckpointError` unless both have the same names, shapes and types."""
    for name in sorted(set(theirs) | set(ours)):
        told = [f"{held[name].dtype} {written(held[name].shape)}" if name in held else "missing" for held in (theirs, ours)]
        if told[0] != told[1]:
            raise CheckpointError(f"the checkpoint does not fit this {part}: {name} is {told[0]}, wanted: {told[1]}")
