"""Learning the plain way: streams of tokens, truncated back-propagation through time, Adam, a validation share."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from elman.checks import check_tokens, checked_share, checked_truth
from elman.data import Streams
from elman.errors import DataError, SettingError, ShapeError
from elman.gates import Array
from elman.model import Model
from elman.optim import optimiser
from elman.schedules import Averaging, Schedule, schedule
from elman.shapes import written
from elman.trainer import NATS_PER_BIT, Trainer
from elman.updates import Optimiser

COUNTED = 1 << 18
"""Tokens whose pairs are counted at a time, since they may be a map of a large file, and a pair takes some 50 bytes."""


@dataclass(frozen=True)
class Settings:
    """How to train: `batch` streams, windows of `length` steps, `steps` updates.

    `rate` is that of the `optimiser` at its height; it rises over `warm_up` updates and falls as `schedule` says, both by
    the names that `elman.optim` and `elman.schedules` know. `clip` bounds the norm of the gradients, `clip_value` before
    that their numbers. `seed` chooses where the streams start and what dropout drops. `momentum`, `nesterov`, `beta1`,
    `beta2` and `weight_decay` are those of the optimiser (None: its own), `average` is the decay of an average of the
    parameters (`elman.schedules.Averaging`; None: there is none); `label_smoothing` and `recompute` are as for `gradients`
    of the model. Raises `SettingError` for a value out of range.
    """

    length: int = 64
    batch: int = 32
    steps: int = 2000
    rate: float = 0.003
    clip: float = 1.0
    warm_up: int = 50
    seed: int = 0
    optimiser: str = "adam"
    schedule: str = "cosine"
    clip_value: float | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    beta1: float | None = None
    beta2: float | None = None
    weight_decay: float | None = None
    average: float | None = None
    label_smoothing: float = 0.0
    recompute: bool = False

    def __post_init__(self) -> None:
        for name, least in (("length", 1), ("batch", 1), ("steps", 1), ("warm_up", 0), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise SettingError(f"{name}={value!r} must be an integer, {least} or more")
        for name in ("rate", "clip", "clip_value"):
            value, number = getattr(self, name), int | float | np.number
            is_none = name == "clip_value" and value is None
            is_number = isinstance(value, number) and not isinstance(value, bool)
            if not (is_none or (is_number and math.isfinite(value) and value > 0)):
                raise SettingError(f"{name}={value!r} must be a number above 0, and finite")
        checked_share("label_smoothing", self.label_smoothing)
        checked_truth("recompute", self.recompute)
        _ = self.rule, self.rates, self.averaging

    @property
    def rule(self) -> Optimiser:
        """The optimiser."""
        given = {name: getattr(self, name) for name in ("momentum", "nesterov", "beta1", "beta2", "weight_decay")}
        return optimiser(self.optimiser, **{name: value for name, value in given.items() if value is not None})

    @property
    def averaging(self) -> Averaging | None:
        """The average of the parameters, where there is to be one."""
        try:
            return None if self.average is None else Averaging(self.average)
        except SettingError:
            wanted = "a share, at least 0 and below 1, or 1 for the plain mean"
            raise SettingError(f"average={self.average!r} must be {wanted}") from None

    @property
    def rates(self) -> Schedule:
        """The rate of each update, counted from 0."""
        return schedule(self.schedule, self.rate, self.steps, self.warm_up)


def split(tokens: Array, share: float) -> tuple[Array, Array]:
    """Cut off the last `share` of the tokens for validation; returns the training and the validation part.

    Raises `SettingError` for a share outside 0 to 1 and `DataError` where too little is left to learn from.
    """
    if not (isinstance(share, int | float | np.number) and 0 <= share < 1):
        raise SettingError(f"validation={share!r} must be a share, at least 0 and below 1")
    held = round(len(tokens) * share)
    if len(tokens) - held < 2:
        left = f"{len(tokens) - held} of {len(tokens)} symbols to learn from"
        raise DataError(f"a validation share of {share:g} leaves {left}; at least 2 are wanted")
    return tokens[: len(tokens) - held], tokens[len(tokens) - held :]


def train(model: Model, tokens: Array, settings: Settings | None = None) -> Trainer:
    """Training of a model on tokens `[N]`: an update each time it is asked; stop asking, and the model stands as it is.

    The state goes on from window to window, as the text does. Raises `DataError` where there is too little text, and where
    the loss, a gradient or a new parameter is not finite: the model then still has the parameters of the update before.
    """
    if not isinstance(settings, Settings | None):
        wanted = "elman.train.Settings(...) is wanted, or None for the usual ones"
        raise SettingError(f"train: settings={settings!r} is a {type(settings).__name__}; {wanted}")
    asked = settings or Settings()
    source = Streams(_text(model, tokens, "train"), batch=asked.batch, length=asked.length, seed=asked.seed)
    named = ("steps", "clip", "clip_value", "seed", "averaging", "label_smoothing", "recompute")
    return Trainer(model, source, asked.rule, asked.rates, **{name: getattr(asked, name) for name in named})


def _text(model: Model, tokens: Any, asked: str) -> Array:
    """Tokens of one long sequence, checked."""
    if not model.reads_tokens or model.head.once:
        raise SettingError(f"{asked}: this model is none of language; use model.gradients and elman.optim on features")
    checked: Array = model._input(tokens)
    if checked.ndim != 1:
        raise ShapeError(f"{asked}: tokens are {written(checked.shape)}; one long sequence [N] is wanted")
    if len(checked) < 2:
        raise DataError(f"{asked}: {len(checked)} symbol; at least 2 are wanted")
    return checked


def evaluate(model: Model, tokens: Array, *, streams: int = 16, chunk: int = 256) -> float:
    """Mean bits a symbol over tokens `[N]`, read as `streams` contiguous pieces, the state carried through each.

    Raises `DataError` for fewer than 2 tokens, `SettingError` for streams or a chunk below 1.
    """
    tokens = _text(model, tokens, "evaluate")
    for name, value in (("streams", streams), ("chunk", chunk)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise SettingError(f"evaluate: {name}={value!r} must be an integer, 1 or more")
    streams = max(1, min(streams, (len(tokens) - 1) // 64))
    length = (len(tokens) - 1) // streams
    begins, state, total = length * np.arange(streams)[:, None], None, 0.0
    for start in range(0, length, chunk):
        at = begins + np.arange(start, min(start + chunk, length))  # [B, T] at a time: the tokens may be a map of a file
        losses, state = model.losses(tokens[at].astype(np.int64), tokens[at + 1].astype(np.int64), state)
        total += float(losses.sum(dtype=np.float64))
    return total / (streams * length) / NATS_PER_BIT


def bigram_bits(training: Array, validation: Array, size: int) -> float:
    """Bits a symbol of a bigram model on `validation`, the count model that a recurrent one must beat.

    p(b | a) = (count(a b) + k p(b)) / (count(a) + k), p(b) = (count(b) + 1) / (N + V), k = V / 4: counts of pairs, leaning
    on the counts of symbols where pairs are rare (Jelinek and Mercer, 1980, in the form of a Dirichlet prior).

    Raises `DataError` for fewer than 2 tokens of validation, `TokenError` for a token that is not below `size`.
    """
    training, validation = _as_integers(training), _as_integers(validation)
    if len(validation) < 2:
        raise DataError(f"bigram: {len(validation)} symbol; at least 2 are wanted")
    check_tokens("bigram", training, size)
    check_tokens("bigram", validation, size)
    k = size / 4
    singles, pairs, counts = _counted(training, size)
    single, first = (singles + 1.0) / (len(training) + size), singles
    first[training[-1:]] -= 1  # the last is the first of no pair
    bits = 0.0
    for one, two in _pairs(validation):
        asked = one * size + two
        at = np.searchsorted(pairs, asked).clip(0, max(len(pairs) - 1, 0))
        seen = np.where(pairs[at] == asked, counts[at], 0) if len(pairs) else np.zeros(len(asked))
        bits -= float(np.log2((seen + k * single[two]) / (first[one] + k)).sum())
    return bits / (len(validation) - 1)


def _as_integers(tokens: Any) -> Array:
    """Tokens as they are, be they mapped; what is none is cast."""
    array: Array = np.asarray(tokens)
    return array if array.dtype.kind in "iu" else array.astype(np.int64)


def _pairs(tokens: Array) -> Iterator[tuple[Array, Array]]:
    """The first and the second tokens of all pairs, some at a time."""
    for start in range(0, len(tokens) - 1, COUNTED):
        part = tokens[start : start + COUNTED + 1].astype(np.int64)
        yield part[:-1], part[1:]


def _counted(tokens: Array, size: int) -> tuple[Array, Array, Array]:
    """How often there is each token `[V]`, the pairs that there are, `a * V + b` in order, and how often each."""
    singles: Array = np.bincount(tokens[-1:], minlength=size)
    pairs = counts = np.zeros(0, np.int64)
    for one, two in _pairs(tokens):
        singles += np.bincount(one, minlength=size)
        found, times = np.unique(one * size + two, return_counts=True)
        pairs, places = np.unique(np.concatenate([pairs, found]), return_inverse=True)
        counts = np.bincount(places, np.concatenate([counts, times])).astype(np.int64)  # exact: float64, below 2^53
    return singles, pairs, counts


def facts(settings: Settings, **more: Any) -> dict[str, Any]:
    """Training facts for the model file: the settings, save those that are left to others, and what else is told."""
    return {name: value for name, value in asdict(settings).items() if value is not None} | more
