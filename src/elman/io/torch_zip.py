"""Files that torch.save wrote (.pt, .pth), read without PyTorch and without running anything in them.

Such a file is a zip of one pickle, which says how tensors lie in storages, and the storages' bytes. The pickle's opcodes are
read as data by a small stack machine: it makes tensors and plain containers, and names any other global that it meets.
"""

import math
import os
import pickletools
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import ModelFileError, one_line
from elman.gates import Array

STORAGES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "u2", "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
"""Types of what storages hold; those of bfloat16 are the upper halves of float32."""

DAMAGED = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    NotImplementedError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
)
"""What reading a file that is truncated or made up may come to."""

LARGEST_PICKLE, MOST_OPCODES = 2**26, 2**19
"""The pickle holds names and shapes only: no model's is near to this."""

MOST_SHARED = 16
"""So many times over all tensors may hold the file's numbers; weights that are tied hold them twice."""


@dataclass(frozen=True)
class _Global:
    """A name of a module that the pickle speaks of, which is never looked up."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """Numbers in the file, of which tensors are views."""

    kind: str
    key: str
    count: int


class _Mark:
    """Where the values of a container begin on the stack."""


def read(path: str | os.PathLike[str]) -> Any:
    """What a file of torch.save holds: containers of arrays, numbers and texts. Tensors of 16 bits come as float32.

    Raises `ModelFileError` for a file that is missing or damaged, or whose pickle wants anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reader(archive, os.path.getsize(path)).value()
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such file") from None
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {one_line(str(error))}") from None
    except DAMAGED as error:
        fix = "a zip as torch.save writes it is read; save an older file again"
        told = one_line(str(error))
        raise ModelFileError(f"{path} is truncated, damaged or no file of PyTorch ({told}); {fix}") from error


