"""Cells with exponential gates: memory is a weighted mean, and a stabiliser keeps the exponentials in range.

Numerator and denominator are stored divided by e^m, with m the largest exponent so far. The papers start m at minus
infinity; states start at zero, so while a denominator is zero, which means that nothing has been stored, m is not read.
"""

# mypy: disable-error-code="no-untyped-def"

from typing import Any

import numpy as np

from elman.cells.simple import Activation, spelled_out
from elman.declare import bias, state, weight
from elman.errors import SettingError
from elman.gates import absolute, exp, greater, maximum, outer, sigmoid, softplus, tanh, where
from elman.trace import Cell, cell

NOTHING = -1e30
"""The exponent of what is not there; e to this minus anything is 0, in float32 too."""


def _log_sigmoid(f: Any) -> Any:
    return -softplus(-f)


def _log_exp(f: Any) -> Any:
    return f


LOG_FORGET: dict[Activation, Activation] = {sigmoid: _log_sigmoid, exp: _log_exp}
"""The two forget gates of the xLSTM, by their logarithms."""


def _log_forget(maker: str, forget: Activation) -> Activation:
    if forget not in LOG_FORGET:
        raise SettingError(f"{maker}: the forget gate is sigmoid or exp, not {getattr(forget, '__name__', forget)!r}")
    return LOG_FORGET[forget]


def _three_to_six(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Forget gates that are nearly open, each a little more than the one before."""
    return np.linspace(3.0, 6.0, shape[0])


def _tenth(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return 0.1 * rng.standard_normal(shape)


# --- xLSTM ------------------------------------------------------------------------------------------------------------


def slstm_with(forget: Activation, *, name: str = "") -> Cell:
    """The sLSTM with the forget gate `sigmoid` or `exp`. Raises `SettingError` for another."""
    log_forget = _log_forget("slstm_with", forget)

    @cell(name=name or f"slstm_{forget.__name__}")
    @spelled_out(forget=forget)
    def scalar_memory(x, h, c, n, m, *, wi=weight("hidden", "input"), ui=weight("hidden", "hidden"), bi=bias("hidden"),
                      wf=weight("hidden", "input"), uf=weight("hidden", "hidden"), bf=bias("hidden", init=_three_to_six),
                      wz=weight("hidden", "input"), uz=weight("hidden", "hidden"), bz=bias("hidden"),
                      wo=weight("hidden", "input"), uo=weight("hidden", "hidden"), bo=bias("hidden")):  # fmt: skip
        """c<t> = f c<t-1> + i z, n<t> = f n<t-1> + i, h<t> = o c<t> / n<t>, i = exp(wi x + ui h<t-1> + bi)

        f by forget, z by tanh, o by sigmoid; c and n are stored divided by e^m, m<t> = max(ln f + m<t-1>, ln i).
        One head.    Beck et al., 2024 (xLSTM).
        """
        i = wi @ x + ui @ h + bi
        z = tanh(wz @ x + uz @ h + bz)
        o = sigmoid(wo @ x + uo @ h + bo)
        f = log_forget(wf @ x + uf @ h + bf) + where(greater(n, 0.0), m, NOTHING)
        m = maximum(f, i)
        i, f = exp(i - m), exp(f - m)
        c = f * c + i * z
        n = f * n + i
        return o * c / n, c, n, m

    return scalar_memory


slstm = slstm_with(sigmoid, name="slstm")


def mlstm_with(forget: Activation, *, name: str = "") -> Cell:
    """The mLSTM with the forget gate `sigmoid` or `exp`. Raises `SettingError` for another."""
    log_forget = _log_forget("mlstm_with", forget)

    @cell(name=name or f"mlstm_{forget.__name__}")
    @spelled_out(forget=forget)
    def matrix_memory(x, c=state("hidden", "hidden"), n=state("hidden"), m=state(1), *,
                      wq=weight("hidden", "input"), bq=bias("hidden"), wk=weight("hidden", "input"), bk=bias("hidden"),
                      wv=weight("hidden", "input"), bv=bias("hidden"), wo=weight("hidden", "input"), bo=bias("hidden"),
                      wi=weight(1, "input", init="zeros"), bi=bias(1, init=_tenth),
                      wf=weight(1, "input", init="zeros"), bf=bias(1, init=_three_to_six)):  # fmt: skip
        """c<t> = f c<t-1> + i v k^T, n<t> = f n<t-1> + i k, h<t> = o (c<t> q) / max(|n<t> q|, 1)

        q = wq x + bq, k = wk x / sqrt(d) + bk, v = wv x + bv, o by sigmoid; the number i by exp, f by forget.
        c, n and the 1 are divided by e^m, m<t> = max(ln f + m<t-1>, ln i). One head.    Beck et al., 2024 (xLSTM).
        """
        q = wq @ x + bq
        k = wk @ x / len(n) ** 0.5 + bk
        v = wv @ x + bv
        o = sigmoid(wo @ x + bo)
        i, f = wi @ x + bi, log_forget(wf @ x + bf) + m
        m = maximum(f, i)
        i, f = exp(i - m)[0], exp(f - m)[0]
        c, n = f * c + i * outer(v, k), f * n + i * k
        h = o * (c @ q) / maximum(absolute(n @ q), exp(-m)[0])
        return h, c, n, m

    return matrix_memory


mlstm = mlstm_with(sigmoid, name="mlstm")


# --- RWKV -------------------------------------------------------------------------------------------------------------


def _rising(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Shares of the present input that rise along the inputs, as in the first layer of the paper."""
    return np.arange(shape[0]) / shape[0]


def _rising_root(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.sqrt(_rising(rng, shape))


def _decays(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Logarithms of decay rates from e^-5 to e^3."""
    return -5.0 + 8.0 * np.linspace(0.0, 1.0, shape[0]) ** 0.7


def _bonus(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.log(0.3) + 0.5 * ((np.arange(shape[0]) + 1) % 3 - 1)


def _mixed(share: Any, x: Any, last: Any) -> Any:
    return share * x + (1 - share) * last


@cell
def rwkv(x, a, b, m, last=state("input"), *, wr=weight("hidden", "input"), sr=bias("input", init=_rising_root),
         wk=weight("hidden", "input"), sk=bias("input", init=_rising),
         wv=weight("hidden", "input"), sv=bias("input", init=_rising),
         w=bias("hidden", init=_decays), u=bias("hidden", init=_bonus), wo=weight("hidden", "hidden")):  # fmt: skip
    """y<t> = wo (sigmoid(r) (a<t-1> + e^(u + k) v) / (b<t-1> + e^(u + k))), a<t> = e^(-e^w) a<t-1> + e^k v, b<t> alike

    r k v = w (s x<t> + (1 - s) x<t-1>); a and b are stored divided by e^m.    Peng et al., 2023 (RWKV-4 time mixing).
    """
    r = sigmoid(wr @ _mixed(sr, x, last))
    k = wk @ _mixed(sk, x, last)
    v = wv @ _mixed(sv, x, last)
    past = where(greater(b, 0.0), m, NOTHING)
    m = maximum(past, u + k)
    old, new = exp(past - m), exp(u + k - m)
    y = wo @ (r * (old * a + new * v) / (old * b + new))
    m = maximum(past - exp(w), k)
    old, new = exp(past - exp(w) - m), exp(k - m)
    return y, old * a + new * v, old * b + new, m, x
