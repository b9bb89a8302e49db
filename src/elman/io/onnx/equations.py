"""The recurrent operators of ONNX as cells: their equations, for the activations and attributes of a node.

Parameters are called as in the cells that come along, with peepholes `pi po pf`; the two biases of a sum are one.
"""

# mypy: disable-error-code="no-untyped-def"

from elman.cells import elman, gru_reset_before, lstm
from elman.declare import bias, weight
from elman.io.onnx.activations import Equation
from elman.trace import Cell, cell

USUAL = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
"""Activations of an operator whose node names none."""

CELLS = {"RNN": elman, "GRU": gru_reset_before, "LSTM": lstm}
"""The cells of nodes without attributes; with linear_before_reset a GRU is `gru`, with P an LSTM is `lstm_peephole`."""

GATES = {"RNN": "a", "GRU": "zrn", "LSTM": "iofg"}
"""Gates in the order in which weights and biases hold them, by the letters of the cells."""

PEEPHOLES = "iof"
"""Gates in the order in which P holds their weights."""


def simple(f: Equation) -> Cell:
    """The operator RNN."""

    @cell(name="onnx_rnn")
    def rnn(x, a, *, wax=weight("hidden", "input"), waa=weight("hidden", "hidden"), ba=bias("hidden")):
        """Ht = f(Wi Xt + Ri Ht-1 + Wbi + Rbi)    ONNX, operator RNN."""
        return f(wax @ x + waa @ a + ba)

    return rnn


def reset_before(f: Equation, g: Equation) -> Cell:
    """The operator GRU as it is by default."""

    @cell(name="onnx_gru_reset_before")
    def gated(x, h, *, wr=weight("hidden", "input"), ur=weight("hidden", "hidden"), br=bias("hidden"),
              wz=weight("hidden", "input"), uz=weight("hidden", "hidden"), bz=bias("hidden"),
              wn=weight("hidden", "input"), un=weight("hidden", "hidden"), bn=bias("hidden")):  # fmt: skip
        """Ht = (1 - zt) ht + zt Ht-1, the reset before the product    ONNX, operator GRU, linear_before_reset=0."""
        r = f(wr @ x + ur @ h + br)
        z = f(wz @ x + uz @ h + bz)
        n = g(wn @ x + un @ (r * h) + bn)
        return (1 - z) * n + z * h

    return gated


def reset_after(f: Equation, g: Equation) -> Cell:
    """The operator GRU with linear_before_reset."""

    @cell(name="onnx_gru")
    def gated(x, h, *, wr=weight("hidden", "input"), ur=weight("hidden", "hidden"), br=bias("hidden"),
              wz=weight("hidden", "input"), uz=weight("hidden", "hidden"), bz=bias("hidden"),
              wn=weight("hidden", "input"), un=weight("hidden", "hidden"), bn=bias("hidden"),
              dn=bias("hidden")):  # fmt: skip
        """Ht = (1 - zt) ht + zt Ht-1, the reset after the product    ONNX, operator GRU, linear_before_reset=1."""
        r = f(wr @ x + ur @ h + br)
        z = f(wz @ x + uz @ h + bz)
        n = g(wn @ x + bn + r * (un @ h + dn))
        return (1 - z) * n + z * h

    return gated


def peephole(f: Equation, g: Equation, k: Equation) -> Cell:
    """The operator LSTM, with peepholes."""

    @cell(name="onnx_lstm")
    def memory(x, h, c, *, wi=weight("hidden", "input"), ui=weight("hidden", "hidden"), bi=bias("hidden"), pi=bias("hidden"),
               wo=weight("hidden", "input"), uo=weight("hidden", "hidden"), bo=bias("hidden"), po=bias("hidden"),
               wf=weight("hidden", "input"), uf=weight("hidden", "hidden"), bf=bias("hidden"), pf=bias("hidden"),
               wg=weight("hidden", "input"), ug=weight("hidden", "hidden"), bg=bias("hidden")):  # fmt: skip
        """Ct = ft Ct-1 + it ct, Ht = ot h(Ct), with peepholes    ONNX, operator LSTM."""
        i = f(wi @ x + ui @ h + bi + pi * c)
        forget = f(wf @ x + uf @ h + bf + pf * c)
        c = forget * c + i * g(wg @ x + ug @ h + bg)
        o = f(wo @ x + uo @ h + bo + po * c)
        return o * k(c), c

    return memory


def coupled(f: Equation, g: Equation, k: Equation) -> Cell:
    """The operator LSTM with input_forget: what is not let in is kept."""

    @cell(name="onnx_lstm_coupled")
    def memory(x, h, c, *, wi=weight("hidden", "input"), ui=weight("hidden", "hidden"), bi=bias("hidden"), pi=bias("hidden"),
               wo=weight("hidden", "input"), uo=weight("hidden", "hidden"), bo=bias("hidden"), po=bias("hidden"),
               wg=weight("hidden", "input"), ug=weight("hidden", "hidden"), bg=bias("hidden")):  # fmt: skip
        """Ct = (1 - it) Ct-1 + it ct, Ht = ot h(Ct), with peepholes    ONNX, operator LSTM, input_forget=1."""
        i = f(wi @ x + ui @ h + bi + pi * c)
        c = (1 - i) * c + i * g(wg @ x + ug @ h + bg)
        o = f(wo @ x + uo @ h + bo + po * c)
        return o * k(c), c

    return memory
