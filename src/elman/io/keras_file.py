"""Files of Keras (.keras, .h5) as data: the configuration of a model's layers, and the arrays of each.

Nothing in them is run: the configuration is JSON, of which only plain settings are read, and the arrays are HDF5.
"""

import io
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import MissingLibraryError, ModelFileError, one_line
from elman.gates import Array

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""Where a .keras file has its layers: now, and in the first versions of Keras 3."""

INNER = {"forward_layer": "layer", "backward_layer": "backward_layer", "layer": "layer", "cell": "cell"}
"""Groups of a .keras file within that of a layer, and where its settings have theirs."""

DAMAGED = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    RuntimeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)

MOST_SHARED = 4
"""So many times over all arrays may hold what the file does; links could lead to one array again and again."""

DEEPEST = 4
"""Groups between a layer and its arrays: a direction, what it wraps, its cell, its variables. Links could go round."""


@dataclass(frozen=True)
class KerasLayer:
    """One layer: its class, its settings, and its arrays in the order in which Keras makes them."""

    kind: str
    name: str
    config: Mapping[str, Any]
    arrays: tuple[Array, ...]


def read(path: str | os.PathLike[str]) -> tuple[list[KerasLayer], int]:
    """The layers of a file from below, and the major version of the Keras that wrote it.

    Raises `ModelFileError` for a file that is missing or damaged, has no configuration, or is no chain of layers of Keras,
    `MissingLibraryError` without the library h5py.
    """
    if not Path(path).is_file():
        raise ModelFileError(f"{path}: there is no such file")
    try:
        with ExitStack() as files:
            config, version, arrays = (_zipped if zipfile.is_zipfile(path) else _legacy)(path, files)
            found, left = list[KerasLayer](), MOST_SHARED * Path(path).stat().st_size
            for entry in _chain(config):
                found.append(KerasLayer(*own(entry), arrays(entry)))
                left -= sum(array.nbytes for array in found[-1].arrays)
                if left < 0:
                    raise ModelFileError("its arrays are far larger than the file")
            return found, int(str(version).partition(".")[0] or 3)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {one_line(str(error))}") from None
    except DAMAGED as error:
        raise ModelFileError(f"{path} is truncated, damaged or no model of Keras ({one_line(str(error))})") from error


# --- the two formats --------------------------------------------------------------------------------------------------


def _zipped(path: str | os.PathLike[str], files: ExitStack) -> Any:
    """Configuration, version, and what finds the arrays of an entry, of a .keras file."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ModelFileError("its entries are compressed, which Keras does not do")
        config, metadata = (json.loads(archive.read(name)) for name in ("config.json", "metadata.json"))
        file = files.enter_context(_opened(io.BytesIO(archive.read("model.weights.h5"))))
    root = next((_inside(file, name) for name in CONTAINERS if name in file), None)
    if root is None:
        raise ModelFileError(f"model.weights.h5 has no group {CONTAINERS[0]!r}; a model that is a chain of layers is read")
    entries = config["config"]["layers"]
    groups = {_name(entry): group for entry, group in zip(entries, _groups(entries), strict=True)}
    return config, metadata["keras_version"], lambda entry: tuple(_below(root, groups[_name(entry)], entry["config"]))


def _legacy(path: str | os.PathLike[str], files: ExitStack) -> Any:
    """The same of a .h5 file."""
    file = files.enter_context(_opened(path))
    if "model_config" not in file.attrs:
        raise ModelFileError("it has weights only; save the whole model, whose layers say what they compute")

    def arrays(entry: Mapping[str, Any]) -> tuple[Array, ...]:
        held = _inside(file, "model_weights")
        if _name(entry) not in held:  # an input has none
            return ()
        group = _inside(held, _name(entry))
        names = sorted(map(_text, group.attrs.get("weight_names", ())), key=lambda name: "/backward_" in f"/{name}")
        return tuple(_dataset(_at(group, name)) for name in names)  # where one direction is frozen it stands last

    return json.loads(_text(file.attrs["model_config"])), _text(file.attrs.get("keras_version", "2")), arrays


def _opened(source: Any) -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingLibraryError('files of Keras need the library h5py: pip install "elman[keras]"') from None
    _check_heaps(source.getbuffer() if isinstance(source, io.BytesIO) else Path(source).read_bytes())
    return h5py.File(source, "r")


