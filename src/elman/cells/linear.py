"""Cells whose recurrence is a product element by element: no matrix meets the state, so all products leave the loop."""

# mypy: disable-error-code="no-untyped-def"

from collections.abc import Callable
from typing import Any

import numpy as np

from elman.cells.simple import Activation, name_of, spelled_out
from elman.declare import bias, state, weight
from elman.errors import SettingError
from elman.gates import cos, exp, relu, sigmoid, sin, softplus, sqrt, tanh
from elman.trace import Cell, cell

Init = Callable[[np.random.Generator, tuple[int, ...]], Any]


def _root_of_rest(a: Any) -> Any:
    """sqrt(1 - e^(-2a)) for a > 0: what keeps the variance of a state that shrinks by e^(-a).

    As sqrt(2 tanh(a) / (1 + tanh(a))), which loses no digits for small a: with e^(-a) = 0.9999, float32 would keep four.
    """
    return sqrt(2 * tanh(a) / (1 + tanh(a)))


# --- one recurrent weight for each unit -------------------------------------------------------------------------------


def _unit_interval(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.uniform(0.0, 1.0, shape)


def indrnn_with(g1: Activation, *, name: str = "") -> Cell:
    """The independently recurrent network with another activation: `indrnn_with(tanh)`.

    h<t> = g1(w x<t> + u * h<t-1> + b)
    """

    @cell(name=name or f"indrnn_{name_of(g1)}")
    @spelled_out(g1=g1)
    def independent(x, h, *, w=weight("hidden", "input"), u=bias("hidden", init=_unit_interval), b=bias("hidden")):
        """h<t> = g1(w x<t> + u * h<t-1> + b), u a vector: each unit hears only itself    Li et al., 2018 (IndRNN)."""
        return g1(w @ x + u * h + b)

    return independent


indrnn = indrnn_with(relu, name="indrnn")


@cell
def sru(x, c, *, wc=weight("hidden", "input"), wf=weight("hidden", "input"), vf=bias("hidden", init="uniform"),
        bf=bias("hidden"), wr=weight("hidden", "input"), vr=bias("hidden", init="uniform"), br=bias("hidden"),
        ws=weight("hidden", "input")):  # fmt: skip
    """c<t> = f c<t-1> + (1 - f) (wc x), h<t> = r c<t> + (1 - r) (ws x)    Lei et al., 2018 (simple recurrent unit).

    f and r see c<t-1> by vf and vr. The highway carries ws x, so input and hidden may differ; ws = 1 is the paper's x.
    """
    f = sigmoid(wf @ x + vf * c + bf)
    r = sigmoid(wr @ x + vr * c + br)
    c = f * c + (1 - f) * (wc @ x)
    h = r * c + (1 - r) * (ws @ x)
    return h, c


# --- gates that hear the input alone ----------------------------------------------------------------------------------


@cell
def qrnn(x, c, last=state("input"), *, wz=weight("hidden", "input"), vz=weight("hidden", "input"), bz=bias("hidden"),
         wf=weight("hidden", "input"), vf=weight("hidden", "input"), bf=bias("hidden"),
         wo=weight("hidden", "input"), vo=weight("hidden", "input"), bo=bias("hidden")):  # fmt: skip
    """c<t> = f c<t-1> + (1 - f) z, h<t> = o c<t>; z f o by a convolution over x<t> and x<t-1>

    z = tanh(wz x<t> + vz x<t-1> + bz), f and o by sigmoid; window 2, fo-pooling.    Bradbury et al., 2017 (quasi-recurrent).
    """
    z = tanh(wz @ x + vz @ last + bz)
    f = sigmoid(wf @ x + vf @ last + bf)
    o = sigmoid(wo @ x + vo @ last + bo)
    c = f * c + (1 - f) * z
    h = o * c
    return h, c, x


@cell
def mingru(x, h, *, wz=weight("hidden", "input"), bz=bias("hidden"), wn=weight("hidden", "input"), bn=bias("hidden")):
    """h<t> = (1 - z) h<t-1> + z n, z = sigmoid(wz x + bz), n = wn x + bn    Feng et al., 2024 (minGRU)."""
    z = sigmoid(wz @ x + bz)
    n = wn @ x + bn
    return (1 - z) * h + z * n


@cell
def minlstm(x, h, *, wf=weight("hidden", "input"), bf=bias("hidden"), wi=weight("hidden", "input"), bi=bias("hidden"),
            wn=weight("hidden", "input"), bn=bias("hidden")):  # fmt: skip
    """h<t> = (f h<t-1> + i n) / (f + i), f and i = sigmoid(w x + b), n = wn x + bn    Feng et al., 2024 (minLSTM)."""
    f = sigmoid(wf @ x + bf)
    i = sigmoid(wi @ x + bi)
    n = wn @ x + bn
    return (f * h + i * n) / (f + i)


# --- diagonal linear recurrences --------------------------------------------------------------------------------------


def _ring(r_min: float, r_max: float) -> Init:
    """nu, so that the modulus exp(-exp(nu)) is uniform in area between two radii."""

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        squared = rng.uniform(r_min**2, r_max**2, shape)
        return np.log(-0.5 * np.log(np.clip(squared, 1e-12, 1 - 1e-12)))

    return init


def _phases(largest: float) -> Init:
    """theta, so that the phase exp(theta) is uniform up to the largest."""
    return lambda rng, shape: np.log(rng.uniform(1e-6 * largest, largest, shape))


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.standard_normal(shape) / np.sqrt(shape[-1])


def _glorot(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return _normal(rng, shape) / np.sqrt(2.0)


def lru_with(r_min: float = 0.0, r_max: float = 1.0, phase: float = 2 * np.pi, *, name: str = "") -> Cell:
    """The linear recurrent unit whose first moduli lie between `r_min` and `r_max`, its phases between 0 and `phase`.

    `lru_with(0.9, 0.999, 0.3)` starts with a long memory. Raises `SettingError` for numbers that are out of order.
    """
    if not 0.0 <= r_min < r_max <= 1.0 or not 0.0 < phase <= 2 * np.pi:
        given = f"r_min={r_min!r}, r_max={r_max!r}, phase={phase!r}"
        raise SettingError(f"lru_with: {given}; 0 <= r_min < r_max <= 1 and 0 < phase <= 2 pi are wanted")
    ring, phases = _ring(r_min, r_max), _phases(phase)

    @cell(name=name or "lru_ring")
    def diagonal(x, h_re, h_im, *, nu=bias("hidden", init=ring), theta=bias("hidden", init=phases),
                 b_re=weight("hidden", "input", init=_glorot), b_im=weight("hidden", "input", init=_glorot),
                 c_re=weight("hidden", "hidden", init=_normal), c_im=weight("hidden", "hidden", init=_normal),
                 d=weight("hidden", "input")):  # fmt: skip
        """h<t> = l h<t-1> + gamma (b x), y<t> = Re(c h<t>) + d x, complex, l = exp(-exp(nu) + i exp(theta))

        gamma = sqrt(1 - |l|^2), tied to nu (in the paper it starts there and is free).    Orvieto et al., 2023 (LRU).
        """
        decay = exp(nu)
        l_re, l_im = exp(-decay) * cos(exp(theta)), exp(-decay) * sin(exp(theta))
        gamma = _root_of_rest(decay)
        h_re, h_im = (
            l_re * h_re - l_im * h_im + gamma * (b_re @ x),
            l_re * h_im + l_im * h_re + gamma * (b_im @ x),
        )
        y = c_re @ h_re - c_im @ h_im + d @ x
        return y, h_re, h_im

    return diagonal


lru = lru_with(name="lru")


def _slow(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """lam, so that sigmoid(lam)^8 is uniform between 0.9 and 0.999."""
    a = rng.uniform(0.9, 0.999, shape) ** (1 / 8)
    return np.log(a / (1 - a))


@cell
def rg_lru(x, h, *, wr=weight("hidden", "input"), br=bias("hidden"), wi=weight("hidden", "input"), bi=bias("hidden"),
           w=weight("hidden", "input"), b=bias("hidden"), lam=bias("hidden", init=_slow)):  # fmt: skip
    """h<t> = a h<t-1> + sqrt(1 - a^2) (i (w x + b)), a = sigmoid(lam)^(8 r)    De et al., Griffin, 2024 (RG-LRU).

    r by wr, i by wi, both sigmoid. The paper's block has the projection w x + b in front; here input and hidden may differ.
    """
    r = sigmoid(wr @ x + br)
    i = sigmoid(wi @ x + bi)
    decay = 8 * r * softplus(-lam)
    a = exp(-decay)
    return a * h + _root_of_rest(decay) * (i * (w @ x + b))
