"""ONNX in and out: models with recurrent nodes run as layers of this library, and its models written as such nodes.

`run` evaluates a file as the specification has it, all attributes of the operators RNN, GRU and LSTM included; `load` makes
a model of it that hands its state out, `as_model` an `elman.Model` of one that is no more than that; `save` writes a model.
They need the library onnx: `pip install "elman[onnx]"`.
"""

from elman.io.onnx.evaluate import run
from elman.io.onnx.export import save
from elman.io.onnx.made import as_model
from elman.io.onnx.model import ImportedModel, load

__all__ = ["ImportedModel", "as_model", "load", "run", "save"]
