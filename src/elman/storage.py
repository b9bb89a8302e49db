"""What of a model stands in its file: parameters as they are, or rounded to a shorter type that takes less room."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.errors import ModelFileError, SettingError
from elman.gates import Array
from elman.proof import Proof, digest

STORED = ("float16", "float32", "float64")


def in_file(
    parameters: Mapping[str, Array], facts: Mapping[str, Any], proof: Proof | None, stored: str | None
) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and facts of a model's file; a proof is among them if it is of the parameters as they are opened."""
    arrays, facts = dict(parameters), dict(facts)
    if stored is not None:
        arrays, facts = shortened(parameters, stored), {**facts, "stored": stored}
    if proof is not None and proof.parameters == digest(lengthened(arrays, facts["dtype"])):
        arrays, facts = {**arrays, **proof.arrays()}, {**facts, "proof": proof.source}
    return arrays, facts


def shortened(parameters: Mapping[str, Array], stored: str) -> dict[str, Array]:
    """Parameters rounded to the type `stored`, to the nearest, ties to even.

    Raises `SettingError` for a type that is unknown or longer than theirs, `ModelFileError` for a number beyond its range.

    >>> shortened({"w": np.float32([0.1, 2.0])}, "float16")
    {'w': array([0.1, 2. ], dtype=float16)}
    """
    if stored not in STORED:
        raise SettingError(f"stored={stored!r} is unknown; it is {', '.join(STORED)}")
    found: dict[str, Array] = {}
    for name, value in parameters.items():
        if np.dtype(stored).itemsize > value.itemsize:
            raise SettingError(f"stored={stored!r} is longer than {value.dtype}, which the model is of")
        with np.errstate(over="ignore"):
            found[name] = value.astype(stored)
        if np.isinf(found[name]).any() and not np.isinf(value).any():
            largest = f"{np.abs(value).max():.3g}, {stored} ends at {np.finfo(stored).max:.3g}"
            raise ModelFileError(f"{name} cannot be stored as {stored}: its largest number is {largest}")
    return found


def stored_type(facts: Mapping[str, Any]) -> Any:
    """The type in which a file with these facts holds its parameters. Raises `ModelFileError` for one that is unknown."""
    if "stored" in facts and facts["stored"] not in STORED:
        raise ModelFileError(f"its parameters are stored as {facts['stored']}; {', '.join(STORED)} are read")
    return facts.get("stored", facts["dtype"])


def lengthened(arrays: Mapping[str, Array], dtype: str) -> dict[str, Array]:
    """Arrays of a file as arrays of a model; no number changes.

    >>> lengthened({"w": np.float16([0.5])}, "float32")
    {'w': array([0.5], dtype=float32)}
    """
    return {name: array.astype(dtype, copy=False) for name, array in arrays.items()}
