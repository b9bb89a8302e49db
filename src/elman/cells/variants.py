"""Variants of the classic cells: other feedback, other gates, normalised sums, modules that tick at their own pace."""

# mypy: disable-error-code="no-untyped-def"

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.cells.simple import Activation, name_of, spelled_out
from elman.declare import bias, state, weight
from elman.errors import CellError, SettingError
from elman.gates import Array, greater, mean, sigmoid, split, sqrt, tanh, where
from elman.trace import Cell, cell

# --- other feedback ---------------------------------------------------------------------------------------------------


def jordan_with(g2: Activation, *, name: str = "") -> Cell:
    """The network whose output feeds back, with another output activation: `jordan_with(softmax)`.

    a<t> = tanh(wax x<t> + way y<t-1> + ba), y<t> = g2(wya a<t> + by)
    """

    @cell(name=name or f"jordan_{name_of(g2)}")
    @spelled_out(g2=g2)
    def output_feeds_back(x, y=state("output"), *, wax=weight("hidden", "input"), way=weight("hidden", "output"),
                          ba=bias("hidden"), wya=weight("output", "hidden"), by=bias("output")):  # fmt: skip
        """a<t> = tanh(wax x<t> + way y<t-1> + ba), y<t> = g2(wya a<t> + by)

        Without the decaying trace of y that he keeps besides.    Jordan, Serial order, 1986.
        """
        a = tanh(wax @ x + way @ y + ba)
        return g2(wya @ a + by)

    return output_feeds_back


jordan = jordan_with(tanh, name="jordan")


# --- other gates ------------------------------------------------------------------------------------------------------


@cell
def lstm_peephole(x, h, c, *, wi=weight("hidden", "input"), ui=weight("hidden", "hidden"), bi=bias("hidden"),
                  wf=weight("hidden", "input"), uf=weight("hidden", "hidden"), bf=bias("hidden", init=1.0),
                  wg=weight("hidden", "input"), ug=weight("hidden", "hidden"), bg=bias("hidden"),
                  wo=weight("hidden", "input"), uo=weight("hidden", "hidden"), bo=bias("hidden"),
                  pi=bias("hidden", init="uniform"), pf=bias("hidden", init="uniform"),
                  po=bias("hidden", init="uniform")):  # fmt: skip
    """i = sigmoid(wi x + ui h<t-1> + pi c<t-1> + bi), f alike; o = sigmoid(wo x + uo h<t-1> + po c<t> + bo)

    The gates see the memory; o sees the new one.    Gers, Schraudolph and Schmidhuber, 2002.
    """
    i = sigmoid(wi @ x + ui @ h + pi * c + bi)
    f = sigmoid(wf @ x + uf @ h + pf * c + bf)
    g = tanh(wg @ x + ug @ h + bg)
    c = f * c + i * g
    o = sigmoid(wo @ x + uo @ h + po * c + bo)
    return o * tanh(c), c


@cell
def lstm_coupled(x, h, c, *, wf=weight("hidden", "input"), uf=weight("hidden", "hidden"), bf=bias("hidden", init=1.0),
                 wg=weight("hidden", "input"), ug=weight("hidden", "hidden"), bg=bias("hidden"),
                 wo=weight("hidden", "input"), uo=weight("hidden", "hidden"), bo=bias("hidden")):  # fmt: skip
    """c<t> = f c<t-1> + (1 - f) g, h<t> = o tanh(c<t>): it writes where it forgets    Greff et al., 2017 (CIFG)."""
    f = sigmoid(wf @ x + uf @ h + bf)
    g = tanh(wg @ x + ug @ h + bg)
    o = sigmoid(wo @ x + uo @ h + bo)
    c = f * c + (1 - f) * g
    return o * tanh(c), c


