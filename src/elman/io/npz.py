"""Values of a text as arrays in a .npz file of NumPy: one array a name, `[T, ...]`, beside `tokens` and `symbols`."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from elman.errors import SettingError
from elman.gates import Array
from elman.io.atomic import replacing

TAKEN = ("tokens", "symbols", "file", "allow_pickle")
"""Names that the format, or the function that writes it, has for something else."""


def write(path: str | os.PathLike[str], tokens: Array, symbols: Sequence[str], values: Mapping[str, Array]) -> None:
    """Write tokens `[T]`, their symbols, and values `[T, ...]` by name, atomically.

    Raises `ModelFileError` where the file cannot be written, `SettingError` for a value whose name is taken.
    """
    clash = next((name for name in values if name in TAKEN), None)
    if clash:
        raise SettingError(f"{path}: a .npz has no room for a value called {clash!r}; write a .csv")
    with replacing(path) as file:
        np.savez(file, tokens=tokens, symbols=np.array(symbols, np.str_), **values)  # type: ignore[arg-type]
