"""A model file from a file of another framework, with the proof that it computes the same."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import ModelFileError, SettingError
from elman.gates import Array
from elman.io import keras, pytorch
from elman.model import Model
from elman.suspects import check

KERAS = (".keras", ".h5", ".hdf5")

STEPS = (3, 11)
"""Sequences and steps of the input that the framework is run on."""


def imported(path: str | os.PathLike[str], pair: tuple[Any, Any] | None = None, **settings: Any) -> tuple[Model, str]:
    """A model from a file of PyTorch or Keras, by the end of its name, and what came of its proof.

    The proof is a recorded `pair` of input and output, or what the framework gives, where it is installed; the model keeps
    it. `settings` are those of `elman.io.pytorch.load`. Raises `ModelFileError` where the model gives something else,
    `SettingError` for settings that a file of Keras tells itself.
    """
    framework: Any = keras if Path(path).suffix.lower() in KERAS else pytorch
    if framework is keras and settings:
        raise SettingError(f"{path}: {', '.join(settings)} are told by a file of Keras itself; leave them out")
    model: Model = framework.load(path, **settings)
    if pair is None:
        x = example(model)
        ran = framework.run(path, x, **settings)
        if ran is None:
            return model, "not proved: give --example and --expect, or install the framework that the weights are from"
        y, source = ran
    else:
        (x, y), source = map(np.asarray, pair), "recorded"
    model.prove(x, y, source)
    assert model.proof is not None, "it was just given"
    try:
        found = check(model, model.proof)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    return model, f"proved: differs by {found:.2g} at most from {source}, for an input {'x'.join(map(str, x.shape))}"


def example(model: Model, seed: int = 0) -> Array:
    """A random input for a model: tokens, or features."""
    rng: Any = np.random.default_rng(seed)
    if model.reads_tokens:
        tokens: Array = rng.integers(1, max(2, model.word_dim), STEPS)
        return np.minimum(tokens, model.word_dim - 1)
    features: Array = rng.normal(size=(*STEPS, model.word_dim)).astype(model.rnn.dtype)
    return features
