"""Opening a model file: from arrays and facts back to a model."""

import os
from collections.abc import Mapping
from typing import Any

from elman.errors import ElmanError, ModelFileError
from elman.gates import Array
from elman.graph import Graph
from elman.io import safetensors
from elman.model import FORMAT, VERSION, Model
from elman.replay import from_graph
from elman.shapes import written
from elman.text import Vocabulary


def load(path: str | os.PathLike[str]) -> Model:
    """Open a model file; its cell comes from the graph in it, so its Python is not needed, and no code in it is run.

    Raises `ModelFileError` for a file that is missing, truncated, damaged, or not a model of elman.
    """
    arrays, facts = safetensors.read(path)
    if facts.get("format") != FORMAT or facts.get("version") != VERSION:
        found = f"format {facts.get('format')!r} version {facts.get('version')!r}"
        raise ModelFileError(f"{path}: {found}; {FORMAT!r} version {VERSION} is read")
    try:
        return _from_facts(arrays, facts)
    except KeyError as error:
        raise ModelFileError(f"{path}: this is not a whole model: {error} is missing") from error
    except (ElmanError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())  # it may quote the file
        raise ModelFileError(f"{path}: this is not a whole model: {reason}") from error


def _from_facts(arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> Model:
    graphs = {part: Graph.from_json(facts[part]) for part in ("cell", "readout")}
    declared = {n: g.nodes[i].shape for g in graphs.values() for n, i in g.leaves("parameter").items()}
    found = {name: array.shape for name, array in arrays.items()}
    sizes, training = facts["sizes"], facts["training"]
    # Before anything is allocated by sizes that a file claims:
    if declared != found:
        raise ModelFileError(_difference(found, declared))
    if sizes != {part: graph.sizes for part, graph in graphs.items()}:
        raise ModelFileError("the sizes are not those of the equations")
    if not isinstance(training, dict):
        raise ModelFileError("the training facts are no object")
    vocabulary = None if facts["vocabulary"] is None else Vocabulary.from_json(facts["vocabulary"])
    parts = {part: from_graph(graph) for part, graph in graphs.items()}
    [x] = graphs["cell"].leaves("input").values()
    word_dim = int(graphs["cell"].nodes[x].shape[0])
    sizes = sizes["readout"] | sizes["cell"]
    model = Model(
        word_dim,
        sizes.pop("hidden", 1),
        facts["bptt_truncate"],
        parts["cell"],
        readout=parts["readout"],
        dtype=facts["dtype"],
        vocabulary=vocabulary,
        **{name: size for name, size in sizes.items() if name not in ("input", "output")},
    )
    wrong = [name for name, array in arrays.items() if array.dtype != model.rnn.dtype]
    if wrong:
        raise ModelFileError(f"{wrong[0]} holds {arrays[wrong[0]].dtype}, the model is of {model.rnn.dtype}")
    model.update(arrays)
    model.training = training
    return model


def _difference(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> str:
    for name in sorted(set(found) | set(wanted)):
        if name not in wanted:
            return f"its equations have no parameter {name}"
        if name not in found:
            return f"the parameter {name} is missing"
        if found[name] != wanted[name]:
            return f"{name} is {written(found[name])}, its equations want {written(wanted[name])}"
    return ""
