"""Hostile files of every kind that is read: those that call, escape, explode, claim, go round, and never end.

`python tests/hostile/make.py` writes those of a few bytes to `files`, where they are kept; tests make all of them anew.
What a file is refused with stands beside what makes it; None where it may open, since all that is asked is that it does no
harm. Longer than other files: it is a list.
"""

import io
import json
import struct
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

from readers import READERS, layers_of_keras, lstm, model, valid  # noqa: E402

import keras_files  # noqa: E402
from torch_files import mapping, named, number, numbers, tensor, text  # noqa: E402

HUGE = 2**40
LARGEST_KEPT = 4096
Made = tuple[Callable[[Path], Any], str | None]


# --- zips -------------------------------------------------------------------------------------------------------------


def zipped(path: Path, entries: Iterable[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_STORED) -> None:
    """A zip without times, in which names may stand twice."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            entry = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            entry.compress_type = method
            archive.NameToInfo.pop(entry.filename, None)  # so that nothing is warned of
            archive.writestr(entry, data)


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    return entry


def spoiled(path: Path, make: Callable[[Path], Any], old: bytes, new: bytes) -> None:
    """A file in which some bytes are others: the last time that they stand there."""
    make(path)
    before, found, after = path.read_bytes().rpartition(old)
    assert found
    path.write_bytes(before + new + after)


# --- pickles ----------------------------------------------------------------------------------------------------------


def pickled(path: Path, opcodes: bytes, more: Sequence[Any] = (), storage: bytes = bytes(16)) -> None:
    entries = [("w/data.pkl", b"\x80\x02" + opcodes + b"."), ("w/byteorder", b"little"), ("w/data/0", storage)]
    zipped(path, [*entries, *more])


SYSTEM = named("os", "system")
CALLS = {
    "global": (SYSTEM + b"(" + text("touch canary") + b"tR", "calls 'os.system'"),
    "global from the memo": (
        text("os") + b"q\0" + text("system") + b"q\x01" + b"h\0h\x01\x93" + b"(" + text("touch canary") + b"tR",
        "calls 'os.system'",
    ),
    "overwritten memo": (named("torch", "Size") + b"q\0" + SYSTEM + b"q\0" + b"h\0)R", "calls 'os.system'"),
    "newobj": (named("subprocess", "Popen") + b"(" + text("touch canary") + b"t\x81", "calls 'subprocess.Popen'"),
    "newobj_ex": (named("subprocess", "Popen") + b")}\x92", "the opcode NEWOBJ_EX"),
    "build": (named("builtins", "object") + b")R" + b"}" + text("__class__") + SYSTEM + b"sb", "calls 'builtins.object'"),
    "inst": (b"(" + text("touch canary") + b"ios\nsystem\n", "the opcode INST"),
    "obj": (b"(" + SYSTEM + text("touch canary") + b"o", "the opcode OBJ"),
    "persistent text": (b"Pos.system\n", "the opcode PERSID"),
    "persistent tuple": (text("os.system") + b"Q", "truncated, damaged or no file of PyTorch"),
    "ext1": (b"\x82\x01)R", "the opcode EXT1"),
    "ext2": (b"\x83\x01\0)R", "the opcode EXT2"),
    "ext4": (b"\x84\x01\0\0\0)R", "the opcode EXT4"),
    "getattr": (named("builtins", "getattr") + b"(" + named("os", "path") + text("os") + b"tR", "calls 'builtins.getattr'"),
}
DOUBLED = text("a") + b"\x85q\0" + b"h\0h\0\x86q\0" * 60 + b"}h\0"  # a tuple of tuples, 2^60 texts
ONE = np.zeros(4, np.float32)


def lying(**lies: Any) -> bytes:
    return mapping({"w": tensor("0", ONE, **lies)})


def with_sizes(shape: bytes, offset: bytes = number(0)) -> bytes:
    storage = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + number(4) + b"tQ"
    return mapping(
        {"w": named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + offset + shape + numbers([1]) + b"\x89NtR"}
    )


LONG = b"\x8a\x08" + struct.pack("<q", HUGE)
PICKLES = {
    "a name without end": (DOUBLED + b"Ns", "has a tuple for a name"),
    "a global without end": (DOUBLED + text("a") + b"\x93)R", "names a global by what is no text"),
    "a list as a size": (with_sizes(b"](" + text("a") * 3 + b"e" + LONG + b"\x86"), "whose sizes are no numbers"),
    "a size of 2^40": (with_sizes(LONG + b"\x85"), "lies outside of its storage"),
    "an offset of 2^40": (with_sizes(numbers([1]), LONG), "lies outside of its storage"),
    "infinite offset": (with_sizes(numbers([1]), b"G\x7f\xf0" + bytes(6)), "whose sizes are no numbers"),
    "a storage of 2^31": (lying(count=2**31 - 1), "storage 0 has 16 bytes"),
    "text of 2^63": (b"\x8d" + struct.pack("<Q", 2**63 - 1), "truncated, damaged or no file of PyTorch"),
    "number of 2^31 bytes": (b"\x8b" + struct.pack("<i", 2**31 - 1), "truncated, damaged or no file of PyTorch"),
    "itself": (b"]q\0h\0a", "a state_dict, a module or a path is wanted"),
    "deep": (b")" + b"\x85" * 100000, "a state_dict, a module or a path is wanted"),
    "marks": (b"(" * 100000 + b"t" * 100000, "a state_dict, a module or a path is wanted"),
    "opcodes": (b"N" * 3000000, "has more than 524288 opcodes"),
    "a name of lines": (mapping({"a\n\x1b[2J" * 99: tensor("0", ONE)}), "belongs to no layer"),
    "not closed": (b"t", "closes a container that was not opened"),
    "nan": (lying(), "belongs to no layer"),
}


def shared(path: Path) -> None:
    """A thousand tensors of one storage of a megabyte."""
    w = np.zeros(2**18, np.float32)
    held = {f"rnn.weight_ih_l{k}": tensor("0", w, shape=(2**9, 2**9), strides=(2**9, 1)) for k in range(1000)}
    pickled(path, mapping(held), storage=w.tobytes())


def not_finite(path: Path) -> None:
    held = lstm() | {"rnn.bias_ih_l0": np.full(12, np.inf, np.float32)}
    made = mapping({name: tensor(str(k), array) for k, (name, array) in enumerate(held.items())})
    first, *rest = held.values()
    pickled(path, made, [(f"w/data/{k}", array.tobytes()) for k, array in enumerate(rest, 1)], first.tobytes())


TORCH: dict[str, Made] = {
    **{f"calls {name}": (partial(pickled, opcodes=mapping({"w": code})), told) for name, (code, told) in CALLS.items()},
    **{name: (partial(pickled, opcodes=code), told) for name, (code, told) in PICKLES.items()},
    "shared": (shared, "its tensors are more than 16 times as large as the file"),
    "infinite": (not_finite, "holds NaN or infinity"),
    "escaping": (
        partial(pickled, opcodes=lying(), more=[("../canary", b"x"), ("/tmp/canary", b"x"), (link("w/l"), b"/etc/passwd")]),
        "belongs to no layer",
    ),
    "two pickles": (partial(pickled, opcodes=lying(), more=[("v/data.pkl", b"N.")]), "truncated, damaged or no file"),
    "twice": (partial(pickled, opcodes=lying(), more=[("w/data/0", bytes(8))]), "storage 0 has 8 bytes"),
    "wrong sum": (
        lambda path: spoiled(path, partial(pickled, opcodes=lying(), storage=b"0123456789abcdef"), b"6789", b"6780"),
        "Bad CRC-32",
    ),
    "bomb": (
        lambda path: zipped(
            path, [("w/data.pkl", b"\x80\x02" + b"N" * 2**24), ("w/byteorder", b"little")], zipfile.ZIP_DEFLATED
        ),
        "is compressed or too large",
    ),
    "a zip in a zip": (lambda path: zipped(path, [("inner.zip", b"PK\x05\x06" + bytes(18))]), "there is no data.pkl in it"),
}


# --- NumPy ------------------------------------------------------------------------------------------------------------


def header(told: str, version: int = 1, length: int | None = None) -> bytes:
    data = told.encode() + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(data) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + data


def claim(shape: str, kind: str = "'<f4'") -> str:
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}"


ARRAYS = {
    "2^40 numbers": (header(claim(f"({HUGE}, 2)")) + bytes(8), "is damaged"),
    "2^62 numbers": (header(claim(f"({2**62}, 16)")) + bytes(8), "is damaged"),
    "2^999 numbers": (header(claim(f"({2**999},)")) + bytes(8), "is damaged"),
    "fewer than none": (header(claim("(-2, -2)")) + bytes(16), "is damaged"),
    "empty sequences": (header(claim(f"({HUGE}, 0, 3)")), "is "),
    "no sequences": (header(claim(f"(0, {HUGE}, {HUGE})")), None),
    "deep": (header(claim("(" * 3000 + ")" * 3000)), "is damaged"),
    "many signs": (header(claim("(" + "-" * 1500 + "1,)")), "is damaged"),
    "a call": (header(claim("__import__('os').system('touch canary')")), "is damaged"),
    "a header of 4 GB": (header(claim("(2, 2)"), 2, 2**32 - 1), "is damaged"),
    "a version": (header(claim("(2, 2)"), 9), "is damaged"),
    "wide numbers": (header(claim("(1, 1)", f"'V{2**31 - 1}'")), "is "),
    "objects": (header(claim("(1, 1)", "'|O'")) + b"cos\nsystem\n(S'touch canary'\ntR.", "Python objects"),
    "fields": (header(claim("(1, 1)", "[('a', '<f4'), ('b', '|O')]")) + bytes(8), "Python objects"),
}


def archive(path: Path, held: bytes, name: str = "x.npy") -> None:
    zipped(path, [(name, held)])


def small() -> bytes:
    data = io.BytesIO()
    np.save(data, np.arange(6.0).reshape(3, 2))
    return data.getvalue()


ZEROS = header(claim(f"({2**25}, 2)"))
NPZ: dict[str, Made] = {
    **{name: (partial(archive, held=data), told) for name, (data, told) in ARRAYS.items() if name != "deep"},
    "bomb": (lambda path: zipped(path, [("x.npy", ZEROS + bytes(2**28))], zipfile.ZIP_DEFLATED), "would unpack to"),
    "twice": (lambda path: zipped(path, [("a.npy", small()), ("a.npy", small())]), "two arrays have one name"),
    "escaping": (lambda path: zipped(path, [("../canary.npy", small()), ("/tmp/canary.npy", small())]), None),
    "link": (lambda path: zipped(path, [(link("x.npy"), b"/etc/passwd")]), "is damaged"),
    "wrong sum": (
        lambda path: spoiled(path, partial(archive, held=small()), np.float64(3).tobytes(), bytes(8)),
        "Bad CRC-32",
    ),
    "secret": (
        lambda path: spoiled(path, partial(archive, held=small()), b"\x14\3\x14\0\0\0", b"\x14\3\x14\0\1\0"),
        "encrypted",
    ),
}


# --- safetensors ------------------------------------------------------------------------------------------------------


def tensors(path: Path, told: Any, length: int | None = None, data: bytes = bytes(16)) -> None:
    begin = told if isinstance(told, bytes) else json.dumps(told).encode()
    path.write_bytes(struct.pack("<Q", len(begin) if length is None else length) + begin + data)


def facts(path: Path, told: str) -> None:
    """A file of ours whose facts are this text."""
    tensors(path, {"__metadata__": {"elman": told}, "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})


def graph_of(path: Path, change: Callable[[Any], None]) -> None:
    from elman.io import safetensors

    made = model()
    told = json.loads(json.dumps(made._facts()))
    change(told)
    safetensors.write(path, made.parameters, told)


def enlarged(told: Any) -> None:
    """Every size of the equations is 2^40."""
    for place in told.values() if isinstance(told, dict) else told if isinstance(told, list) else ():
        enlarged(place)
    if isinstance(told, dict) and "shape" in told:
        told["shape"] = [HUGE for _ in told["shape"]]
    if isinstance(told, dict) and "sizes" in told:
        told["sizes"] = dict.fromkeys(told["sizes"], HUGE)


def one(shape: list[int], end: int = 16, start: int = 0) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}}


DAMAGED = "is truncated, damaged or no safetensors file"
SAFETENSORS: dict[str, Made] = {
    "a header of 2^63 bytes": (partial(tensors, told=b"{}", length=2**63), DAMAGED),
    "a header of 2^40 bytes": (partial(tensors, told=b"{}", length=HUGE), DAMAGED),
    "2^40 numbers": (partial(tensors, told=one([HUGE])), DAMAGED),
    "2^40 numbers that end there": (partial(tensors, told=one([HUGE], 4 * HUGE)), DAMAGED),
    "2^64 numbers": (partial(tensors, told=one([2**32, 2**32], 16)), DAMAGED),
    "from behind": (partial(tensors, told=one([4], 0, 16)), DAMAGED),
    "overlapping": (partial(tensors, told=one([4]) | {"v": one([4])["w"]}), DAMAGED),
    "a hole": (partial(tensors, told=one([2], 16, 8)), DAMAGED),
    "deep": (partial(tensors, told=b'{"a":' * 50000), DAMAGED),
    "two of a name": (partial(tensors, told=b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"w":1}'), DAMAGED),
    "deep facts": (partial(facts, told="[" * 100000), "its metadata cannot be read"),
    "deep facts that end": (partial(facts, told='{"a":' * 90000 + "1" + "}" * 90000), "its metadata cannot be read"),
    "a long number": (partial(facts, told='{"a":' + "9" * 100000 + "}"), "its metadata cannot be read"),
    "a large number": (partial(facts, told='{"format":1e999,"version":-1e999}'), "is read"),
    "facts twice": (partial(facts, told='{"format":"elman model","format":[],"version":1}'), "format []"),
    "a list": (partial(facts, told="[]"), "its metadata is not an object"),
    "sizes of 2^40": (partial(graph_of, change=enlarged), "this is not a whole model"),
    "a long format": (partial(facts, told=json.dumps({"format": "a\n\x1b" * 9999})), "is read"),
}


# --- Keras ------------------------------------------------------------------------------------------------------------


def of_keras(change: Callable[[h5py.Group], None], path: Path) -> None:
    """A .h5 file whose first array is something else."""
    keras_files.legacy(path, layers_of_keras())
    with h5py.File(path, "r+") as file:
        del file["model_weights/inner/inner/array_0:0"]
        change(file["model_weights/inner/inner"])


def of_keras_3(change: Callable[[h5py.Group], None], path: Path) -> None:
    """The same of a .keras file."""
    keras_files.zipped(path, layers_of_keras())
    with zipfile.ZipFile(path) as good:
        entries = {name: good.read(name) for name in good.namelist()}
    data = io.BytesIO(entries["model.weights.h5"])
    with h5py.File(data, "r+") as file:
        del file["layers/lstm/cell/vars/0"]
        change(file["layers/lstm/cell/vars"])
    zipped(path, (entries | {"model.weights.h5": data.getvalue()}).items())


def named_0(group: h5py.Group) -> str:
    return "0" if group.name.endswith("vars") else "array_0:0"


def nothing_there(group: h5py.Group) -> None:
    group.create_dataset(named_0(group), shape=(2**19, 2**19), dtype="f4", chunks=(64, 64))


def nothing_behind(group: h5py.Group) -> None:
    group.create_dataset(named_0(group), shape=(2**19, 2**19), dtype="f4")


def packed(group: h5py.Group) -> None:
    group.create_dataset(
        named_0(group), shape=(2**12, 2**10), chunks=(2**12, 2**10), compression="gzip", data=np.zeros((2**12, 2**10))
    )


def texts(group: h5py.Group) -> None:
    group.create_dataset(named_0(group), data=["a"] * 99, dtype=h5py.string_dtype())


def references(group: h5py.Group) -> None:
    group.create_dataset(named_0(group), data=[group.file.ref] * 9, dtype=h5py.ref_dtype)


def elsewhere(group: h5py.Group) -> None:
    group[named_0(group)] = h5py.ExternalLink("/etc/passwd", "/")


def around(path: Path) -> None:
    """Groups that hold one another twice, and in the end the first: 2^60 ways."""
    keras_files.zipped(path, layers_of_keras())
    with zipfile.ZipFile(path) as good:
        entries = {name: good.read(name) for name in good.namelist()}
    data = io.BytesIO(entries["model.weights.h5"])
    with h5py.File(data, "r+") as file:
        group = first = file["layers/lstm"]
        for _ in range(60):
            below = group.create_group("forward_layer")
            group["backward_layer"] = below
            group = below
        group["layer"] = first
    zipped(path, (entries | {"model.weights.h5": data.getvalue()}).items())


def heap(path: Path) -> None:
    """An object of no size in the heap of texts, which the library of HDF5 reads for ever."""
    keras_files.legacy(path, layers_of_keras())
    data = path.read_bytes()
    at = data.index(b"GCOL") + 16
    path.write_bytes(data[:at] + bytes(16) + data[at + 16 :])


def configured(config: str, path: Path) -> None:
    zipped(
        path, [("config.json", config.encode()), ("metadata.json", b'{"keras_version": "3.0"}'), ("model.weights.h5", b"")]
    )


NUMBERS = "is compressed, not all there, or holds no numbers"
H5: dict[str, Made] = {
    name: (change, told)
    for name, change, told in (
        ("2^38 numbers in chunks", nothing_there, NUMBERS),
        ("2^38 numbers", nothing_behind, NUMBERS),
        ("packed", packed, NUMBERS),
        ("texts", texts, NUMBERS),
        ("references", references, NUMBERS),
        ("elsewhere", elsewhere, "leads elsewhere or is not there"),
    )
}
KERAS_2: dict[str, Made] = {name: (partial(of_keras, change), told) for name, (change, told) in H5.items()}
KERAS_2 |= {"heap": (heap, "a heap of HDF5 in it is damaged")}
TWICE = json.dumps({"class_name": "Sequential", "config": {"layers": [{"class_name": "LSTM", "config": {"name": "a"}}] * 2}})
KERAS: dict[str, Made] = {name: (partial(of_keras_3, change), told) for name, (change, told) in H5.items()}
KERAS |= {
    "around": (around, None),
    "deep": (partial(configured, "[" * 100000), "is truncated, damaged or no model of Keras"),
    "long number": (partial(configured, "9" * 100000), "is truncated, damaged or no model of Keras"),
    "no file in it": (partial(configured, TWICE), "is truncated, damaged or no model of Keras"),
    "bomb": (
        lambda path: zipped(path, [("config.json", b" " * 2**24)], zipfile.ZIP_DEFLATED),
        "its entries are compressed",
    ),
}


# --- ONNX -------------------------------------------------------------------------------------------------------------

N = helper.make_node


def net(path: Path, nodes: Sequence[Any], functions: Sequence[Any] = (), opset: int = 18, **constants: Any) -> None:
    """A model of some nodes, from x to y."""
    held = [value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
            for name, value in constants.items()]  # fmt: skip
    declared = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    graph = helper.make_graph(nodes, "g", declared[:1], declared[1:], held)
    versions = [helper.make_opsetid("", opset), helper.make_opsetid("ours", 1)]
    made = helper.make_model(graph, opset_imports=versions, functions=functions, ir_version=9)
    path.write_bytes(made.SerializeToString(deterministic=True))


def raw(dims: Sequence[int], data: bytes = bytes(16), kind: int = 1, **elsewhere: Any) -> TensorProto:
    made = TensorProto(name="w", data_type=kind, dims=dims)
    if not elsewhere:
        made.raw_data = data
    for key, value in elsewhere.items():
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key=key, value=str(value))
    return made


def beside(path: Path, **told: Any) -> None:
    """A model whose numbers are in another file, beside one that is there and a link that leads out."""
    (path.parent / "there").write_bytes(bytes(16))
    if not (path.parent / "link").is_symlink():
        (path.parent / "link").symlink_to("/etc/passwd")
    net(path, [N("Add", ["x", "w"], ["y"])], w=raw([4], **told))


def function(name: str, *nodes: Any) -> Any:
    return helper.make_function(
        "ours", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 18), helper.make_opsetid("ours", 1)]
    )


def call(name: str, read: str = "a", given: str = "b") -> Any:
    return N(name, [read], [given], domain="ours")


def laughing(path: Path) -> None:
    """Forty functions that call the next one twice."""
    chain = [function(f"f{k}", call(f"f{k + 1}", "a", "c"), call(f"f{k + 1}", "c", "b")) for k in range(40)]
    net(path, [call("f0", "x", "y")], [*chain, function("f40", N("Neg", ["a"], ["b"]))])


def nested(path: Path, depth: int = 200) -> None:
    """Branches in branches; the parser of protobuf has a limit of its own, so the bytes are written by hand."""
    data = b""
    for _ in range(depth):
        for field in (6, 5, 1):  # an attribute's graph, a node's attribute, a graph's node
            size, told = len(data), b""
            while size > 127:
                told, size = told + bytes([size & 127 | 128]), size >> 7
            data = bytes([field << 3 | 2]) + told + bytes([size]) + data
    net(path, [N("Neg", ["x"], ["y"])])
    size = struct.pack("<I", len(data))
    path.write_bytes(
        path.read_bytes() + b"\x3a" + bytes([size[0] & 127 | 128, len(data) >> 7 & 127 | 128, len(data) >> 14]) + data
    )


def ways(count: int) -> list[Any]:
    """A value joined with itself again and again: paths double with every node."""
    joined = [N("Concat", [f"k{k}" if k else "x"] * 2, [f"k{k + 1}"], axis=0) for k in range(count)]
    return [*joined, N("Identity", [f"k{count}"], ["y"])]


def recurrent(value: float) -> dict[str, Any]:
    return {"w": np.full((1, 12, 2), value, np.float32), "r": np.full((1, 12, 3), value, np.float32)}


def typed(path: Path) -> None:
    net(path, [N("Identity", ["x"], ["y"])])
    made = onnx.load(path)
    made.graph.input[0].type.tensor_type.elem_type = 99
    path.write_bytes(made.SerializeToString())


def noted(path: Path) -> None:
    """A Scan that carries equations of 2^40 units."""
    from elman import RNN, cells
    from elman.io.onnx import save

    save(path, RNN(cells.mgu, input=2, hidden=3))
    made = onnx.load(path)
    for node in made.graph.node:
        if node.doc_string:
            told = json.loads(node.doc_string)
            enlarged(told)
            node.doc_string = json.dumps(told)
    path.write_bytes(made.SerializeToString())


MOST = "are the most"
NONE = "nothing gives its input"
NO_MODEL = "this is no ONNX model"
LAST = [N("Neg", ["k"], ["y"])]
ONNX: dict[str, Made] = {
    "2^60 numbers": (partial(net, nodes=[N("Identity", ["w"], ["y"])], w=raw([HUGE, 2**20])), "cannot be read"),
    "fewer than none": (partial(net, nodes=[N("Identity", ["w"], ["y"])], w=raw([-4])), None),
    "too few bytes": (partial(net, nodes=[N("Identity", ["w"], ["y"])], w=raw([4], bytes(3))), "cannot be read"),
    "a type": (partial(net, nodes=[N("Identity", ["w"], ["y"])], w=raw([4], kind=99)), "cannot be read"),
    "a type of an input": (typed, NO_MODEL),
    "a length of 2^63": (lambda path: path.write_bytes(b"\x3a" + b"\xff" * 8 + b"\x7f" + bytes(9)), NO_MODEL),
    "a length of 2^70": (lambda path: path.write_bytes(b"\x3a" + b"\xff" * 12), NO_MODEL),
    "nested": (nested, NO_MODEL),
    "filled": (partial(net, nodes=[N("ConstantOfShape", ["s"], ["k"]), *LAST], s=[HUGE]), MOST),
    "range": (partial(net, nodes=[N("Range", ["a", "b", "c"], ["k"]), *LAST], a=0, b=HUGE, c=1), MOST),
    "range without steps": (partial(net, nodes=[N("Range", ["a", "b", "c"], ["k"]), *LAST], a=0, b=HUGE, c=0), "Range node"),
    "tiled": (partial(net, nodes=[N("Tile", ["s", "r"], ["k"]), *LAST], s=[1, 2], r=[HUGE]), MOST),
    "expanded": (partial(net, nodes=[N("Expand", ["s", "r"], ["k"]), *LAST], s=[1], r=[HUGE]), MOST),
    "outer": (partial(net, nodes=[N("Add", ["s", "r"], ["k"]), *LAST], s=np.ones((4000, 1)), r=np.ones((1, 4000))), MOST),
    "product": (
        partial(net, nodes=[N("MatMul", ["s", "r"], ["k"]), *LAST], s=np.ones((4000, 1)), r=np.ones((1, 4000))),
        MOST,
    ),
    "gathered": (
        partial(net, nodes=[N("Gather", ["s", "r"], ["k"]), *LAST], s=np.ones((1, 9999)), r=np.zeros(9999, int)),
        MOST,
    ),
    "one hot": (partial(net, nodes=[N("OneHot", ["s", "d", "v"], ["k"]), *LAST], s=[1], d=[HUGE], v=[0.0, 1.0]), MOST),
    "padded": (partial(net, nodes=[N("Pad", ["s", "d"], ["k"]), *LAST], s=[1.0], d=[HUGE, 0]), MOST),
    "split": (partial(net, nodes=[N("Split", ["s"], ["y"], num_outputs=HUGE)], s=[1]), "num_outputs is"),
    "many": (
        partial(
            net, nodes=[*(N("ConstantOfShape", ["s"], [f"k{k}"]) for k in range(99)), N("Neg", ["k0"], ["y"])], s=[2**21]
        ),
        MOST,
    ),
    "doubled": (partial(net, nodes=ways(60)[1:], k1=[1.0]), "what needs no input comes to far more than the file holds"),
    "ways": (partial(net, nodes=ways(60)), None),
    "a chain": (
        partial(
            net,
            nodes=[N("Identity", [f"k{k}" if k else "x"], [f"k{k + 1}"]) for k in range(5000)]
            + [N("Identity", ["k5000"], ["y"])],
        ),
        None,
    ),
    "a circle": (partial(net, nodes=[N("Identity", ["y"], ["z"]), N("Identity", ["z"], ["y"])]), NONE),
    "itself": (partial(net, nodes=[N("Identity", ["y"], ["y"])]), NONE),
    "no branch": (partial(net, nodes=[N("If", ["t"], ["y"], then_branch=1)], t=True), "the graph then_branch is missing"),
    "no body": (partial(net, nodes=[N("Scan", ["x"], ["y"], num_scan_inputs=1)]), "the graph body is missing"),
    "a function of itself": (
        partial(net, nodes=[call("f", "x", "y")], functions=[function("f", call("f"))]),
        "calls itself",
    ),
    "functions of each other": (
        partial(net, nodes=[call("f", "x", "y")], functions=[function("f", call("g")), function("g", call("f"))]),
        "calls itself",
    ),
    "laughing": (laughing, "its functions come to"),
    "not a number": (partial(net, nodes=[N("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)], **recurrent(np.nan)), "NaN"),
    "infinite": (partial(net, nodes=[N("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)], **recurrent(np.inf)), "infinity"),
    "2^40 units": (partial(net, nodes=[N("LSTM", ["x", "w", "r"], ["y"], hidden_size=HUGE)], **recurrent(1)), "LSTM node"),
    "notes of 2^40 units": (noted, "its equations"),
    "numbers above": (partial(beside, location="../../../../etc/passwd"), NO_MODEL),
    "numbers at a root": (partial(beside, location="/etc/passwd"), NO_MODEL),
    "numbers in a link": (partial(beside, location="link"), NO_MODEL),
    "numbers in a folder": (partial(beside, location="."), NO_MODEL),
    "2^60 numbers beside": (partial(beside, location="there", length=2**60), NO_MODEL),
    "numbers far behind": (partial(beside, location="there", offset=2**62), NO_MODEL),
    "numbers before": (partial(beside, location="there", offset=-8), NO_MODEL),
    "fewer numbers": (partial(beside, location="there", length=8), "cannot be read"),
}


# --- texts and tables -------------------------------------------------------------------------------------------------


def lines(text_of: str, path: Path) -> None:
    path.write_text(text_of, encoding="utf-8")


NO_LOG = "is none of a log"
LOG: dict[str, Made] = {
    "deep": (partial(lines, '{"step": ' + "[" * 100000 + "\n"), NO_LOG),
    "a text": (partial(lines, '{"step": 1, "bits": "many"}\n'), NO_LOG),
    "a list": (partial(lines, '{"step": 1, "bits": [[1], 2]}\n'), NO_LOG),
    "a large number": (partial(lines, '{"step": 1, "bits": ' + "9" * 4000 + "}\n"), NO_LOG),
    "a large step": (partial(lines, '{"step": ' + "9" * 4000 + ', "bits": 1}\n'), NO_LOG),
    "a long number": (partial(lines, '{"step": ' + "9" * 100000 + "}\n"), NO_LOG),
    "seconds": (partial(lines, '{"step": 1, "seconds": "x"}\n{"step": 2, "seconds": 1}\n'), NO_LOG),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe\n\0\n"), NO_LOG),
}
RUN: dict[str, Made] = {
    "deep": (partial(lines, "[" * 100000), "is damaged"),
    "deep in front": (partial(lines, '{"format":' * 100000), "is damaged"),
    "a long number": (partial(lines, "9" * 100000), "is damaged"),
    "a number": (partial(lines, "1e999"), "is damaged"),
    "twice": (partial(lines, '{"format":"elman run","version":1,"facts":{},"facts":[]}'), "is damaged"),
}


def many_rows(path: Path) -> None:
    """Sixteen million rows in some kilobytes."""
    import pyarrow as arrow
    from pyarrow import parquet

    columns = {
        "x": np.zeros(2**20, np.float32),
        "y": np.zeros(2**20, np.float32),
        "gait": ["a"] * 2**20,
        "who": ["b"] * 2**20,
    }
    table = arrow.table(columns)
    with parquet.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(16):
            writer.write_table(table)


def astray(path: Path) -> None:
    """A column of texts that begin and end outside of it."""
    valid("arrow", path.parent).rename(path)
    data = path.read_bytes()
    offsets = struct.pack("<4i", 0, 1, 2, 3)
    assert data.count(offsets)
    path.write_bytes(data.replace(offsets, struct.pack("<4i", 0, 2**30, -(2**30), 2**31 - 1)))


PARQUET: dict[str, Made] = {"many rows": (many_rows, "claims 16,777,216 rows")}
ARROW: dict[str, Made] = {"astray": (astray, "cannot be read as .arrow")}

HOSTILE: dict[str, dict[str, Made]] = {
    "model": SAFETENSORS,
    "checkpoint": {name: (make, "") for name, (make, _) in SAFETENSORS.items()},
    "state": {name: (make, "") for name, (make, _) in SAFETENSORS.items()},
    "encoder-decoder": {name: (make, "") for name, (make, _) in SAFETENSORS.items()},
    "pytorch": TORCH,
    "npz": NPZ,
    "npy": {name: (partial(lambda data, path: path.write_bytes(data), data), told) for name, (data, told) in ARRAYS.items()},
    "tokens": {name: (partial(lambda data, path: path.write_bytes(data), data), "") for name, (data, _) in ARRAYS.items()},
    "keras": KERAS,
    "keras 2": KERAS_2,
    "onnx": ONNX,
    "log": LOG,
    "run": RUN,
    "parquet": PARQUET,
    "arrow": ARROW,
}
"""By the kind of file and what is wrong with it: what makes it, and what is said of it."""

NOT_KEPT = ("keras", "keras 2", "parquet", "arrow", "checkpoint", "state", "encoder-decoder", "tokens")
"""Kinds whose bytes depend on the library that writes them, or that are those of another kind."""


def kept() -> Iterable[tuple[str, str, Callable[[Path], Any]]]:
    """Kind, name and maker of what is worth keeping: no file of another beside it."""
    for kind, cases in HOSTILE.items():
        if kind not in NOT_KEPT:
            yield from ((kind, name, make) for name, (make, _) in cases.items() if getattr(make, "func", make) is not beside)


def place(folder: Path, kind: str, name: str) -> Path:
    return folder / (f"{kind} {name}".replace(" ", "-").replace("^", "") + READERS[kind].suffix)


def main() -> None:
    folder = FOLDER / "files"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for kind, name, make in kept():
        path = place(folder, kind, name)
        make(path)
        if path.stat().st_size > LARGEST_KEPT:
            path.unlink()


if __name__ == "__main__":
    main()
