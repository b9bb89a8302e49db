"""Checkpoints: all that a training is, in one file that is whole or is refused; and which of them are kept.

A file holds arrays by name and facts as JSON, in the safetensors format, under a SHA-256 sum of both. It holds no times, so
two trainings that stand at the same place write the same bytes.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elman.errors import CheckpointError, ModelFileError, SettingError
from elman.gates import Array
from elman.io import safetensors

FORMAT, VERSION = "elman checkpoint", 1

NAME = re.compile(r"step-(\d{8,})\.safetensors")
LEFT_OVER = re.compile(r"\.((step-\d+|model)\.safetensors|tokens\.npy|run\.json|log\.jsonl)\..*\.part")
"""What a process that was killed while it wrote leaves beside them."""


class Checkpoint(NamedTuple):
    """What a checkpoint holds: arrays by name, and facts as plain data."""

    arrays: dict[str, Array]
    facts: dict[str, Any]


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint in one step: the file is the old one or the new one, never half.

    Raises `ModelFileError` where it cannot be written; an older file is then still there, whole.
    """
    text = json.dumps(facts, sort_keys=True, allow_nan=False)  # as it will be read: tuples are lists, keys are text
    held = {"format": FORMAT, "version": VERSION, "sha256": checksum(arrays, text), "facts": json.loads(text)}
    safetensors.write(path, arrays, held)


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint. Raises `CheckpointError` for one that is missing, truncated, foreign, or changed by a bit."""
    try:
        arrays, held = safetensors.read(path)
    except ModelFileError as error:
        raise CheckpointError(f"{error}; a checkpoint is wanted") from error
    return checked(path, arrays, held)


def checked(path: str | os.PathLike[str], arrays: dict[str, Array], held: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint that a file holds. Raises `CheckpointError` as `read` does."""
    if held.get("format") != FORMAT or held.get("version") != VERSION:
        found = f"format {str(held.get('format'))[:40]!r} version {str(held.get('version'))[:10]}"
        raise CheckpointError(f"{path}: {found}; {FORMAT!r} version {VERSION} is wanted")
    facts = held.get("facts")
    if not isinstance(facts, dict) or held.get("sha256") != checksum(arrays, json.dumps(facts, sort_keys=True)):
        raise CheckpointError(f"{path} is damaged: its content does not have the checksum that was written with it")
    return Checkpoint(arrays, facts)


def model_in(checkpoint: Checkpoint) -> tuple[dict[str, Array], Any]:
    """The model of a training, as arrays and facts of a model file: its averaged weights, where there are such.

    Raises `CheckpointError` for the checkpoint of a network that has no such facts.
    """
    arrays, facts = checkpoint
    if facts.get("model") is None:
        raise CheckpointError("the checkpoint is of a network that is no Model; Trainer.resume opens it")
    averages = part(arrays, "average.average/")
    return averages or part(arrays, "model."), facts["model"]


def part(arrays: Mapping[str, Array], before: str) -> dict[str, Array]:
    """The arrays whose names begin so, without it.

    >>> part({"model.w": np.ones(2), "state.h": np.zeros(2)}, "model.")
    {'w': array([1., 1.])}
    """
    return {name.removeprefix(before): array for name, array in arrays.items() if name.startswith(before)}


def checksum(arrays: Mapping[str, Array], text: str) -> str:
    """SHA-256 of a text, and of arrays: names, types, shapes and bytes, in the order of the names."""
    total = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(json.dumps([name, array.dtype.str, np.shape(arrays[name])]).encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


@dataclass(frozen=True)
class Shelf:
    """The checkpoints of one training in a folder, of which the last `keep` and the best are kept.

    Raises `SettingError` for a number to keep below 1.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     shelf = Shelf(Path(folder), keep=2)
    ...     for step in (10, 20, 30, 40):
    ...         _ = shelf.put(step, {"w": np.ones(3)}, {"note": "a fact"}, best=10)
    ...     shelf.steps
    (10, 30, 40)
    """

    folder: Path
    keep: int = 3

    def __post_init__(self) -> None:
        if isinstance(self.keep, bool) or not isinstance(self.keep, int | np.integer) or self.keep < 1:
            raise SettingError(f"keep={self.keep!r} must be a number of checkpoints, 1 or more")

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of which there is a checkpoint, the oldest first."""
        found = (NAME.fullmatch(path.name) for path in self.folder.iterdir()) if self.folder.is_dir() else ()
        return tuple(sorted(int(name[1]) for name in found if name))

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.folder / f"step-{step:08}.safetensors"

    def put(self, step: int, arrays: Mapping[str, Array], facts: Mapping[str, Any], *, best: int | None = None) -> Path:
        """Write a checkpoint; once it is there, those go that need not be kept. Raises as `write` does."""
        path = self.path(step)
        write(path, arrays, facts)
        for old in self.steps[: -self.keep]:
            if old not in (best, step):
                with contextlib.suppress(OSError):  # one more than need be
                    self.path(old).unlink()
        return path

    def newest(self) -> Iterator[tuple[int, Checkpoint | CheckpointError]]:
        """Checkpoints from the last one back, each as what it holds or as what is wrong with it."""
        for step in reversed(self.steps):
            try:
                yield step, read(self.path(step))
            except CheckpointError as error:
                yield step, error

    def tidy(self) -> None:
        """Remove what a process that was killed while it wrote has left."""
        for path in self.folder.iterdir():
            if LEFT_OVER.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    path.unlink()

    def drop_after(self, step: int) -> None:
        """Remove checkpoints beyond a step: a training that goes on from it will write them again."""
        for later in self.steps:
            if later > step:
                with contextlib.suppress(OSError):
                    self.path(later).unlink()
