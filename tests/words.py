"""Words of the LLVM target as functions of arrays, and exact values to hold them against. The benchmark shares it."""

import ctypes
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
from llvmlite import ir
from mpmath import mp, mpf

from elman.gates import GATES
from elman.targets.llvm.vectors import INDEX, Vectors

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
POINTER = ir.PointerType()

ARITY = {name: len(inspect.signature(gate.forward).parameters) for name, gate in GATES.items() if gate.elementwise}
"""Of every elementwise gate how many inputs it has."""

HOST = llvm.get_host_cpu_name()


X86 = llvm.get_default_triple().startswith(("x86_64", "amd64"))
FMA = bool(llvm.get_host_cpu_features().get("fma")) if X86 else llvm.get_default_triple().startswith(("aarch64", "arm64"))
"""Whether this machine has a fused multiply-add."""

CPUS = (HOST, "x86-64-v3" if X86 else "generic")
"""This machine, and the least one with a fused multiply-add that it can stand in for."""


@contextmanager
def loop(b: ir.IRBuilder, end: Any, step: int) -> Iterator[Any]:
    """Counts from 0 in steps while below the end; runs at least once."""
    before, body, after = b.block, b.function.append_basic_block(), b.function.append_basic_block()
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(INDEX)
    i.add_incoming(INDEX(0), before)
    yield i
    following = b.add(i, INDEX(step))
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_unsigned("<", following, end), body, after)
    b.position_at_end(after)


def build(module: ir.Module, name: str, word: Callable[..., Any], arity: int, dtype: str, width: int) -> None:
    """name(x1, x2, ..., y, size, repeats): y = word(x1, x2, ...)."""
    kind = ir.FunctionType(ir.VoidType(), [POINTER] * (arity + 1) + [INDEX] * 2)
    function = ir.Function(module, kind, name)
    *inputs, output, size, repeats = function.args
    for pointer in function.args[:-2]:
        pointer.add_attribute("noalias")
    b = ir.IRBuilder(function.append_basic_block())
    v = Vectors(b, module, dtype, width)
    with loop(b, repeats, 1), loop(b, size, width) as i:
        v.store(word(v, *[v.load(pointer, i) for pointer in inputs]), output, i)
    b.ret_void()


