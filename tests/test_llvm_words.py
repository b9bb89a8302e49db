"""Words of the LLVM target: how far from exact, what NumPy gives at the edges, the same bits however they are compiled."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite")
pytest.importorskip("mpmath")

from llvmlite import ir

from elman.gates import GATES
from elman.targets.llvm.vectors import INDEX, Vectors
from elman.targets.llvm.words import WORDS
from words import ARITY, CPUS, EXACT, FMA, Functions, edges, numbers, sample, ulps, ulps_by_double

pytestmark = pytest.mark.skipif(not FMA, reason="no fused multiply-add on this machine")

ROOT = Path(__file__).resolve().parent.parent
TYPES = ("float32", "float64")
WIDTHS = (1, 4, 8, 16)
LARGEST = {"float32": 2.0, "float64": 4.0}
"""Units in the last place."""

BITS = {"float32": np.uint32, "float64": np.uint64}


@cache
def functions(dtype: str, width: int = 8, cpu: str = CPUS[0]) -> Functions:
    return Functions(WORDS, dtype, width, cpu)


def same_bits(a, b):
    """Equal bit for bit; NaN is NaN, whose sign and content no instruction set promises."""
    kind = BITS[a.dtype.name]
    return np.array_equal(np.isnan(a), np.isnan(b)) and np.all((a.view(kind) == b.view(kind)) | np.isnan(a))


def arguments(name, dtype, count=1500):
    """Of every input: edges, numbers of every size, and usual ones; for two and three inputs all edges meet."""
    rng = np.random.default_rng(len(name))
    if ARITY[name] == 1:
        return [np.concatenate([edges(dtype), numbers(dtype, count, 1), 3 * rng.standard_normal(count).astype(dtype)])]
    some = edges(dtype)[::3]
    meeting = [grid.ravel() for grid in np.meshgrid(some, some)]
    meeting.append(rng.choice(edges(dtype), len(meeting[0])))
    usual = [rng.standard_normal(count).astype(dtype) for _ in meeting]
    return [np.concatenate(both) for both in zip(meeting, usual, strict=True)][: ARITY[name]]


# --- errors -----------------------------------------------------------------------------------------------------------


def test_words_are_those_of_the_elementwise_gates():
    assert set(WORDS) == {name for name, gate in GATES.items() if gate.elementwise} == set(ARITY)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", EXACT)
def test_error_against_exact_values(name, dtype):
    x = np.concatenate([sample(name, dtype, 4000), edges(dtype)])
    x = x[np.isfinite(x) & ((x > 0) if name == "log" else True)]
    error = ulps(name, x, functions(dtype)(name, x))
    assert error.max() <= LARGEST[dtype], f"{error.max():.2f} at {x[error.argmax()]!r}"


@pytest.mark.parametrize("name", EXACT)
def test_error_of_float32_over_all_sizes(name):
    """Every 9001st of all numbers, and half a million where the function is not flat."""
    every = np.arange(0, 2**32, 9001, np.int64).astype(np.uint32).view(np.float32)
    x = np.concatenate([every, sample(name, "float32", 700_000, 1)])
    error = ulps_by_double(name, x, functions("float32", 16)(name, x))
    assert error.max() <= LARGEST["float32"], f"{error.max():.2f} at {x[error.argmax()]!r}"


@pytest.mark.parametrize(
    ("name", "dtype", "x"),
    [
        ("cos", "float64", 6381956970095103.0 * 2.0**797),  # of all float64 the next to a multiple of pi/2
        ("sin", "float64", 6381956970095103.0 * 2.0**798),
        ("sin", "float64", 1.7976931348623157e308),
        ("sin", "float64", 999999999.9999999),
        ("sin", "float64", 1000000000.0000001),
        ("cos", "float32", 16367173.0 * 2.0**72),  # the same of float32
        ("sin", "float32", 3.4028235e38),
        ("sigmoid", "float32", -100.0),
        ("sigmoid", "float64", -740.0),
        ("exp", "float32", -103.97),
        ("exp", "float64", -745.13),
        ("softplus", "float32", -103.5),
        ("softplus", "float64", -745.0),
        ("log", "float32", 1e-45),
        ("log", "float64", 5e-324),
    ],
)
def test_error_where_it_is_hard(name, dtype, x):
    x = np.array([x], dtype)
    y = functions(dtype)(name, x)
    assert y != 0
    assert ulps(name, x, y) <= 1.5


# --- edges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", [name for name in WORDS if name not in EXACT])
def test_exact_words_are_numpy_at_all_edges(name, dtype):
    given = arguments(name, dtype)
    y = functions(dtype)(name, *given)
    with np.errstate(all="ignore"):
        expected = np.asarray(GATES[name].forward(*given), dtype)
    if name in ("maximum", "minimum", "relu"):  # which zero they give is nobody's promise
        y, expected = y + np.zeros_like(y), expected + np.zeros_like(y)
    assert same_bits(y, expected)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("sigmoid", [np.nan, -np.inf, np.inf, -0.0, 0.0], [np.nan, 0.0, 1.0, 0.5, 0.5]),
        ("tanh", [np.nan, -np.inf, np.inf, -0.0, 0.0], [np.nan, -1.0, 1.0, -0.0, 0.0]),
        ("exp", [np.nan, -np.inf, np.inf, -0.0, 0.0], [np.nan, 0.0, np.inf, 1.0, 1.0]),
        ("log", [np.nan, -np.inf, -1.0, -1e-45], [np.nan] * 4),
        ("log", [np.inf, -0.0, 0.0, 1.0], [np.inf, -np.inf, -np.inf, 0.0]),
        ("softplus", [np.nan, -np.inf, np.inf], [np.nan, 0.0, np.inf]),
        ("sin", [np.nan, -np.inf, np.inf, -0.0, 0.0], [np.nan, np.nan, np.nan, -0.0, 0.0]),
        ("cos", [np.nan, -np.inf, np.inf, -0.0, 0.0], [np.nan, np.nan, np.nan, 1.0, 1.0]),
    ],
)  # fmt: skip
def test_ends_and_signs(name, x, expected, dtype):
    assert same_bits(functions(dtype)(name, np.array(x, dtype)), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", EXACT)
def test_numpy_agrees_on_what_is_not_finite(name, dtype):
    x = edges(dtype)
    with np.errstate(all="ignore"):
        expected = GATES[name].forward(x)
    y = functions(dtype)(name, x)
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    assert np.array_equal(y[np.isinf(y)], expected[np.isinf(y)])


@pytest.mark.parametrize("dtype", TYPES)
def test_tanh_is_odd_and_within_one(dtype):
    x = np.abs(sample("tanh", dtype, 200_000))
    y = functions(dtype)("tanh", x)
    assert same_bits(functions(dtype)("tanh", -x), -y)
    assert y.max() == 1
    tiny = x[x < 1e-9]
    assert same_bits(functions(dtype)("tanh", tiny), tiny)


@pytest.mark.parametrize("dtype", TYPES)
def test_sigmoid_is_within_zero_and_one(dtype):
    y = functions(dtype)("sigmoid", sample("sigmoid", dtype, 200_000))
    assert y.min() == 0
    assert y.max() == 1


# --- the same bits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("width", WIDTHS)
def test_same_bits_at_every_width_on_every_machine(width, cpu, dtype):
    for name in WORDS:
        given = arguments(name, dtype)
        assert same_bits(functions(dtype, width, cpu)(name, *given), functions(dtype)(name, *given)), name


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("width", WIDTHS)
def test_products_and_sums_are_fused_only_where_it_is_said(width, cpu, dtype):
    words = {
        "apart": lambda v, x1, x2, x3: v.add(v.multiply(x1, x2), x3),
        "less": lambda v, x1, x2, x3: v.subtract(x3, v.multiply(x1, x2)),
        "fused": lambda v, x1, x2, x3: v.fma(x1, x2, x3),
    }
    compiled = Functions(words, dtype, width, cpu, dict.fromkeys(words, 3))
    rng = np.random.default_rng(0)
    x1, x2 = rng.standard_normal((2, 1000)).astype(dtype)
    product = x1 * x2
    assert not compiled("apart", x1, x2, -product).any()
    assert not compiled("less", x1, x2, product).any()
    rest = compiled("fused", x1, x2, -product)
    assert np.count_nonzero(rest) > 800
    exact = x1.astype(np.longdouble) * x2 - product  # of float32 exact, of float64 on x86 to eleven places more
    assert np.allclose(rest, exact.astype(dtype), rtol=1e-2, atol=0) or dtype == "float64"


# --- vectors ----------------------------------------------------------------------------------------------------------

OPERATIONS = {
    "floor": (lambda v, x: v.floor(x), np.floor),
    "rint": (lambda v, x: v.rint(x), np.rint),
    "at_least": (lambda v, x: v.at_least(x, v.const(0.5)), lambda x: np.maximum(x, x.dtype.type(0.5))),
    "at_most": (lambda v, x: v.at_most(x, v.const(0.5)), lambda x: np.minimum(x, x.dtype.type(0.5))),
    "lanes": (lambda v, x: v.join(v.lanes(x)), lambda x: x),
    "splat": (lambda v, x: v.splat(v.lanes(x)[-1]), lambda x: x.reshape(-1, 4)[:, [3, 3, 3, 3]].ravel()),
    "any": (
        lambda v, x: v.splat(v.builder.select(v.any(v.greater(x, v.one)), v.scalar(1.0), v.scalar(0.0))),
        lambda x: np.repeat((x.reshape(-1, 4) > 1).any(1), 4),
    ),
    "shifts": (lambda v, x: v.as_floats(v.right(v.left(v.as_integers(x), 3), 3)), None),
    "to_floats": (lambda v, x: v.to_floats(v.right(v.as_integers(x), v.fraction)), None),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", [name for name, (_, expected) in OPERATIONS.items() if expected])
def test_operations_of_vectors(name, dtype):
    word, expected = OPERATIONS[name]
    x = np.concatenate([edges(dtype), numbers(dtype, 100, 2), np.arange(-8, 8, 0.25, dtype)])
    x = x[: len(x) // 4 * 4]
    y = Functions({name: word}, dtype, 4, arity={name: 1})(name, x)
    assert same_bits(y, expected(x).astype(dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_operations_on_bits(width, dtype):
    x = np.concatenate([numbers(dtype, 100, 3), -numbers(dtype, 100, 4)])
    signed = x.view(BITS[dtype]).astype(BITS[dtype]).view(dtype.replace("float", "int"))
    words = {name: OPERATIONS[name][0] for name in ("shifts", "to_floats")}
    compiled = Functions(words, dtype, width, arity=dict.fromkeys(words, 1))
    assert np.array_equal(compiled("shifts", x).view(signed.dtype), signed << 3 >> 3)
    assert np.array_equal(compiled("to_floats", x), (signed >> (23 if dtype == "float32" else 52)).astype(dtype))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_loads_of_one_element_and_of_every_nth(width, dtype):
    """Elements 3, 5, 7 ... plus element 1, from an array that is no multiple of the width."""
    table = np.random.default_rng(0).standard_normal(3 + 2 * width).astype(dtype)

    def word(v, x):
        pointer = v.builder.inttoptr(INDEX(table.ctypes.data), ir.PointerType())
        return v.add(v.add(x, v.gather(pointer, INDEX(3), INDEX(2))), v.broadcast(pointer, INDEX(1)))

    y = Functions({"loads": word}, dtype, width, arity={"loads": 1})("loads", np.zeros(width, dtype))
    assert same_bits(y, table[3::2] + table[1])


def test_constants_are_the_nearest_numbers():
    v = Vectors(ir.IRBuilder(), ir.Module(), "float32", 4)
    assert v.const(0.1).type == v.type
    assert v.const(0.1).get_reference() == f"splat ({ir.Constant(v.scalar, float(np.float32(0.1)))})"
    assert (v.whole(3).type, v.whole(3).get_reference()) == (v.integers, "splat (i32 3)")


def test_constants_are_those_of_the_recipe():
    done = subprocess.run(
        [sys.executable, str(ROOT / "recipes" / "approximations.py")], capture_output=True, text=True, check=True
    )
    assert done.stdout == (ROOT / "src" / "elman" / "targets" / "llvm/constants.py").read_text(encoding="utf-8")