@cell
def lstm_projected(x, h=state("projection"), c=state("hidden"), *,
                   wi=weight("hidden", "input"), ui=weight("hidden", "projection"), bi=bias("hidden"),
                   wf=weight("hidden", "input"), uf=weight("hidden", "projection"), bf=bias("hidden", init=1.0),
                   wg=weight("hidden", "input"), ug=weight("hidden", "projection"), bg=bias("hidden"),
                   wo=weight("hidden", "input"), uo=weight("hidden", "projection"), bo=bias("hidden"),
                   wp=weight("projection", "hidden")):  # fmt: skip
    """c<t> = f c<t-1> + i g, h<t> = wp (o tanh(c<t>)): a small h for a large c    Sak, Senior and Beaufays, 2014."""
    i = sigmoid(wi @ x + ui @ h + bi)
    f = sigmoid(wf @ x + uf @ h + bf)
    g = tanh(wg @ x + ug @ h + bg)
    o = sigmoid(wo @ x + uo @ h + bo)
    c = f * c + i * g
    return wp @ (o * tanh(c)), c


@cell
def mgu(x, h, *, wf=weight("hidden", "input"), uf=weight("hidden", "hidden"), bf=bias("hidden"),
        wn=weight("hidden", "input"), un=weight("hidden", "hidden"), bn=bias("hidden")):  # fmt: skip
    """h<t> = (1 - f) h<t-1> + f n, n = tanh(wn x + un (f h<t-1>) + bn)    Zhou et al., 2016 (minimal gated unit)."""
    f = sigmoid(wf @ x + uf @ h + bf)
    n = tanh(wn @ x + un @ (f * h) + bn)
    return (1 - f) * h + f * n


