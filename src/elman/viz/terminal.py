"""Predictions on the terminal: one line a position, coloured where it is a terminal, plain text where it is a pipe."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from elman.gates import Array
from elman.text import UNKNOWN, Vocabulary

SYMBOL = 8
"""Columns for a symbol; a longer one is cut."""


def shown(vocabulary: Vocabulary, token: int) -> str:
    """A symbol for display: itself, or in quotes where it would not be seen."""
    symbol = vocabulary.symbol(token)
    return f"'{symbol}'" if symbol != symbol.strip() or not symbol else symbol


def exact(vocabulary: Vocabulary, token: int) -> str:
    """A symbol for machines: its text as it is, or the escaped form of bytes that are no text by themselves."""
    text = vocabulary.decode([token])
    return vocabulary.symbol(token) if UNKNOWN in text and token != vocabulary.unknown else text


def positions(vocabulary: Vocabulary, tokens: Array, probabilities: Array, top: int) -> Iterator[dict[str, Any]]:
    """What the model expected after each symbol, and what came: plain data, one object a position.

    `tokens` `[T]`, `probabilities` `[T, V]`. Surprise is in bits, -log2 of the probability of what followed; the last
    symbol is followed by nothing.
    """
    count = min(top, probabilities.shape[1])
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    for position, token in enumerate(tokens):
        row = probabilities[position]
        following = int(tokens[position + 1]) if position + 1 < len(tokens) else None
        yield {
            "position": position,
            "token": int(token),
            "symbol": exact(vocabulary, int(token)),
            "next": [
                {"token": int(t), "symbol": exact(vocabulary, int(t)), "probability": float(row[t])}
                for t in likeliest[position]
            ],
            "followed_by": None if following is None else exact(vocabulary, following),
            "followed_by_token": following,
            "bits": None if following is None else float(-np.log2(max(float(row[following]), 1e-300))),
        }


def table(console: Console, vocabulary: Vocabulary, rows: Iterator[dict[str, Any]]) -> None:
    """Print positions, each as soon as it is there; wide enough for the likeliest symbols that fit in the terminal."""
    room = max(12, console.width - 5 - SYMBOL - SYMBOL - 9)
    header = f"{'#':>5} {'read':{SYMBOL}}{'expected next':{room}}{'came':{SYMBOL}}{'bits':>6}"
    console.print(Text(header.rstrip(), style="bold"), soft_wrap=True)
    for row in rows:
        console.print(_line(vocabulary, row, room), soft_wrap=True, end="\n")


def _line(vocabulary: Vocabulary, row: dict[str, Any], room: int) -> Text:
    line = Text(f"{row['position']:>5} ", style="")
    line.append(set_cell_size(shown(vocabulary, row["token"]), SYMBOL - 1) + " ", style="bold")
    line.append(set_cell_size(_expected(vocabulary, row, room - 2), room), style="cyan")
    if row["bits"] is None:
        line.rstrip()
        return line
    line.append(set_cell_size(shown(vocabulary, row["followed_by_token"]), SYMBOL - 1) + " ")
    line.append(f"{row['bits']:6.2f}", style=_colour(row["bits"]))
    return line


def _expected(vocabulary: Vocabulary, row: dict[str, Any], room: int) -> str:
    text = ""
    for entry in row["next"]:
        more = f"{shown(vocabulary, entry['token'])} {100 * entry['probability']:.0f}%  "
        if cell_len(text + more) > room:
            break
        text += more
    return text


def _colour(bits: float) -> str:
    return "green" if bits < 1 else "yellow" if bits < 4 else "red"
