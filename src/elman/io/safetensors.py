"""Model files: arrays in the safetensors format, everything else as JSON in its metadata.

Opening one runs no code: the format holds numbers and text only, and the text is checked as data.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import ModelFileError, one_line
from elman.gates import Array
from elman.io.atomic import replacing

KEY = "elman"
"""The one metadata entry; a single one, so that equal models give equal bytes."""


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
    """Write arrays and facts (plain data for JSON) to a file, atomically.

    Raises `ModelFileError` where the folder cannot be written, or facts are not such data; an older file is then still
    there, whole.
    """
    from safetensors.numpy import save

    try:
        text = json.dumps(facts, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} cannot be written: its facts are no plain data for JSON ({error})") from error
    whole = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}  # () stays ()
    data = save(whole, metadata={KEY: text})
    with replacing(path) as file:
        file.write(data)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what `write` wrote: arrays by name, and the facts.

    Raises `ModelFileError` for a file that is missing, truncated, of another format, or not written by elman.
    """
    arrays, metadata = _opened(path, lambda held: KEY in held)
    target = Path(path)
    if KEY not in metadata:
        raise ModelFileError(f"{target} is a safetensors file, but not a model of elman: its metadata has no {KEY!r} entry")
    try:
        facts = json.loads(metadata[KEY])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{target}: its metadata cannot be read ({error})") from error
    if not isinstance(facts, dict):
        raise ModelFileError(f"{target}: its metadata is not an object")
    return arrays, facts


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of any safetensors file. Raises `ModelFileError` as `read` does, but for a file that is not of elman."""
    return _opened(path, lambda _: True)[0]


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one that `write` wrote, as far as its metadata tell."""
    try:
        return KEY in _opened(path, lambda _: False)[1]
    except ModelFileError:
        return False


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write arrays alone, atomically. Raises `ModelFileError` where the file cannot be written."""
    from safetensors.numpy import save

    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    with replacing(path) as file:
        file.write(data)


def _opened(
    path: str | os.PathLike[str], wanted: Callable[[Mapping[str, str]], bool]
) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of a file whose metadata is `wanted`, and the metadata."""
    from safetensors import SafetensorError, safe_open

    target = Path(path)
    if not target.exists():
        raise ModelFileError(f"{target}: there is no such file")
    if target.is_dir():
        raise ModelFileError(f"{target} is a folder; a model file is wanted")
    try:
        with safe_open(str(target), framework="numpy") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()} if wanted(metadata) else {}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError, MemoryError) as error:
        raise ModelFileError(f"{target} is truncated, damaged or no safetensors file ({one_line(str(error))})") from error
