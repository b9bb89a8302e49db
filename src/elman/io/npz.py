"""Files of NumPy: values of a text written to a .npz, and arrays read from whatever claims to be one.

A .npz of values has one array a name, `[T, ...]`, beside `tokens` and `symbols`.
"""

import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from math import prod
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from elman.errors import SettingError
from elman.gates import Array
from elman.io.atomic import replacing

TAKEN = ("tokens", "symbols", "file", "allow_pickle")
"""Names that the format, or the function that writes it, has for something else."""

DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    ArithmeticError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    MemoryError,
    tokenize.TokenError,
)
"""What NumPy comes to over files that are truncated or made up: it reads a header with Python's own parser."""

LONGEST_HEADER = 10000
"""What NumPy takes to be safe; it reads a longer one before it refuses it."""

PLAIN, DENSEST = 2**26, 100
"""So many bytes an archive may unpack to without a look at the ratio, which zeros alone exceed."""


def mapped(path: str | os.PathLike[str]) -> Any:
    """The array of a .npy, mapped into memory. Raises one of `DAMAGED`."""
    with open(path, "rb") as file:
        begin = file.read(12)
        version, size = begin[6:7], int.from_bytes(begin[8 : 10 if begin[6:7] == b"\1" else 12], "little")
        if begin[:6] != npy.MAGIC_PREFIX or version > b"\3" or size > LONGEST_HEADER:
            raise ValueError(f"it is no .npy, or begins with {size:,} bytes that tell of its array")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read(file: IO[bytes]) -> dict[str, Array]:
    """The arrays of a .npz by name, none of them larger than what stands in the file for it.

    Raises one of `DAMAGED`, a `ValueError` for an archive that unpacks to far more than it is.
    """
    with np.load(file, allow_pickle=False) as archive:
        entries = {key: archive.zip.getinfo(name) for key, name in zip(archive.files, archive.zip.namelist(), strict=True)}
        whole, held = (sum(getattr(e, size) for e in entries.values()) for size in ("file_size", "compress_size"))
        if whole > max(PLAIN, DENSEST * held):
            raise ValueError(f"{held:,} bytes would unpack to {whole:,}; what is so empty is read uncompressed only")
        if len(entries) < len(archive.files):
            raise ValueError("two arrays have one name")
        return {key: _array(archive.zip, entry) for key, entry in entries.items()}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"{entry.filename!r} is of version {version}")
        shape, _, dtype = HEADERS[version](file)
        if not dtype.hasobject and prod(shape) * dtype.itemsize > entry.file_size:
            raise ValueError(f"{entry.filename!r} claims {dtype} {shape} in {entry.file_size:,} bytes")
    with archive.open(entry) as file:
        array: Array = npy.read_array(file, allow_pickle=False)
    return array


HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def write(path: str | os.PathLike[str], tokens: Array, symbols: Sequence[str], values: Mapping[str, Array]) -> None:
    """Write tokens `[T]`, their symbols, and values `[T, ...]` by name, atomically.

    Raises `ModelFileError` where the file cannot be written, `SettingError` for a value whose name is taken.
    """
    clash = next((name for name in values if name in TAKEN), None)
    if clash:
        raise SettingError(f"{path}: a .npz has no room for a value called {clash!r}; write a .csv")
    with replacing(path) as file:
        np.savez(file, tokens=tokens, symbols=np.array(symbols, np.str_), **values)  # type: ignore[arg-type]
