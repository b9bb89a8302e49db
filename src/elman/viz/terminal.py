"""Predictions on the terminal: one line a position, coloured where it is a terminal, plain text where it is a pipe."""

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from elman.errors import DataError
from elman.gates import Array, log_softmax
from elman.model import Model
from elman.text import UNKNOWN, Vocabulary
from elman.viz import hung, plain

CHUNK = 1024
"""Positions at a time: the first lines come at once, and memory does not grow with the text."""

NARROW, WIDE = 8, 16
"""Columns for a symbol: as many as the text's longest one needs, between these; a longer one is cut."""


def shown(vocabulary: Vocabulary, token: int) -> str:
    """A symbol for display: itself, or in quotes where it would not be seen."""
    symbol = vocabulary.symbol(token)
    return f"'{symbol}'" if symbol != symbol.strip() or not cell_len(symbol) else symbol


def symbols(vocabulary: Vocabulary, width: int) -> str:
    """The first symbols of a vocabulary, as many as stand in a line."""
    text = ""
    for token in range(len(vocabulary)):
        more = shown(vocabulary, token) + " "
        if cell_len(text + more) > width - 4:
            return text + "..."
        text += more
    return text.rstrip()


def exact(vocabulary: Vocabulary, token: int) -> str:
    """A symbol for machines: its text as it is, or the escaped form of bytes that are no text by themselves."""
    text = vocabulary.decode([token])
    return vocabulary.symbol(token) if UNKNOWN in text and token != vocabulary.unknown else text


def positions(model: Model, vocabulary: Vocabulary, tokens: Array, top: int) -> Iterator[dict[str, Any]]:
    """What a model expects after each symbol of a text, and what came: plain data, one object a position.

    `tokens` `[T]`. Surprise is in bits, -log2 of the probability of what followed; the last symbol is followed by nothing.
    Raises `DataError` where the model gives numbers that are not finite.
    """
    name, state = cache(partial(exact, vocabulary)), None
    for start in range(0, len(tokens), CHUNK):
        found = model.forward_propagation(tokens[start : start + CHUNK], state)
        state = found.state
        if not (np.isfinite(found.logits).all() and np.isfinite(found.probabilities).all()):
            raise DataError("the model gives NaN or infinity; its weights are too large")
        for position, (logits, row) in enumerate(zip(found.logits, found.probabilities, strict=True), start):
            likeliest = np.argsort(-row, kind="stable")[:top]
            following = int(tokens[position + 1]) if position + 1 < len(tokens) else None
            yield {
                "position": position,
                "token": int(tokens[position]),
                "symbol": name(int(tokens[position])),
                "next": [{"token": int(t), "symbol": name(int(t)), "probability": float(row[t])} for t in likeliest],
                "followed_by": None if following is None else name(following),
                "followed_by_token": following,
                "bits": None if following is None else _bits(row, logits, following),
            }


def _bits(probabilities: Array, logits: Array, token: int) -> float:
    """Surprise at a token; from the logits where its probability is too small for the floating type."""
    if probabilities[token] > 0:
        return max(0.0, -math.log2(probabilities[token]))
    return float(-log_softmax(logits.astype(np.float64))[token] / math.log(2.0))


def say(console: Console, text: str) -> None:
    """Print text that may come from elsewhere; on a terminal, long lines hang."""
    text = plain(text)
    console.print(hung(text, console.width) if console.is_terminal else text)


def table(console: Console, vocabulary: Vocabulary, tokens: Array, rows: Iterator[dict[str, Any]]) -> list[float]:
    """Print positions, each as soon as it is there, and return their surprises in bits.

    Lines hold the likeliest symbols that fit in the terminal; what does not is told in a line of its own.
    """
    name = cache(partial(shown, vocabulary))
    longest = max(cell_len(name(int(token))) for token in np.unique(tokens))
    number, symbol = max(5, len(str(len(tokens) - 1))), min(max(longest + 1, NARROW), WIDE)
    room = max(12, console.width - number - 2 * symbol - 9)
    header = f"{'#':>{number}} {'read':{symbol}}{'expected next'[: room - 1]:{room}}{'came':{symbol}}{'bits':>6}"
    console.print(Text(header, style="bold"), soft_wrap=True)
    surprises, fits, asked = [], set(), 0
    for row in rows:
        line = Text(f"{row['position']:>{number}} ")
        line.append(fit(name(row["token"]), symbol), style="bold")
        expected, count = _expected(name, row, room)
        line.append(expected, style="cyan")
        asked = len(row["next"])
        fits.add(count)
        if row["bits"] is not None:
            surprises.append(row["bits"])
            line.append(fit(name(row["followed_by_token"]), symbol))
            line.append(f"{row['bits']:6.2f}", style=_colour(row["bits"]))
        line.rstrip()
        console.print(line, soft_wrap=True)
    if min(fits) < asked:
        found = " to ".join(map(str, sorted({min(fits), max(fits)})))
        console.print(f"of {asked} likeliest, {found} fit in {console.width} columns; --json tells all")
    return surprises


def _expected(name: Callable[[int], str], row: dict[str, Any], room: int) -> tuple[str, int]:
    """The likeliest symbols that fit, and how many those are."""
    text, count = "", 0
    for entry in row["next"]:
        share = f"{100 * entry['probability']:.0f}%" if entry["probability"] >= 0.005 else "<1%"
        symbol = name(entry["token"])
        more = f"{fit(symbol, min(cell_len(symbol), WIDE - 1) + 1)}{share}  "
        if text and cell_len(text + more) > room:
            break
        text, count = text + more, count + 1
    return set_cell_size(text, room), count


def fit(text: str, width: int) -> str:
    """The text in so many columns, the last of them empty."""
    return set_cell_size(text if cell_len(text) < width else set_cell_size(text, width - 2) + "…", width)


def _colour(bits: float) -> str:
    return "green" if bits < 1 else "yellow" if bits < 4 else "red"
