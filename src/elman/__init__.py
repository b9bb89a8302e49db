"""Recurrent networks from their equations: run forward, differentiated, trained and saved."""

import elman.interrupts as _first  # noqa: F401  before what takes long
from elman import cells, data
from elman.declare import bias, state, weight
from elman.decoding import Hypothesis
from elman.encoder_decoder import EncoderDecoder
from elman.errors import (
    CellError,
    CheckpointError,
    DataError,
    ElmanError,
    GraphError,
    MissingLibraryError,
    ModelFileError,
    SettingError,
    ShapeError,
    StreamError,
    TextError,
    TokenError,
)
from elman.files import load
from elman.gates import (
    AddGate,
    MultiplyGate,
    Sigmoid,
    Softmax,
    Tanh,
    absolute,
    concatenate,
    cos,
    exp,
    greater,
    log,
    log_softmax,
    maximum,
    mean,
    minimum,
    outer,
    relu,
    sigmoid,
    sin,
    softmax,
    softplus,
    split,
    sqrt,
    sum,
    tanh,
    transpose,
    where,
)
from elman.graph import Graph
from elman.layer import Gradients, Layer, Record
from elman.model import Model
from elman.network import Network, Propagation
from elman.padding import pad_sequences
from elman.pools import Streams
from elman.replay import from_graph
from elman.rnn import RNN
from elman.sampling import Sampling
from elman.stack import Backwards, Bidirectional, Stack
from elman.states import State
from elman.streams import Stream
from elman.targets.forced import machine
from elman.targets.threads import threads
from elman.testing import check_cell
from elman.text import Vocabulary
from elman.trace import Cell, cell
from elman.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "RNN",
    "AddGate",
    "Backwards",
    "Bidirectional",
    "Cell",
    "CellError",
    "CheckpointError",
    "DataError",
    "ElmanError",
    "EncoderDecoder",
    "Gradients",
    "Graph",
    "GraphError",
    "Hypothesis",
    "Layer",
    "MissingLibraryError",
    "Model",
    "ModelFileError",
    "MultiplyGate",
    "Network",
    "Propagation",
    "Record",
    "Sampling",
    "SettingError",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "Stack",
    "State",
    "Stream",
    "StreamError",
    "Streams",
    "Tanh",
    "TextError",
    "TokenError",
    "Trainer",
    "Vocabulary",
    "absolute",
    "bias",
    "cell",
    "cells",
    "check_cell",
    "concatenate",
    "cos",
    "data",
    "exp",
    "from_graph",
    "greater",
    "load",
    "log",
    "log_softmax",
    "machine",
    "maximum",
    "mean",
    "minimum",
    "outer",
    "pad_sequences",
    "relu",
    "sigmoid",
    "sin",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "state",
    "sum",
    "tanh",
    "threads",
    "transpose",
    "weight",
    "where",
]
