"""Every reader of files, each with a valid file of its kind: what hostile files are made from, and tried on."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

import elman
import keras_files
import torch_files
from elman import RNN, EncoderDecoder, Model, cells, checkpoints, data, journal, runs
from elman.io import keras, pytorch
from elman.states import State
from elman.text import Vocabulary


class Reader(NamedTuple):
    """How a kind of file ends, what reads it, and what makes a valid one at a path."""

    suffix: str
    read: Callable[[Path], Any]
    make: Callable[[Path], Any]


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def model() -> Model:
    return Model.from_layers(RNN(cells.gru, input=5, hidden=4), 5, vocabulary=Vocabulary.characters("abcd"))


def pair() -> EncoderDecoder:
    return EncoderDecoder(RNN(cells.elman, input=4, hidden=3), Model(5, 3), start=1, end=2)


def plain() -> dict[str, np.ndarray]:
    shapes = {"rnn.weight_ih_l0": (12, 2), "rnn.weight_hh_l0": (12, 3), "rnn.bias_ih_l0": (12,), "rnn.bias_hh_l0": (12,)}
    return {name: drawn(*shape) for name, shape in shapes.items()}


def lstm() -> dict[str, np.ndarray]:
    return plain() | {"top.weight": drawn(2, 3), "top.bias": drawn(2)}


def layers_of_keras() -> list[Any]:
    held = [drawn(2, 12), drawn(3, 12), drawn(12)]
    return [keras_files.layer("LSTM", "inner", held), keras_files.layer("Dense", "top", [drawn(3, 2), drawn(2)])]


def branch(name: str, op: str) -> onnx.GraphProto:
    return helper.make_graph([helper.make_node(op, ["flat"], [name])], name, [], [helper.make_empty_tensor_value_info(name)])


def net() -> onnx.ModelProto:
    """An LSTM whose state goes in and out, what follows it, and a branch."""
    weights = {"w": drawn(1, 12, 2), "r": drawn(1, 12, 3), "b": drawn(1, 24), "axis": np.array([1]), "v": drawn(3, 2)}
    declared = {"x": ["T", 1, 2], "h": [1, 1, 3], "c": [1, 1, 3], "y": ["T", 1, 2], "hn": [1, 1, 3]}
    info = {name: helper.make_tensor_value_info(name, 1, shape) for name, shape in declared.items()}
    branches = {name: branch(name, op) for name, op in (("then_branch", "Tanh"), ("else_branch", "Relu"))}
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["steps", "hn"], name="cell", hidden_size=3),
        helper.make_node("Squeeze", ["steps", "axis"], ["flat"]),
        helper.make_node("Constant", [], ["true"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["true"], ["bent"], **branches),
        helper.make_node("MatMul", ["bent", "v"], ["y"]),
    ]
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", [info[n] for n in "xhc"], [info["y"], info["hn"]], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="tests")


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _tokens(path: Path) -> None:
    text = path.with_name("text.txt")
    _text(text, "abcdabca" * 9)
    data.tokenise(text, Vocabulary.characters("abcd"), path)
    text.unlink()


def _log(path: Path) -> None:
    told = [{"step": k, "loss": 1 / k, "bits": 1.5 / k, "norm": 0.1 * k, "seconds": 0.25 * k} for k in range(1, 9)]
    _text(path, "".join(json.dumps(entry) + "\n" for entry in [*told, {"step": 8, "validation": 0.5}]))


def _curves(path: Path) -> Any:
    from elman.viz import curves

    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    journal.Journal(copy, after=5).close()
    return list(journal.entries(path)), curves.read(path, "run")


def _run(path: Path) -> Any:
    """The facts of a run, which are called as runs call them."""
    folder = path.with_suffix(".run")
    folder.mkdir(exist_ok=True)
    (folder / runs.FACTS).write_bytes(path.read_bytes())
    return runs.facts_of(folder)


def _facts(path: Path) -> None:
    runs._begin(path.parent, {"steps": 9, "cell": "gru"})
    (path.parent / runs.FACTS).rename(path)


def _table(path: Path) -> None:
    import pyarrow as arrow
    from pyarrow import csv, feather, parquet

    columns = {"who": ["a", "b"] * 20, "x": drawn(40), "y": np.arange(40), "gait": ["run", "walk"] * 20}
    write = {".parquet": parquet.write_table, ".arrow": feather.write_feather, ".csv": csv.write_csv}[path.suffix]
    write(arrow.table(columns), path)


def _read_table(path: Path) -> Any:
    return data.load_table(path, ["x", "y"], "gait", by="who")


READERS = {
    "model": Reader(".safetensors", elman.load, lambda path: model().save(path)),
    "encoder-decoder": Reader(".safetensors", EncoderDecoder.load, lambda path: pair().save(path)),
    "state": Reader(".safetensors", State.load, lambda path: model().initial_state().save(path)),
    "checkpoint": Reader(
        ".safetensors", checkpoints.read, lambda path: checkpoints.write(path, lstm(), {"model": None, "note": [1, 2.5]})
    ),
    "weights": Reader(".safetensors", pytorch.load, lambda path: pytorch.save(pytorch.load(plain()), path)),
    "pytorch": Reader(".pt", pytorch.load, lambda path: torch_files.write(path, lstm())),
    "keras": Reader(".keras", keras.load, lambda path: keras_files.zipped(path, layers_of_keras())),
    "keras 2": Reader(".h5", keras.load, lambda path: keras_files.legacy(path, layers_of_keras())),
    "onnx": Reader(".onnx", elman.io.onnx.load, lambda path: onnx.save(net(), path)),
    "npz": Reader(
        ".npz", data.load_arrays, partial(np.savez, x=drawn(3, 5, 2), lengths=np.array([5, 3, 4]), targets=np.arange(3))
    ),
    "compressed": Reader(".npz", data.load_arrays, partial(np.savez_compressed, a=drawn(40, 2), b=drawn(7, 2))),
    "npy": Reader(".npy", data.load_arrays, lambda path: np.save(path, drawn(3, 9, 2))),
    "tokens": Reader(".npy", data.TokenFile.open, _tokens),
    "log": Reader(".jsonl", _curves, _log),
    "run": Reader(".json", _run, _facts),
    "parquet": Reader(".parquet", _read_table, _table),
    "arrow": Reader(".arrow", _read_table, _table),
    "csv": Reader(".csv", _read_table, _table),
}
"""By the kind of file."""


def valid(kind: str, folder: Path) -> Path:
    """A valid file of a kind."""
    path = folder / f"valid{READERS[kind].suffix}"
    READERS[kind].make(path)
    return path
