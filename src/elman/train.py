"""Learning the plain way: streams of tokens, truncated back-propagation through time, Adam, a validation share."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from elman.checks import check_tokens
from elman.errors import DataError, SettingError, ShapeError
from elman.gates import Array
from elman.model import Model
from elman.optim import AdamMemory, adam, clip_by_norm
from elman.shapes import written

NATS_PER_BIT = math.log(2.0)


@dataclass(frozen=True)
class Settings:
    """How to train: `batch` streams, windows of `length` steps, `steps` updates.

    `rate` is Adam's at its height; it rises over `warm_up` updates and falls to a twentieth along a cosine. `clip` bounds
    the norm of the gradients. `seed` chooses where the streams start. Raises `SettingError` for a value out of range.
    """

    length: int = 64
    batch: int = 32
    steps: int = 2000
    rate: float = 0.003
    clip: float = 1.0
    warm_up: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("length", 1), ("batch", 1), ("steps", 1), ("warm_up", 0), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise SettingError(f"{name}={value!r} must be an integer, {least} or more")
        for name in ("rate", "clip"):
            value = getattr(self, name)
            if not (isinstance(value, int | float | np.number) and math.isfinite(value) and value > 0):
                raise SettingError(f"{name}={value!r} must be a number above 0, and finite")

    def rate_at(self, step: int) -> float:
        """Adam's rate at an update, counted from 0."""
        rising = min(1.0, (step + 1) / (self.warm_up + 1))
        falling = 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))
        return self.rate * rising * falling


@dataclass(frozen=True)
class Progress:
    """Where training stands after an update: `loss` in nats a symbol, the norm of the gradients, symbols seen, seconds."""

    step: int
    loss: float
    norm: float
    symbols: int
    seconds: float

    @property
    def bits(self) -> float:
        """The loss in bits a symbol."""
        return self.loss / NATS_PER_BIT


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


def windows(tokens: Array, settings: Settings) -> Iterator[tuple[Array, Array, bool]]:
    """Endless windows for `batch` contiguous streams: inputs `[B, T]`, targets `[B, T]`, whether the streams begin anew.

    Each pass begins at another place, so that windows do not fall on the same symbols every time.
    """
    rng = np.random.default_rng(settings.seed)
    batch = max(1, min(settings.batch, (len(tokens) - 1) // 2))
    length = min(settings.length, (len(tokens) - 1) // batch)
    while True:
        offset = int(rng.integers(0, min(length, len(tokens) - batch * length)))
        stream = (len(tokens) - 1 - offset) // batch
        starts = offset + stream * np.arange(batch)[:, None]
        for begin in range(0, stream - length + 1, length):
            at = starts + begin + np.arange(length)
            yield tokens[at], tokens[at + 1], begin == 0


def train(model: Model, tokens: Array, settings: Settings | None = None) -> Iterator[Progress]:
    """Train a model on tokens `[N]`, one update each time the iterator is asked; stop asking, and the model stands as it is.

    The state goes on from window to window, as the text does. Raises `DataError` where there is too little text, and where
    the loss, a gradient or a new parameter is not finite: the model then still has the parameters of the update before.
    """
    settings = settings or Settings()
    return _updates(model, _text(model, tokens, "train"), settings)


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


def _updates(model: Model, tokens: Array, settings: Settings) -> Iterator[Progress]:
    memory, state, began = AdamMemory(), None, time.perf_counter()
    source, symbols = windows(tokens, settings), 0
    for step in range(settings.steps):
        x, y, anew = next(source)
        with np.errstate(all="ignore"):  # what is not finite is told below, in words
            noise = int(np.random.SeedSequence((settings.seed, step)).generate_state(1)[0])
            loss, gradients, state = model.gradients(x, y, None if anew else state, dropout_seed=noise)
            gradients, norm = clip_by_norm(gradients, settings.clip)
            updated, memory = adam(model.parameters, gradients, memory, settings.rate_at(step))
        if not (math.isfinite(loss) and math.isfinite(norm) and all(np.isfinite(p).all() for p in updated.values())):
            raise DataError(
                f"train: at update {step + 1} the numbers leave all bounds (loss {loss:.3g}, norm of the gradients "
                f"{norm:.3g}); the model keeps the parameters from before it. A lower rate (now {settings.rate}) or clip "
                f"(now {settings.clip}) may help"
            )
        model.update(updated)
        symbols += x.size
        yield Progress(step + 1, loss, norm, symbols, time.perf_counter() - began)


def evaluate(model: Model, tokens: Array, *, streams: int = 16, chunk: int = 256) -> float:
    """Mean bits a symbol over tokens `[N]`, read as `streams` contiguous pieces, the state carried through each.

    Raises `DataError` for fewer than 2 tokens.
    """
    tokens = _text(model, tokens, "evaluate")
    streams = max(1, min(streams, (len(tokens) - 1) // 64))
    length = (len(tokens) - 1) // streams
    at = length * np.arange(streams)[:, None] + np.arange(length)
    x, y, state, total = tokens[at], tokens[at + 1], None, 0.0
    for start in range(0, length, chunk):
        part = slice(start, start + chunk)
        losses, state = model.losses(x[:, part], y[:, part], state)
        total += float(losses.sum(dtype=np.float64))
    return total / float(x.size) / NATS_PER_BIT


def bigram_bits(training: Array, validation: Array, size: int) -> float:
    """Bits a symbol of a bigram model on `validation`, the count model that a recurrent one must beat.

    p(b | a) = (count(a b) + k p(b)) / (count(a) + k), p(b) = (count(b) + 1) / (N + V), k = V / 4: counts of pairs, leaning
    on the counts of symbols where pairs are rare (Jelinek and Mercer, 1980, in the form of a Dirichlet prior).

    Raises `DataError` for fewer than 2 tokens of validation, `TokenError` for a token that is not below `size`.
    """
    training, validation = np.asarray(training, np.int64), np.asarray(validation, np.int64)
    if len(validation) < 2:
        raise DataError(f"bigram: {len(validation)} symbol; at least 2 are wanted")
    check_tokens("bigram", training, size)
    check_tokens("bigram", validation, size)
    k = size / 4
    single = (np.bincount(training, minlength=size) + 1.0) / (len(training) + size)
    first = np.bincount(training[:-1], minlength=size)
    pairs, counts = np.unique(training[:-1] * size + training[1:], return_counts=True)
    asked = validation[:-1] * size + validation[1:]
    at = np.searchsorted(pairs, asked).clip(0, max(len(pairs) - 1, 0))
    seen = np.where(pairs[at] == asked, counts[at], 0) if len(pairs) else np.zeros(len(asked))
    p = (seen + k * single[validation[1:]]) / (first[validation[:-1]] + k)
    return float(-np.log2(p).mean())


def facts(settings: Settings, **more: Any) -> dict[str, Any]:
    """Training facts for the model file: the settings and what else is told."""
    return asdict(settings) | more
