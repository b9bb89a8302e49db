"""Values of a text as a table of comma-separated values: a row for each position, a column for each unit."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from elman.gates import Array
from elman.io.atomic import replacing


def write(path: str | os.PathLike[str], tokens: Array, symbols: Sequence[str], values: Mapping[str, Array]) -> None:
    """Write tokens `[T]`, their symbols, and values `[T, ...]` by name, atomically, as UTF-8 with a header.

    Numbers have as many digits as bring back the same float. Raises `ModelFileError` where the file cannot be written.
    """
    columns = [array.reshape(len(tokens), -1) for array in values.values()]
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        table = csv.writer(text)
        table.writerow(["position", "token", "symbol", *header(values)])
        for position, symbol in enumerate(symbols):
            table.writerow([position, tokens[position], symbol, *(x for rows in columns for x in rows[position])])
        text.detach()


def header(values: Mapping[str, Array]) -> Iterator[str]:
    """Names of the columns of values `[T, ...]`: `f[0]`, `c[0,3]`, and for a number `i` itself.

    >>> list(header({"f": np.zeros((9, 2)), "c": np.zeros((9, 1, 2)), "i": np.zeros(9)}))
    ['f[0]', 'f[1]', 'c[0,0]', 'c[0,1]', 'i']
    """
    for name, array in values.items():
        yield from (unit_name(name, unit) for unit in np.ndindex(array.shape[1:]))


def unit_name(name: str, unit: tuple[int, ...]) -> str:
    """What one unit of a value is called."""
    return f"{name}[{','.join(map(str, unit))}]" if unit else name