class _Reader:
    """One archive, and the stack and memory of its pickle."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        [pickled] = [n for n in archive.namelist() if n.endswith("/data.pkl")] or [""]
        if not pickled:
            raise ModelFileError("there is no data.pkl in it, so it is no file of torch.save")
        self.archive, self.folder = archive, pickled.removesuffix("data.pkl")
        self.order = self._bytes("byteorder").decode() if self.folder + "byteorder" in archive.namelist() else "little"
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.storages: dict[_Storage, Array] = {}
        self.left = MOST_SHARED * size

    def value(self) -> Any:
        """Read opcode by opcode what the pickle makes."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self._bytes("data.pkl"))):
            if count >= MOST_OPCODES:
                raise ModelFileError(f"its pickle has more than {MOST_OPCODES} opcodes, which no file of tensors needs")
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name not in OPCODES:
                told = f"{opcode.name} {argument[:200]!r}" if isinstance(argument, str) else opcode.name
                raise ModelFileError(f"its pickle has the opcode {told}, which files of tensors do not need")
            OPCODES[opcode.name](self, argument)
        raise ModelFileError("its pickle has no end")

    def _bytes(self, name: str) -> bytes:
        """An entry of the archive, which is as large as the file says only where it is not compressed."""
        entry = self.archive.getinfo(self.folder + name)
        if entry.compress_type != zipfile.ZIP_STORED or (name == "data.pkl" and entry.file_size > LARGEST_PICKLE):
            raise ModelFileError(f"{name} is compressed or too large, which torch.save does not write")
        return self.archive.read(entry)

    # --- the stack ----------------------------------------------------------------------------------------------------

    def _since_mark(self) -> list[Any]:
        at = next((k for k in reversed(range(len(self.stack))) if self.stack[k] is _Mark), None)
        if at is None:
            raise ModelFileError("its pickle closes a container that was not opened")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _global(self, argument: str) -> None:
        self._push(_Global(argument.replace(" ", ".")[:200]))

    def _stack_global(self, _: Any) -> None:
        module, name = self._popped(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ModelFileError("its pickle names a global by what is no text")
        self._push(_Global(f"{module}.{name}"[:200]))

    def _popped(self, count: int) -> tuple[Any, ...]:
        values = tuple(self.stack[len(self.stack) - count :])
        if len(values) < count:
            raise ModelFileError("its pickle takes more from the stack than there is")
        del self.stack[len(self.stack) - count :]
        return values

    def _items(self, values: Sequence[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ModelFileError("its pickle puts items into what is no dict")
        target.update(_named(zip(values[::2], values[1::2], strict=True)))

    def _appended(self, values: Sequence[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ModelFileError("its pickle appends to what is no list")
        target.extend(values)

    # --- what is made -------------------------------------------------------------------------------------------------

    def _reduce(self, _: Any) -> None:
        function, arguments = self._popped(2)
        make = MAKERS.get(function.name) if isinstance(function, _Global) else None
        if make is None:
            name = function.name if isinstance(function, _Global) else type(function).__name__
            is_module = name.startswith(("torch.nn.", "__torch__.", "__main__."))
            what = "only tensors and plain containers are read; of a whole module, save its state_dict()"
            what = "save the module's state_dict()" if is_module else what
            raise ModelFileError(f"its pickle calls {name!r}, which is not done; {what}")
        self._push(make(self, *arguments))

    def _build(self, _: Any) -> None:
        """The attributes of an OrderedDict, such as the versions of its modules, are no weights."""
        target, _state = self._popped(2)
        if not isinstance(target, dict):
            raise ModelFileError(f"its pickle sets attributes of a {type(target).__name__}, which is not done")
        self._push(target)

    def _persistent(self, _: Any) -> None:
        [(word, kind, key, _place, count)] = self._popped(1)
        name = kind.name if isinstance(kind, _Global) else ""
        if not (isinstance(key, str) and type(count) is int):
            raise ModelFileError("its pickle has a storage whose key is no text, or whose size is no number")
        if word != "storage" or not name.startswith("torch.") or name.removeprefix("torch.") not in STORAGES:
            raise ModelFileError(
                f"its pickle wants a storage of {name or type(kind).__name__!r}; there are {', '.join(STORAGES)}"
            )
        self._push(_Storage(name.removeprefix("torch."), key, count))

    def _dict(self, items: Sequence[Any] = ()) -> dict[Any, Any]:
        return _named(items)

    def _size(self, sizes: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(sizes)

    def _parameter(self, tensor: Any, *_: Any) -> Any:
        return tensor

    def _tensor(self, storage: Any, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any) -> Array:
        """A view of a storage, copied so that nothing else shares its numbers."""
        if not isinstance(storage, _Storage):
            raise ModelFileError("its pickle makes a tensor of what is no storage")
        if not all(type(number) is int for number in (offset, *shape, *strides)):
            raise ModelFileError("its pickle makes a tensor whose sizes are no numbers")
        numbers, count = self._numbers(storage), math.prod(shape)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if count else offset
        if min((offset, *shape, *strides), default=0) < 0 or max(last + (count > 0), count) > len(numbers):
            raise ModelFileError(f"a tensor {tuple(shape)} lies outside of its storage of {len(numbers)} numbers")
        self.left -= count * numbers.itemsize
        if self.left < 0:
            raise ModelFileError(f"its tensors are more than {MOST_SHARED} times as large as the file")
        steps = [stride * numbers.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(numbers[offset:], tuple(shape), steps).copy()

    def _numbers(self, storage: _Storage) -> Array:
        if storage not in self.storages:
            kind = np.dtype(STORAGES[storage.kind]).newbyteorder("<" if self.order == "little" else ">")
            data = self._bytes(f"data/{storage.key}")
            self.left -= len(data)
            if len(data) != storage.count * kind.itemsize:
                raise ModelFileError(f"storage {storage.key} has {len(data)} bytes; {storage.count} of {kind} are wanted")
            self.storages[storage] = _widened(np.frombuffer(data, kind), storage.kind)
        return self.storages[storage]


def _named(items: Any) -> dict[Any, Any]:
    """A dict, of whose keys texts and numbers are hashed only: tuples that share tuples would take for ever."""
    found = dict[Any, Any]()
    for key, value in items:
        if not isinstance(key, str | int):
            raise ModelFileError(f"its pickle has a {type(key).__name__} for a name")
        found[key] = value
    return found


def _widened(numbers: Array, kind: str) -> Array:
    """Numbers in this machine's order; those of 16 bits as float32, which holds them exactly."""
    if kind == "BFloat16Storage":
        upper: Array = (numbers.astype(np.uint32) << 16).view(np.float32)
        return upper
    return numbers.astype(np.float32 if kind == "HalfStorage" else numbers.dtype.newbyteorder("="))


MAKERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _Reader._dict,
    "torch.Size": _Reader._size,
    "torch._utils._rebuild_tensor_v2": _Reader._tensor,
    "torch._utils._rebuild_parameter": _Reader._parameter,
}
"""What stands for the functions that files of tensors name; no other is called."""


def _taken(count: int) -> Callable[[_Reader, Any], None]:
    return lambda reader, _: reader._push(reader._popped(count))


def _pushed(value: Callable[[Any], Any]) -> Callable[[_Reader, Any], None]:
    return lambda reader, argument: reader._push(value(argument))


def _kept(reader: _Reader, argument: Any) -> None:
    reader.memory[len(reader.memory) if argument is None else argument] = reader.stack[-1]


OPCODES: dict[str, Callable[[_Reader, Any], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda reader, argument: None),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Reader._push),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _kept),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda reader, argument: reader._push(reader.memory[argument])),
    "NONE": _pushed(lambda _: None),
    "NEWTRUE": _pushed(lambda _: True),
    "NEWFALSE": _pushed(lambda _: False),
    "EMPTY_DICT": _pushed(lambda _: {}),
    "EMPTY_LIST": _pushed(lambda _: []),
    "EMPTY_TUPLE": _pushed(lambda _: ()),
    "MARK": _pushed(lambda _: _Mark),
    "TUPLE1": _taken(1),
    "TUPLE2": _taken(2),
    "TUPLE3": _taken(3),
    "TUPLE": lambda reader, _: reader._push(tuple(reader._since_mark())),
    "SETITEM": lambda reader, _: reader._items(reader._popped(2)),
    "SETITEMS": lambda reader, _: reader._items(reader._since_mark()),
    "APPEND": lambda reader, _: reader._appended(reader._popped(1)),
    "APPENDS": lambda reader, _: reader._appended(reader._since_mark()),
    "GLOBAL": _Reader._global,
    "STACK_GLOBAL": _Reader._stack_global,
    "BINPERSID": _Reader._persistent,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Reader._reduce),
    "BUILD": _Reader._build,
}
"""The opcodes that files of tensors are made of, each with what it does."""