class Functions:
    """Words compiled as functions of arrays of any length: `functions(name, x1, x2, ...)`."""

    def __init__(
        self,
        words: Mapping[str, Callable[..., Any]],
        dtype: str,
        width: int,
        cpu: str = HOST,
        arity: Mapping[str, int] = ARITY,
    ) -> None:
        module = ir.Module()
        module.triple = llvm.get_process_triple()
        for name, word in words.items():
            build(module, f"word_{name}", word, arity[name], dtype, width)
        features = llvm.get_host_cpu_features().flatten() if cpu == HOST else ""
        machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)
        parsed = llvm.parse_assembly(str(module))
        passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
        passes.getModulePassManager().run(parsed, passes)
        self.dtype, self.assembly = np.dtype(dtype), machine.emit_assembly(parsed)
        self.engine = llvm.create_mcjit_compiler(parsed, machine)
        self.engine.finalize_object()
        self.calls = {name: self._function(f"word_{name}", arity[name]) for name in words}

    def _function(self, name: str, arity: int) -> Any:
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (arity + 1), ctypes.c_int64, ctypes.c_int64)
        return kind(self.engine.get_function_address(name))

    def __call__(self, name: str, *arrays: Any, repeats: int = 1) -> Any:
        size = len(arrays[0])
        padded = [np.zeros(-(-size // 64) * 64, self.dtype) for _ in (*arrays, None)]
        for whole, array in zip(padded, arrays, strict=False):
            whole[:size] = array
        self.calls[name](*[whole.ctypes.data for whole in padded], len(padded[0]), repeats)
        return padded[-1][:size]

    def nanoseconds(self, name: str, *arrays: Any) -> float:
        """Time for 16 lanes, the best of many; arrays that stay in the first cache."""
        times = []
        for _ in range(30):
            started = time.perf_counter()
            self(name, *arrays, repeats=100)
            times.append(time.perf_counter() - started)
        return 1e9 * min(times) / 100 / len(arrays[0]) * 16


# --- what is exact ----------------------------------------------------------------------------------------------------


def _exp(x: mpf) -> mpf:
    return mpmath.exp(max(min(x, mpf(2000)), mpf(-2000)))  # far beyond both types


EXACT: dict[str, Callable[[mpf], mpf]] = {
    "sigmoid": lambda x: 1 / (1 + _exp(-x)),
    "tanh": lambda x: mpmath.tanh(max(min(x, mpf(200)), mpf(-200))),
    "exp": _exp,
    "log": mpmath.log,
    "softplus": lambda x: max(x, mpf(0)) + mpmath.log1p(_exp(-abs(x))),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
}
"""Functions that are approximated, with as many digits as it takes."""

DOUBLE: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "exp": np.exp,
    "log": np.log,
    "softplus": lambda x: np.logaddexp(0, x),
    "sin": np.sin,
    "cos": np.cos,
}
"""The same in float64, exact enough to hold float32 against."""


def units(exact: Any, dtype: str) -> Any:
    """Of finite or infinite numbers the distance to the next of the type, as float64; for infinity that below it."""
    nearest = np.abs(exact).astype(dtype)
    return np.spacing(np.minimum(nearest, nearest.dtype.type(0.75) * np.finfo(dtype).max)).astype(np.float64)


def ulps_by_double(name: str, x: Any, y: Any) -> Any:
    """Errors of float32 results in units in the last place, by float64; 0 where both are infinite or NaN."""
    with np.errstate(all="ignore"):
        exact = DOUBLE[name](x.astype(np.float64))
        nearest = exact.astype(np.float32)
        error = np.abs(y - exact) / units(exact, "float32")
    return np.where((y == nearest) & np.isinf(nearest) | np.isnan(y) & np.isnan(nearest), 0, error)


def ulps(name: str, x: Any, y: Any) -> Any:
    """Errors in units in the last place, for finite x and for y that are not NaN."""
    top = mpf(2) ** np.finfo(x.dtype).maxexp  # what would be the next number stands for infinity
    with mp.workprec(120):
        exact = [min(EXACT[name](mpf(given)), top) for given in x.tolist()]
        errors = [abs(min(mpf(found), top) - value) for found, value in zip(y.tolist(), exact, strict=True)]
    with np.errstate(over="ignore"):
        unit = units(np.array([float(value) for value in exact]), x.dtype.name)
    return np.array([float(error / mpf(u)) for error, u in zip(errors, unit.tolist(), strict=True)])


# --- where to look ----------------------------------------------------------------------------------------------------

SPOTS = (
    0.0, 0.17328, 0.34657, 0.51986, 0.69315, 0.70711, 0.78540, 1.0, 1.41421, 1.57080, 2.35619, 3.14159, 6.28319, 9.01,
    16.635, 17.33, 19.06, 36.7, 37.43, 87.336, 88.376, 88.722, 103.28, 103.97, 708.396, 709.783, 744.44, 745.133, 1e5, 1e9,
)  # fmt: skip
"""Where an approximation changes its piece, or a result its kind."""


def edges(dtype: str) -> Any:
    """Zeros, ends of denormal and normal numbers, infinities, NaN and the spots, with both signs and with neighbours."""
    about = np.finfo(dtype)
    kinds = [0, about.smallest_subnormal, 3 * about.smallest_subnormal, about.smallest_normal, about.eps, about.max, np.inf]
    x = np.array([*kinds, *SPOTS], dtype)
    with np.errstate(all="ignore"):
        x = np.concatenate([x, np.nextafter(x, np.zeros_like(x)), np.nextafter(x, np.full_like(x, np.inf))])
    return np.concatenate([x, -x, np.array([np.nan], dtype)])


def numbers(dtype: str, count: int, seed: int) -> Any:
    """Numbers of every size and sign: random bits, without infinities and NaN."""
    integer = np.dtype(dtype.replace("float", "uint"))
    bits = np.random.default_rng(seed).integers(0, np.iinfo(integer).max, count, integer, endpoint=True)
    x = bits.view(dtype)
    return x[np.isfinite(x)]


def sample(name: str, dtype: str, count: int, seed: int = 0) -> Any:
    """Arguments of a function: a quarter of every size, the rest where it is not flat and near the spots."""
    rng = np.random.default_rng(seed)
    quarter = count // 4
    end = 110.0 if dtype == "float32" else 760.0
    reach = {"log": 4.0, "tanh": 20.0, "sin": 100.0, "cos": 100.0}.get(name, end)
    spread = rng.uniform(-reach, reach, quarter)
    sizes = np.exp(rng.uniform(np.log(1e-9), np.log(reach), quarter)) * rng.choice([-1.0, 1.0], quarter)
    spots = rng.choice(SPOTS, quarter) * (1 + rng.standard_normal(quarter) * 1e-3) * rng.choice([-1.0, 1.0], quarter)
    x = np.concatenate([numbers(dtype, quarter, seed), np.concatenate([spread, sizes, spots]).astype(dtype)])
    return np.abs(x) if name == "log" else x
