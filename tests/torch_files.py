"""Files as torch.save writes them, made by hand: what tests of the reader share."""

import io
import struct
import zipfile

import numpy as np

KINDS = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage", "float16": "HalfStorage"}


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    return b"J" + struct.pack("<i", value)


def numbers(values):
    return b"(" + b"".join(number(value) for value in values) + b"t"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def tensor(key, array, *, shape=None, strides=None, offset=0, count=None, kind=None):
    """The opcodes that make a tensor of a storage; what is given in place of the array's own is a lie."""
    steps = strides if strides is not None else [s // array.itemsize for s in np.ascontiguousarray(array).strides]
    kind = KINDS[array.dtype.name] if kind is None else kind
    storage = b"(" + text("storage") + named("torch", kind) + text(key) + text("cpu")
    storage += number(array.size if count is None else count) + b"tQ"
    arguments = storage + number(offset) + numbers(array.shape if shape is None else shape) + numbers(steps) + b"\x89N"
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def mapping(entries):
    """The opcodes of a dict of what others make."""
    return b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u"


def write(path, arrays, pickled=None, *, compression=zipfile.ZIP_STORED):
    """A file of arrays by name; `pickled` opcodes stand in the place of those that make them."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    if pickled is None:
        pickled = mapping({name: tensor(str(k), array) for k, (name, array) in enumerate(whole.items())})
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        archive.writestr("weights/data.pkl", b"\x80\x02" + pickled + b".")
        archive.writestr("weights/byteorder", "little")
        for k, array in enumerate(whole.values()):
            archive.writestr(f"weights/data/{k}", array.tobytes())
        archive.writestr("weights/version", "3\n")
    path.write_bytes(data.getvalue())
    return path
