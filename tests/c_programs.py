"""Programs of C in tests: many compiled at once, as strictly as a compiler goes, and run from here step by step."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from elman.export import CProgram

COMPILER = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no compiler of C")


def compiled(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A call of the compiler in a folder, which must not complain."""
    done = subprocess.run([COMPILER, *STRICT, *arguments, "-lm"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    assert done.stderr == ""
    return done


def own_test(folder: Path, program: CProgram, *flags: str) -> subprocess.CompletedProcess:
    """What a program's own test says."""
    program.save(folder)
    compiled(folder, *flags, f"-D{program.name.upper()}_TEST", f"{program.name}.c", "-o", "test")
    return subprocess.run([folder / "test"], capture_output=True, text=True, check=False)


class Library:
    """Programs under names of their own, compiled into one library."""

    def __init__(self, folder: Path, programs: list[CProgram]) -> None:
        for program in programs:  # not by `save`, which waits for the disk
            (folder / f"{program.name}.h").write_text(program.header)
            (folder / f"{program.name}.c").write_text(program.source)
        compiled(folder, "-shared", "-fPIC", *(f"{program.name}.c" for program in programs), "-o", "all.so")
        self._library = ctypes.CDLL(str(folder / "all.so"))

    def run(self, name: str, inputs: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Outputs `[T, ...]` from the first state on; what lies beside the state and the output must stay as it is."""
        step, reset = (getattr(self._library, f"{name}_{function}") for function in ("step", "reset"))
        step.restype = reset.restype = None
        state, y = (np.full(size, 7.0, dtype) for size in (2**14, int(np.prod(shape, dtype=int)) + 8))
        outputs = []
        reset(ctypes.c_void_p(state.ctypes.data))
        for x in inputs:
            given = ctypes.c_int(int(x)) if x.dtype.kind in "iu" else ctypes.c_void_p(np.ascontiguousarray(x).ctypes.data)
            step(given, ctypes.c_void_p(state.ctypes.data), ctypes.c_void_p(y.ctypes.data))
            outputs.append(y[:-8].reshape(shape).copy())
        assert (y[-8:] == 7.0).all()
        assert (state[-8:] == 7.0).all()
        return np.array(outputs)
