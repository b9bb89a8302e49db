"""Model files: arrays in the safetensors format, everything else as JSON in its metadata.

Opening one runs no code: the format holds numbers and text only, and the text is checked as data. Writing is atomic: a
temporary file beside the target is written, flushed to disk, and renamed over it, so a file is old or new, never half.
"""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import ModelFileError
from elman.gates import Array

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
    write_atomic(path, save(whole, metadata={KEY: text}))


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file's content in one step. Raises `ModelFileError` that says what the system said.

    A link is followed: what it leads to is replaced, and it stays.
    """
    temporary = ""
    try:
        target = _target(path)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode_of(target))
        os.replace(temporary, target)
        temporary = ""
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unwritable(path, error) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before the work whether its result can be written. Raises `ModelFileError` as `write` would."""
    try:
        with tempfile.TemporaryFile(dir=_target(path).parent):
            pass
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def _target(path: str | os.PathLike[str]) -> Path:
    """Where a path leads. Raises `OSError` for what is there and is no file: a folder, a device, a pipe."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file")
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is a device or a pipe; name a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"the folder {Path(path).parent} does not exist")
    return target


def _unwritable(path: str | os.PathLike[str], error: Exception) -> ModelFileError:
    return ModelFileError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what `write` wrote: arrays by name, and the facts.

    Raises `ModelFileError` for a file that is missing, truncated, of another format, or not written by elman.
    """
    from safetensors import SafetensorError, safe_open

    target = Path(path)
    if not target.exists():
        raise ModelFileError(f"{target}: there is no such file")
    if target.is_dir():
        raise ModelFileError(f"{target} is a folder; a model file is wanted")
    try:
        with safe_open(str(target), framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()} if KEY in metadata else {}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{target} is truncated, damaged or no safetensors file ({error})") from error
    if KEY not in metadata:
        raise ModelFileError(f"{target} is a safetensors file, but not a model of elman: its metadata has no {KEY!r} entry")
    try:
        facts = json.loads(metadata[KEY])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{target}: its metadata cannot be read ({error})") from error
    if not isinstance(facts, dict):
        raise ModelFileError(f"{target}: its metadata is not an object")
    return arrays, facts


def _mode_of(target: Path) -> int:
    """Permissions of the file that is replaced, or what a new file gets; a temporary file is private otherwise."""
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
