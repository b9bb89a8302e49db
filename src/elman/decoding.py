"""Decoding: what a model says next becomes what it reads next, drawn, likeliest, by beams, or fed back as it is."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from elman.errors import SettingError
from elman.gates import Array, log_softmax
from elman.sampling import Sampling
from elman.states import State

Next = Callable[[Array, State], tuple[Array, State]]
"""From tokens `[B, T]` and the state before them to the logits after the last, `[B, V]`, and the state there."""


class Hypothesis(NamedTuple):
    """What a beam search found: tokens (without the end), ln of their probability, and whether the end was reached."""

    tokens: Array
    log_probability: float
    ended: bool


def checked_length(length: Any) -> int:
    """A number of symbols. Raises `SettingError`."""
    if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 0:
        raise SettingError(f"length={length!r} must be a number of symbols, 0 or more")
    return int(length)


def drawn(
    following: Next,
    tokens: Array,
    state: State,
    length: int,
    sampling: Sampling,
    rng: np.random.Generator,
    banned: int | None,
) -> Iterator[int]:
    """Draw `length` tokens one by one after tokens `[1, T]`."""
    logits, state = following(tokens, state)
    for _ in range(length):
        token = sampling.draw(logits[0], rng, banned=banned)
        yield token
        logits, state = following(np.array([[token]]), state)


def likeliest(following: Next, tokens: Array, state: State, length: int, end: int | None, banned: int | None) -> list[Array]:
    """For each row of tokens `[B, T]` up to `length` tokens, always the likeliest next, up to `end` (not included)."""
    rows: list[list[int]] = [[] for _ in tokens]
    open_rows = np.ones(len(tokens), bool)
    for _ in range(length):
        logits, state = following(tokens, state)
        chosen = np.argmax(_without(logits, banned), -1)
        open_rows &= chosen != (-1 if end is None else end)
        if not open_rows.any():
            break
        for row in np.flatnonzero(open_rows):
            rows[row].append(int(chosen[row]))
        tokens = chosen[:, None]
    return [np.array(row, np.int64) for row in rows]


def said(push: Callable[[int], Array], start: int, length: int, end: int | None, banned: int | None) -> Array:
    """What a stream of one sequence says, as `likeliest` does for rows: `push` takes a token and gives what follows, `[V]`.

    A step is a push, which a stream keeps buffers for: a GRU of 256 with 74 symbols takes 20 us so, and 260 in `likeliest`.
    """
    found: list[int] = []
    token = start
    while len(found) < length:
        token = int(np.argmax(_without(push(token)[None], banned)))
        if token == end:
            break
        found.append(token)
    return np.array(found, np.int64)


@dataclass(frozen=True)
class Beams:
    """How a beam search searches. Raises `SettingError` for a value out of range."""

    width: int = 4
    end: int | None = None
    length_penalty: float = 0.0
    banned: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.width, bool) or not isinstance(self.width, int | np.integer) or self.width < 1:
            raise SettingError(f"width={self.width!r} must be a number of beams, 1 or more")
        if not (isinstance(self.length_penalty, int | float | np.floating) and math.isfinite(self.length_penalty)):
            raise SettingError(f"length_penalty={self.length_penalty!r} must be a finite number")


def beams(following: Next, tokens: Array, state: State, length: int, settings: Beams) -> list[Hypothesis]:
    """The `width` likeliest continuations of tokens `[1, T]` that a beam search finds, best first.

    At each step every unfinished continuation is extended by every token, and the `width` likeliest are kept. They are
    ranked by ln p / n^length_penalty, n tokens long (Wu et al., Google's neural machine translation system, 2016, with the
    plain length). Sutskever et al., Sequence to sequence learning with neural networks, 2014.
    """
    width, end, length_penalty = settings.width, settings.end, settings.length_penalty
    live: list[list[int]] = [[]]
    scores, ended = np.zeros(1), list[Hypothesis]()

    def rank(found: Hypothesis) -> float:
        return found.log_probability / float(max(1, len(found.tokens) + found.ended) ** length_penalty)

    for _ in range(length):
        logits, state = following(tokens, state)
        extended = scores[:, None] + _log_softmax_rows(logits, settings.banned)
        best = np.argsort(-extended, axis=None, kind="stable")[: width + (width if end is not None else 0)]
        parents, chosen = np.unravel_index(best, extended.shape)
        pairs = list(zip(parents.tolist(), chosen.tolist(), strict=True))
        for parent, token in pairs[:width]:
            if token == end:
                ended.append(Hypothesis(np.array(live[parent], np.int64), float(extended[parent, token]), True))
        going = [(parent, token) for parent, token in pairs if token != end and np.isfinite(extended[parent, token])][:width]
        ended = sorted(ended, key=rank, reverse=True)[:width]
        if not going:
            live = []
            break
        scores = np.array([extended[pair] for pair in going])
        live = [[*live[parent], token] for parent, token in going]
        if len(ended) == width and length_penalty == 0 and scores[0] <= ended[-1].log_probability:
            break  # what goes on can only become less likely
        tokens, state = np.array([[token] for _, token in going]), state[[parent for parent, _ in going]]
    unfinished = [Hypothesis(np.array(row, np.int64), float(s), False) for row, s in zip(live, scores, strict=False)]
    return sorted([*ended, *unfinished], key=rank, reverse=True)[:width]


def _log_softmax_rows(logits: Array, banned: int | None) -> Array:
    """ln softmax of each row, in float64, over all but the banned token."""
    logits = _without(logits, banned)
    return np.stack([log_softmax(row) for row in logits])


def _without(logits: Array, banned: int | None) -> Array:
    """Logits `[B, V]` in float64 with which a banned token is never chosen."""
    logits = logits.astype(np.float64)
    if banned is not None and logits.shape[1] > 1:
        logits[:, banned] = -np.inf
    return logits


def fed_back(advance: Callable[[Array, State], tuple[Array, State]], x: Array, state: State, length: int) -> Array:
    """Run over features `[1, T, I]`, then feed each output back as the next input: `length` outputs `[length, I]`."""
    outputs = np.zeros((length, *x.shape[2:]), x.dtype)
    for position in range(length):
        y, state = advance(x, state)
        outputs[position] = y[0, -1]
        x = outputs[position][None, None]
    return outputs
