"""Named values of a text on the terminal: a line for each position and name, units as numbers or as a strip of blocks."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from elman.errors import SettingError
from elman.gates import Array
from elman.io.csv import unit_name
from elman.model import Model
from elman.text import Vocabulary
from elman.viz.terminal import NARROW, WIDE, exact, fit, say, shown

BLOCKS, LETTERS = "▁▂▃▄▅▆▇█", ".:-=+*#@"
"""Eight heights; the second where the terminal has no Unicode."""

SPANS = ((0.0, 1.0), (-1.0, 1.0))
"""What a strip spans, if the values lie within; else it spans what they do."""


def listed(console: Console, net: Model) -> None:
    """Print the names of all values of a model, with their shapes, and how to ask for some."""
    names = net.rnn.values if net.head.once else net.values  # what is read once has no positions
    shapes = {name: value.shape[1:] for name, value in net.inspect(np.zeros(1, np.int64), keep=names).items()}
    width = max(map(len, shapes))
    say(console, f"{net!r}\nvalues, and how many units each has")
    for name, shape in shapes.items():
        say(console, f"  {name:{width}}  {'x'.join(map(str, shape)) or 1}")
    say(console, f"ask for some with elman inspect TEXT --values {','.join(list(shapes)[:2])}")


def positions(vocabulary: Vocabulary, tokens: Array, values: Mapping[str, Array]) -> Iterator[dict[str, Any]]:
    """Values `[T, ...]` as plain data, one object a position; what is not finite is None, which JSON has."""
    name = cache(partial(exact, vocabulary))
    for position, token in enumerate(tokens.tolist()):
        found = {key: _plain(array[position].tolist()) for key, array in values.items()}
        yield {"position": position, "token": token, "symbol": name(token), "values": found}


def table(
    console: Console, vocabulary: Vocabulary, tokens: Array, values: Mapping[str, Array], units: list[int] | None
) -> None:
    """Print values `[T, ...]`: of each the least, the mean and the largest unit, and all as a strip; or chosen units."""
    for name, array in values.items():
        _check_units(name, array, units)
    symbol_of = cache(partial(shown, vocabulary))
    longest = max(cell_len(symbol_of(int(token))) for token in np.unique(tokens))
    number, symbol = max(5, len(str(len(tokens) - 1))), min(max(longest + 1, NARROW), WIDE)
    label = max(5, *(len(name) + 1 for name in values))
    left = number + 1 + symbol + label
    header = f"{'#':>{number}} {'read':{symbol}}{'name':{label}}"
    room = max(8, console.width - left)
    shown_as = _Units(units, room, console) if units is not None else _Strips(values, room - 31, console)
    console.print(Text((header + shown_as.header).rstrip(), style="bold"), soft_wrap=True)
    for position, token in enumerate(tokens.tolist()):
        for name, array in values.items():
            line = Text(f"{position:>{number}} ")
            line.append(fit(symbol_of(token), symbol), style="bold")
            line.append(f"{name:{label}}")
            line.append(f"\n{' ' * left}".join(shown_as.lines(name, array[position])), style="cyan")
            line.rstrip()
            console.print(line, soft_wrap=True)
    if shown_as.legend:
        say(console, shown_as.legend)


class _Units:
    """Chosen units as numbers, as many in a line as fit where a person reads."""

    header, legend = "units", ""

    def __init__(self, units: list[int], room: int, console: Console) -> None:
        self.units, self.room = units, room if console.is_terminal else None

    def lines(self, name: str, value: Array) -> list[str]:
        """The units of one value at one position."""
        flat, labels = value.ravel(), [unit_name("", _place(value, unit)) for unit in self.units]
        width = max(map(len, labels))
        told = [f"{label:>{width}} {_short(flat[unit]):>8}" for label, unit in zip(labels, self.units, strict=True)]
        each = len(told) if self.room is None else max(1, (self.room + 2) // (width + 11))
        return ["  ".join(told[at : at + each]) for at in range(0, len(told), each)]


class _Strips:
    """The least, the mean and the largest unit, and all units from left to right as blocks."""

    def __init__(self, values: Mapping[str, Array], room: int, console: Console) -> None:
        self.room = max(4, room)
        self.blocks = BLOCKS if "utf" in console.encoding.lower() else LETTERS
        self.scales = {name: Scale.of(array) for name, array in values.items()}
        self.header = f"{'least':>9} {'mean':>9} {'largest':>9}  units"
        spans: dict[str, list[str]] = {}
        for name, scale in self.scales.items():
            spans.setdefault(f"{scale.low:.3g} to {scale.high:.3g}", []).append(name)
        told = "; ".join(f"{span} for {', '.join(names)}" for span, names in spans.items())
        self.legend = f"units from left to right, {self.blocks[0]} to {self.blocks[-1]} being {told}"
        if any(math.prod(array.shape[1:]) > self.room for array in values.values()):
            self.legend += f"; where there are more than {self.room}, a block is of several the one farthest from the median"

    def lines(self, name: str, value: Array) -> list[str]:
        """One value at one position."""
        flat = value.ravel().astype(np.float64)
        with np.errstate(all="ignore"):
            told = " ".join(f"{_short(x):>9}" for x in (flat.min(), flat.mean(), flat.max()))
        return [f"{told}  {strip(flat, self.scales[name], self.room, self.blocks)}"]


@dataclass(frozen=True)
class Scale:
    """What the heights of a strip mean: the ends, and the median, from which units stand out."""

    low: float
    high: float
    median: float

    @classmethod
    def of(cls, array: Array) -> "Scale":
        """The scale of all units of a value over a text; what is not finite does not count."""
        finite = array[np.isfinite(array)].astype(np.float64)
        if not finite.size:
            return cls(0.0, 1.0, 0.0)
        low, high = float(finite.min()), float(finite.max())
        low, high = next(((a, b) for a, b in SPANS if a <= low and high <= b), (low, high))
        return cls(low, high, float(np.median(finite)))


def strip(units: Array, scale: Scale, width: int, blocks: str = BLOCKS) -> str:
    """Units as blocks, from the low end of a scale to its high one.

    Of more than `width` several share a block, which tells the one that is farthest from the median.

    >>> strip(np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), Scale(0, 1, 0.5), 6)
    '▁▂▄▅▇█'
    >>> strip(np.array([0.0, 0.1, 0.1, 0.9, 0.1, 0.0]), Scale(0, 1, 0.1), 3)
    '▁█▁'
    """
    shares = np.array_split(units, min(width, len(units)))
    standing_out = (float(share[np.argmax(np.abs(share - scale.median))]) for share in shares)  # NaN before all
    return "".join(_block((x - scale.low) / ((scale.high - scale.low) or 1.0), blocks) for x in standing_out)


def _block(height: float, blocks: str) -> str:
    return blocks[min(len(blocks) - 1, max(0, int(height * len(blocks))))] if math.isfinite(height) else "?"


def _short(x: float) -> str:
    return f"{x:.3f}" if abs(x) < 1000 or not math.isfinite(x) else f"{x:.2e}"


def _place(value: Array, unit: int) -> tuple[int, ...]:
    """Where a unit stands, counted row by row."""
    return tuple(int(i) for i in np.unravel_index(unit, value.shape)) if value.ndim else ()


def _check_units(name: str, array: Array, units: list[int] | None) -> None:
    count = math.prod(array.shape[1:])
    for unit in units or ():
        if unit >= count:
            raise SettingError(f"--units {unit}: {name} has {count} unit{'s' * (count != 1)}, counted from 0")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value if math.isfinite(value) else None