def _check_heaps(data: Any) -> None:
    """Raises `ModelFileError` for a heap of texts with an object of no size, which the library of HDF5 reads for ever."""
    for found in re.finditer(b"GCOL\1\0\0\0", data):
        size, at = int.from_bytes(data[found.end() : found.end() + 8], "little"), found.start() + 16
        while at + 16 <= min(len(data), found.start() + size):
            index, length = (int.from_bytes(data[at + k : at + k + n], "little") for k, n in ((0, 2), (8, 8)))
            if not index and not length:
                raise ModelFileError("a heap of HDF5 in it is damaged")
            at += length if not index else 16 + -(-length // 8) * 8


def _inside(group: Any, name: str) -> Any:
    """What a group holds itself: a link could lead to another file of this machine."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ModelFileError(f"{name!r} leads elsewhere or is not there; a file that holds its arrays is read")
    return group[name]


def _at(group: Any, path: str) -> Any:
    for name in path.split("/"):
        group = _inside(group, name)
    return group


def _below(root: Any, name: str, config: Mapping[str, Any], depth: int = 0) -> Iterator[Array]:
    """The arrays of a layer: of a Bidirectional the forward ones first, of cells upon one another from below."""
    if name not in root or depth == DEEPEST:
        return
    group = _inside(root, name)
    for part, key in INNER.items():
        if part in group:
            yield from _below(group, part, config.get(key, config.get("layer", {})).get("config", {}), depth + 1)
    if "cells" in group:
        held = _inside(group, "cells")
        for entry, inner in zip(config["cells"], _groups(config["cells"]), strict=True):
            yield from _below(held, inner, entry["config"], depth + 1)
    if "vars" in group:
        held = _inside(group, "vars")
        yield from (_dataset(_inside(held, key)) for key in sorted(held, key=int))


def _dataset(found: Any) -> Array:
    if found.is_virtual or found.external:
        raise ModelFileError(f"{found.name!r} has its numbers in another file; a file that holds its arrays is read")
    if found.dtype.kind not in "fiub" or found.id.get_storage_size() != found.nbytes:
        fix = "numbers that stand in the file as they are, as Keras writes them, are read"
        raise ModelFileError(f"{found.name!r} is compressed, not all there, or holds no numbers; {fix}")
    array: Array = np.array(found)
    return array.astype(np.float32) if array.dtype == np.float16 else array


# --- configuration ----------------------------------------------------------------------------------------------------


def _chain(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of the layers from below. Raises `ModelFileError` for a model in which they are no chain."""
    if config["class_name"] not in ("Sequential", "Functional", "Model"):
        raise ModelFileError(f"it is a {config['class_name']}; a Sequential or Functional model of layers is read")
    held = config["config"]
    entries: list[Mapping[str, Any]] = list(held["layers"] if isinstance(held, dict) else held)
    twice = [name for name, count in Counter(map(_name, entries)).items() if count > 1]
    if twice:
        raise ModelFileError(f"two layers are called {twice[0]!r}")
    if config["class_name"] != "Sequential":
        names = [_name(entry) for entry in entries]
        for position, entry in enumerate(entries):
            below = {text for text in _texts(entry.get("inbound_nodes", [])) if text in names}
            if below != set(names[position - 1 : position]) or len(entry.get("inbound_nodes", [])) > 1:
                reads = ", ".join(sorted(below)) or "nothing"
                raise ModelFileError(f"the layer {names[position]!r} reads {reads}; layers upon one another are read")
        given = {text for text in _texts(held.get("output_layers", [])) if text in names} or {names[-1]}
        if given != {names[-1]}:
            raise ModelFileError(f"it gives what {', '.join(sorted(given))} give; a model that gives its last layer is read")
    return entries


def _texts(data: Any) -> Iterator[str]:
    """Every text in JSON values."""
    if isinstance(data, str):
        yield data
    for inner in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from _texts(inner)


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["config"]["name"])


def own(entry: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    """Class, name and settings. Raises `ModelFileError` for a class that is none of Keras's own."""
    kind, module = str(entry["class_name"]), str(entry.get("module") or "keras")
    if module.split(".", maxsplit=1)[0] not in ("keras", "tf_keras") or (entry.get("registered_name") or kind) != kind:
        raise ModelFileError(f"the layer {_name(entry)!r} is a {module}.{kind}, which is none of Keras's own")
    return kind, _name(entry), entry["config"]


def _groups(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where the arrays of each entry are: under its class in snake case, numbered where there are several."""
    seen = Counter[str]()
    for entry in entries:
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", str(entry["class_name"]))).lower()
        yield f"{kind}_{seen[kind]}" if seen[kind] else kind
        seen[kind] += 1


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
