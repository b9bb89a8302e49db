"""Opening a model file: from arrays and facts back to a model."""

import os
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from elman import checkpoints, suspects
from elman.checks import DTYPES, checked_target
from elman.describe import built, declared, read_graph
from elman.errors import ElmanError, ModelFileError, one_line
from elman.gates import Array
from elman.io import safetensors
from elman.model import FORMAT, VERSION, Model
from elman.proof import BEFORE
from elman.replay import from_graph
from elman.shapes import Shape, written
from elman.storage import lengthened, stored_type
from elman.text import Vocabulary

Opened = TypeVar("Opened")

WRONG = (TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError, MemoryError)
"""What data that are not as they should be may come to, beside the errors of the library."""


def load(path: str | os.PathLike[str], *, verify: bool = True) -> Model:
    """Open a model file; its cells come from the graphs in it, so their Python is not needed, and no code in it is run.

    A checkpoint is opened as the model that it is of. Where the file has a recorded output, the model must give it, unless
    `verify` is False. Raises `ModelFileError` for a file that is missing, truncated,
    damaged, or not a model of elman, `CheckpointError` for a damaged checkpoint.
    """
    model = opened(path, FORMAT, VERSION, _proved)
    if verify and model.proof is not None:
        try:
            suspects.check(model, model.proof)
        except (ElmanError, *WRONG) as error:
            raise ModelFileError(f"{path}: {one_line(str(error))}") from error
    return model


def opened(
    path: str | os.PathLike[str], form: str, version: int, build: Callable[[Mapping[str, Array], Mapping[str, Any]], Opened]
) -> Opened:
    """What a file of a format holds, built from its arrays and facts. Raises `ModelFileError`, whatever is wrong with it."""
    checked_target("auto")  # what the environment asks for in vain is no fault of a file's
    arrays, facts = safetensors.read(path)
    if facts.get("format") == checkpoints.FORMAT:
        arrays, facts = checkpoints.model_in(checkpoints.checked(path, arrays, facts))
    if not _of_format(facts, form, version):
        found = f"format {reprlib.repr(facts.get('format'))} version {reprlib.repr(facts.get('version'))}"
        hint = "; elman.EncoderDecoder.load opens it" if facts.get("format") == "elman encoder-decoder" else ""
        raise ModelFileError(f"{path}: {found}; {form!r} version {version} is read{hint}")
    try:
        return build(arrays, facts)
    except KeyError as error:
        raise ModelFileError(f"{path}: this is not a whole model: {error} is missing") from error
    except (ElmanError, *WRONG) as error:
        raise ModelFileError(f"{path}: this is not a whole model: {one_line(str(error))}") from error


def _proved(arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> Model:
    """A model, with what was recorded of it."""
    if "proof" not in facts:
        return model_from(arrays, facts)
    rest = dict(arrays)
    x, y = (rest.pop(f"{BEFORE}{name}") for name in ("x", "y"))
    model = model_from(rest, facts)
    model.prove(x, y, one_line(str(facts["proof"]), 100))
    return model


def model_from(arrays: Mapping[str, Array], facts: Mapping[str, Any], target: str = "auto") -> Model:
    """A model from its facts, with the parameters that a file holds."""
    if not _of_format(facts, FORMAT, VERSION):  # those of a decoder inside are seen here first
        raise ModelFileError(f"{one_line(repr(facts.get('format')))} is no {FORMAT!r} version {VERSION}")
    check_arrays(arrays, model_parameters(facts), facts["dtype"], stored_type(facts))
    for fact, kind in (("training", dict), ("once", bool), ("tokens", bool)):
        if not isinstance(facts[fact], kind):
            raise ModelFileError(f"{fact} is {type(facts[fact]).__name__}, {kind.__name__} is wanted")
    readout = read_graph(facts["readout"])
    cell, layers = from_graph(readout), built(facts["layers"], facts["dtype"], target)
    [reads] = (readout.nodes[index].shape for index in readout.leaves("input").values())
    if layers.output_shape != reads or readout.sizes.get("hidden") not in (None, *reads):  # it is made for what they give
        raise ModelFileError(f"the layers give {written(layers.output_shape)}, the read-out reads {written(reads)}")
    if len(layers.input_shape) != 1:
        raise ModelFileError(f"the layers read {written(layers.input_shape)}, a vector is wanted")
    model = Model.from_layers(
        layers,
        readout=cell,
        pool="last" if facts["once"] else None,
        tokens=facts["tokens"],
        vocabulary=None if facts["vocabulary"] is None else Vocabulary.from_json(facts["vocabulary"]),
        bptt_truncate=facts["bptt_truncate"],
        **{name: size for name, size in readout.sizes.items() if name != "hidden"},
    )
    model.update(lengthened(arrays, facts["dtype"]))
    model.training = facts["training"]
    return model


def model_parameters(facts: Mapping[str, Any]) -> dict[str, Shape]:
    """The parameters that the equations in a file have, by name."""
    layers, readout = declared(facts["layers"]), read_graph(facts["readout"])
    read = {name: readout.nodes[index].shape for name, index in readout.leaves("parameter").items()}
    return layers | {f"readout.{name}" if name in layers else name: shape for name, shape in read.items()}


def check_arrays(arrays: Mapping[str, Array], wanted: Mapping[str, Shape], dtype: Any, stored: Any = None) -> None:
    """Raises `ModelFileError` unless a file holds what its equations want: before anything is made of sizes it claims."""
    stored = dtype if stored is None else stored
    told = "" if stored == dtype else f", stored as {stored}"
    if dtype not in DTYPES:
        raise ModelFileError(f"dtype {dtype} is not supported; it is {' or '.join(DTYPES)}")
    found = {name: array.shape for name, array in arrays.items()}
    if dict(wanted) != found:
        raise ModelFileError(_difference(found, wanted))
    for name, array in arrays.items():
        if array.dtype != stored:
            raise ModelFileError(f"{name} holds {array.dtype}, the model is of {dtype}{told}")


def _difference(found: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> str:
    for name in sorted(set(found) | set(wanted)):
        if name not in wanted:
            return f"its equations have no parameter {name}"
        if name not in found:
            return f"the parameter {name} is missing"
        if found[name] != wanted[name]:
            return f"{name} is {written(found[name])}, its equations want {written(wanted[name])}"
    return ""


def _of_format(facts: Mapping[str, Any], form: str, version: int) -> bool:
    """Whether facts say that they are of a format and version."""
    return facts.get("format") == form and type(facts.get("version")) is int and facts["version"] == version
