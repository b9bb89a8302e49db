"""Recurrent networks from their equations: run forward, differentiated, trained and saved."""

from elman import cells
from elman.errors import (
    CellError,
    DataError,
    ElmanError,
    GraphError,
    MissingLibraryError,
    ModelFileError,
    SettingError,
    ShapeError,
    TextError,
    TokenError,
)
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
from elman.rnn import RNN
from elman.state import State
from elman.trace import Cell, bias, cell, state, weight
from elman.model import Model, load
from elman.text import Vocabulary

__version__ = "0.1.0"
