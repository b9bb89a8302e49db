"""Files: one format a module, or a folder; each is imported when it is used."""

from importlib import import_module
from typing import Any

LATER = ("jax", "keras", "onnx", "pytorch")
"""Formats whose models are made of layers, so that they stand below them in the floor plan."""


def __getattr__(name: str) -> Any:
    if name in LATER:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
