"""Operators of the domain ai.onnx.ml, which skl2onnx writes around a net to prepare features and to name classes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

DOMAIN = "ai.onnx.ml"

NORMS = {
    "MAX": lambda x: np.abs(x).max(-1, keepdims=True),
    "L1": lambda x: np.abs(x).sum(-1, keepdims=True),
    "L2": lambda x: np.sqrt(np.square(x).sum(-1, keepdims=True)),
}


def _scaled(x: Any, *, offset: Sequence[float] = (0.0,), scale: Sequence[float] = (1.0,)) -> Any:
    return ((x - np.asarray(offset, np.float32)) * np.asarray(scale, np.float32)).astype(np.float32)


def _normalised(x: Any, *, norm: str = "MAX") -> Any:
    size = NORMS[norm](x)
    return (x / np.where(size == 0, 1, size)).astype(np.float32)  # of zeros alone nothing changes


def _imputed(x: Any, **attributes: Any) -> Any:
    kind = "float" if x.dtype.kind == "f" else "int64"
    values, missing = attributes[f"imputed_value_{kind}s"], attributes.get(f"replaced_value_{kind}", 0)
    gone = np.isnan(x) if missing != missing else x == missing  # noqa: PLR0124
    return np.where(gone, np.asarray(values, x.dtype), x)


def _extracted(x: Any, places: Any) -> Any:
    found = np.take(x, places.reshape(-1), -1)
    return found.reshape(1, -1) if x.ndim == 1 else found


def _linear(x: Any, *, coefficients: Any, intercepts: Any = (0.0,), targets: int = 1, post_transform: str = "NONE") -> Any:
    if post_transform != "NONE":
        raise ValueError(f"post_transform={post_transform!r} is not supported")
    weights = np.reshape(np.asarray(coefficients, np.float32), (targets, -1))
    return x @ weights.T + np.asarray(intercepts, np.float32)


KINDS = {"int64s": (np.int64, -1), "floats": (np.float32, -0.0), "strings": (np.str_, "_Unused")}
"""How attributes that list keys and values end, their types, and what an unknown key has."""


def _encoded(x: Any, **attributes: Any) -> Any:
    """Keys to values."""
    of, to = (next(kind for kind in KINDS if f"{part}_{kind}" in attributes) for part in ("keys", "values"))
    default = attributes.get(f"default_{to[:-1]}", KINDS[to][1])
    keys = np.asarray(attributes[f"keys_{of}"], KINDS[of][0]).tolist()
    known = dict(zip(keys, attributes[f"values_{to}"], strict=True))
    return np.array([known.get(key, default) for key in x.reshape(-1).tolist()], KINDS[to][0]).reshape(x.shape)


def _mapped(x: Any, **attributes: Any) -> tuple[list[Any]]:
    labels = attributes.get("classlabels_int64s") or attributes.get("classlabels_strings") or ()
    return ([dict(zip(labels, row.tolist(), strict=True)) for row in np.atleast_2d(x)],)


PREPARING: dict[str, Callable[..., Any]] = {
    "Scaler": _scaled,
    "Normalizer": _normalised,
    "Binarizer": lambda x, *, threshold=0.0: (x > threshold).astype(x.dtype),
    "Imputer": _imputed,
    "ArrayFeatureExtractor": _extracted,
    "LabelEncoder": _encoded,
    "LinearRegressor": _linear,
    "ZipMap": _mapped,
}
"""Operator -> function, as the table of the others."""
