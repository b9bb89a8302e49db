"""A model file from a file of another framework, with the proof that it computes the same."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import ModelFileError, SettingError
from elman.gates import Array
from elman.io import keras, pytorch, safetensors
from elman.io.onnx import made as onnx_model
from elman.model import Model
from elman.proof import RECORDED, Proof
from elman.suspects import check

KERAS = (".keras", ".h5", ".hdf5")

ENDINGS = (*pytorch.ENDINGS, *KERAS, ".onnx")
"""Of all files that are read."""

STEPS = (3, 11)
"""Sequences and steps of the input that the framework is run on."""


@dataclass(frozen=True)
class Source:
    """A model from elsewhere: an example as its file has it, the framework to run that on, and how it lies for the model."""

    model: Model
    example: Array
    run: Callable[[Array], tuple[Array, str] | None]
    input: Callable[[Any], Array] = np.asarray
    output: Callable[[Any], Array] = np.asarray
    suspected: Callable[[Proof], str] = lambda proof: ""


def imported(
    path: str | os.PathLike[str], pair: tuple[Any, Any] | None = None, *, recorder: str = RECORDED, **settings: Any
) -> tuple[Model, str]:
    """A model from a file of PyTorch, Keras or ONNX, by the end of its name, and what came of its proof.

    The proof is a recorded `pair` of input and output as the file has them, by a `recorder`, or what the framework gives,
    where it is installed; the model keeps it. `settings` are those of `elman.io.pytorch.load`. Raises `ModelFileError` where
    the model gives something else, `SettingError` for settings that a file of Keras or ONNX tells itself.
    """
    source = _opened(path, settings)
    model = source.model
    if pair is None:
        given, ran = source.example, source.run(source.example)
        if ran is None:
            return model, "not proved: give --example and --expect, or install the framework that the weights are from"
        taken, recorder = ran
    else:
        given, taken = pair
    x = source.input(given)
    model.prove(x, source.output(taken), recorder)
    assert model.proof is not None, "it was just given"
    try:
        found = check(model, model.proof)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}{source.suspected(model.proof)}") from None
    by, size = model.proof.told if pair else recorder, "x".join(map(str, x.shape))
    return model, f"proved: differs by {found:.2g} at most from {by}, for an input {size}"


def example(model: Model, seed: int = 0) -> Array:
    """A random input for a model: tokens, or features."""
    rng: Any = np.random.default_rng(seed)
    if model.reads_tokens:
        tokens: Array = rng.integers(1, max(2, model.word_dim), STEPS)
        return np.minimum(tokens, model.word_dim - 1)
    features: Array = rng.normal(size=(*STEPS, model.word_dim)).astype(model.rnn.dtype)
    return features


# --- inside -----------------------------------------------------------------------------------------------------------


def _opened(path: str | os.PathLike[str], settings: dict[str, Any]) -> Source:
    ending = Path(path).suffix.lower()
    _check_foreign(path)
    if settings and ending in (".onnx", *KERAS):
        kind = "ONNX" if ending == ".onnx" else "Keras"
        told = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise SettingError(f"{path}: {told}: a file of {kind} tells this itself; leave it out")
    if ending == ".onnx":
        return _of_onnx(path)
    framework: Any = keras if ending in KERAS else pytorch
    model = framework.load(path, **settings)
    return Source(model, example(model), lambda x: framework.run(path, x, **settings))


def _check_foreign(path: str | os.PathLike[str]) -> None:
    """Raises `SettingError` for a model of this library, `ModelFileError` for a name that tells no format."""
    if safetensors.is_model(path):
        raise SettingError(f"{path} is a model of elman already; there is nothing to import: elman.load opens it")
    if Path(path).suffix.lower() not in ENDINGS:
        raise ModelFileError(f"{path}: the end of its name tells no format; {', '.join(ENDINGS)} are read")


def _of_onnx(path: str | os.PathLike[str]) -> Source:
    made = onnx_model.opened(path)
    return Source(
        made.model,
        made.example(made.model.word_dim),
        lambda x: onnx_model.runtime(path, made, x),
        made.input,
        made.output,
        lambda proof: _with_reset_after(path, proof),
    )


def _with_reset_after(path: str | os.PathLike[str], proof: Proof) -> str:
    """Whether a GRU is meant that resets after the product, as those of PyTorch do, and the file does not say so."""
    other = onnx_model.with_reset_after(path)
    if other is None or not proof.holds_for(other.forward_propagation(proof.x).output):
        return ""
    return ", but linear_before_reset=1 at the GRU of the file does, which its exporter has left out"