def mogrifier_lstm_with(rounds: int, *, name: str = "") -> Cell:
    """The LSTM whose x and h gate each other for some rounds first, 2 or more: `mogrifier_lstm_with(4)`.

    x = 2 sigmoid(q h) x, then h = 2 sigmoid(r x) h, and so on in turn, each round with a matrix of its own: q and r hold
    them one below the other. Raises `SettingError` for other rounds.
    """
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 2:
        raise SettingError(f"mogrifier_lstm_with: rounds={rounds!r} must be an integer, 2 or more; lstm has none")
    of_x, of_h = (rounds + 1) // 2, rounds // 2

    @cell(name=name or f"mogrifier_lstm_{rounds}")
    def mogrified(x, h, c, *, q=weight(f"{of_x}*input", "hidden"), r=weight(f"{of_h}*hidden", "input"),
                  wi=weight("hidden", "input"), ui=weight("hidden", "hidden"), bi=bias("hidden"),
                  wf=weight("hidden", "input"), uf=weight("hidden", "hidden"), bf=bias("hidden", init=1.0),
                  wg=weight("hidden", "input"), ug=weight("hidden", "hidden"), bg=bias("hidden"),
                  wo=weight("hidden", "input"), uo=weight("hidden", "hidden"), bo=bias("hidden")):  # fmt: skip
        """x = 2 sigmoid(q h) x, h = 2 sigmoid(r x) h, in turn; then the LSTM of these    Melis et al., 2020."""
        qs, rs = split(q, of_x), split(r, of_h)
        for k in range(rounds):
            x = x if k % 2 else 2 * sigmoid(qs[k // 2] @ h) * x
            h = 2 * sigmoid(rs[k // 2] @ x) * h if k % 2 else h
        i = sigmoid(wi @ x + ui @ h + bi)
        f = sigmoid(wf @ x + uf @ h + bf)
        g = tanh(wg @ x + ug @ h + bg)
        o = sigmoid(wo @ x + uo @ h + bo)
        c = f * c + i * g
        return o * tanh(c), c

    return mogrified


mogrifier_lstm = mogrifier_lstm_with(5, name="mogrifier_lstm")


# --- normalised sums --------------------------------------------------------------------------------------------------


def _normalised(x: Any) -> Any:
    """x with mean 0 and variance 1 over its elements; gain and bias stand in the equations."""
    centred = x - mean(x)
    return centred / sqrt(mean(centred * centred) + 1e-5)


def _forget_ones(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """1 for the forget gate, the second of four, as `lstm` has it; else 0."""
    return np.repeat([0.0, 1.0, 0.0, 0.0], shape[0] // 4)


@cell
def lstm_layer_norm(x, h, c, *, w=weight("4*hidden", "input"), gw=bias("4*hidden", init="ones"),
                    u=weight("4*hidden", "hidden"), gu=bias("4*hidden", init="ones"),
                    b=bias("4*hidden", init=_forget_ones), gc=bias("hidden", init="ones"), bc=bias("hidden")):  # fmt: skip
    """i f g o = gw norm(w x) + gu norm(u h<t-1>) + b, h<t> = o tanh(gc norm(c<t>) + bc)

    norm is over all four gates at once; i f o by sigmoid, g by tanh, c as in the LSTM.    Ba, Kiros and Hinton, 2016.
    """
    i, f, g, o = split(gw * _normalised(w @ x) + gu * _normalised(u @ h) + b, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * g
    return o * tanh(gc * _normalised(c) + bc), c


@cell
def gru_layer_norm(x, h, *, w=weight("2*hidden", "input"), gw=bias("2*hidden", init="ones"),
                   u=weight("2*hidden", "hidden"), gu=bias("2*hidden", init="ones"), b=bias("2*hidden"),
                   wn=weight("hidden", "input"), gwn=bias("hidden", init="ones"), bn=bias("hidden"),
                   un=weight("hidden", "hidden"), gun=bias("hidden", init="ones"), dn=bias("hidden")):  # fmt: skip
    """r z = gw norm(w x) + gu norm(u h<t-1>) + b, n = tanh(gwn norm(wn x) + bn + r (gun norm(un h<t-1>) + dn))

    norm is over both gates at once; r z by sigmoid, h<t> = (1 - z) n + z h<t-1>.    Ba, Kiros and Hinton, 2016.
    """
    r, z = split(gw * _normalised(w @ x) + gu * _normalised(u @ h) + b, 2)
    r, z = sigmoid(r), sigmoid(z)
    n = tanh(gwn * _normalised(wn @ x) + bn + r * (gun * _normalised(un @ h) + dn))
    return (1 - z) * n + z * h


# --- modules with periods ---------------------------------------------------------------------------------------------


def clockwork_with(periods: Sequence[int], *, name: str = "") -> Cell:
    """The network in modules that are computed every `periods[k]` steps only: `clockwork_with((1, 2, 4))`.

    The units are shared out among the modules in order, as evenly as they go; a module hears itself and the slower ones.
    Raises `SettingError` for periods that are not integers from 1.
    """
    if not periods or any(isinstance(p, bool) or not isinstance(p, int) or p < 1 for p in periods):
        raise SettingError(f"clockwork_with: periods={periods!r} must be integers, 1 or more, one for each module")

    @cell(name=name or "_".join(map(str, ("clockwork", *periods))))
    def modules(x, h, clock, *, w=weight("hidden", "input"), u=weight("hidden", "hidden"), b=bias("hidden")):
        """h<t> = tanh(w x + u h<t-1> + b) in units whose clock is 0, h<t-1> in others; the clock counts steps mod the period

        u is 0 from a faster module to a slower one.    Koutnik, Greff, Gomez and Schmidhuber, 2014 (clockwork RNN).
        """
        period = _periods_of_units(periods, len(h))
        hears = period[None, :] >= period[:, None]  # [to, from]
        due = greater(0.5, clock)
        h = where(due, tanh(w @ x + (u * hears) @ h + b), h)
        clock = where(greater(clock + 1.5, period), 0.0, clock + 1)
        return h, clock

    return modules


def _periods_of_units(periods: Sequence[int], units: int) -> Array:
    """The period of every unit `[units]`. Raises `CellError` where there are fewer units than modules."""
    if units < len(periods):
        raise CellError(f"{len(periods)} periods need as many hidden units at least, there are {units}")
    return np.array(periods)[np.arange(units) * len(periods) // units]


clockwork = clockwork_with((1, 2, 4, 8), name="clockwork")
