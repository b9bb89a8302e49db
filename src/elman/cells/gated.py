"""Cells with gates that decide what to keep: gated recurrent units and long short-term memory."""

# mypy: disable-error-code="no-untyped-def"

from elman.declare import bias, weight
from elman.gates import sigmoid, tanh
from elman.trace import cell


@cell
def gru(x, h, *, wr=weight("hidden", "input"), ur=weight("hidden", "hidden"), br=bias("hidden"),
        wz=weight("hidden", "input"), uz=weight("hidden", "hidden"), bz=bias("hidden"),
        wn=weight("hidden", "input"), un=weight("hidden", "hidden"), bn=bias("hidden"), dn=bias("hidden")):  # fmt: skip
    """h<t> = (1 - z) n + z h<t-1>, the reset after the product    Cho et al., 2014, as cuDNN and PyTorch have it."""
    r = sigmoid(wr @ x + ur @ h + br)
    z = sigmoid(wz @ x + uz @ h + bz)
    n = tanh(wn @ x + bn + r * (un @ h + dn))
    return (1 - z) * n + z * h


@cell
def gru_reset_before(x, h, *, wr=weight("hidden", "input"), ur=weight("hidden", "hidden"), br=bias("hidden"),
                     wz=weight("hidden", "input"), uz=weight("hidden", "hidden"), bz=bias("hidden"),
                     wn=weight("hidden", "input"), un=weight("hidden", "hidden"), bn=bias("hidden")):  # fmt: skip
    """h<t> = (1 - z) n + z h<t-1>, the reset before the product    Cho et al., 2014."""
    r = sigmoid(wr @ x + ur @ h + br)
    z = sigmoid(wz @ x + uz @ h + bz)
    n = tanh(wn @ x + un @ (r * h) + bn)
    return (1 - z) * n + z * h


@cell
def lstm(x, h, c, *, wi=weight("hidden", "input"), ui=weight("hidden", "hidden"), bi=bias("hidden"),
         wf=weight("hidden", "input"), uf=weight("hidden", "hidden"), bf=bias("hidden", init=1.0),
         wg=weight("hidden", "input"), ug=weight("hidden", "hidden"), bg=bias("hidden"),
         wo=weight("hidden", "input"), uo=weight("hidden", "hidden"), bo=bias("hidden")):  # fmt: skip
    """c<t> = f c<t-1> + i g, h<t> = o tanh(c<t>)    Hochreiter and Schmidhuber, 1997; with forget gates (Gers, 2000)."""
    i = sigmoid(wi @ x + ui @ h + bi)
    f = sigmoid(wf @ x + uf @ h + bf)
    g = tanh(wg @ x + ug @ h + bg)
    o = sigmoid(wo @ x + uo @ h + bo)
    c = f * c + i * g
    return o * tanh(c), c
