"""Weight maps: what the arrays of other frameworks hold, as data. Reading and writing both derive from the same table.

A map says for one kind of layer which of our parameters each foreign array holds, in which order of gates, and how it lies.
`unpacked` takes foreign arrays apart, `packed` puts them together again, without arithmetic: to the bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from elman.errors import SettingError


@dataclass(frozen=True)
class Block:
    """One foreign array, or one row of it: what it is called, which of our parameters it holds, and how it lies.

    `{gate}` in `holds` stands for each gate in the map's order, one below the other; where it stands in `name` too, each
    gate has an array of its own. `transposed`: (in, out), where ours is (out, in). `row`: of an array of several biases.
    """

    name: str
    holds: str
    transposed: bool = False
    row: int | None = None


@dataclass(frozen=True)
class Map:
    """The arrays of one kind of layer of a framework, for one of our cells."""

    framework: str
    layer: str
    cell: str
    gates: str
    blocks: tuple[Block, ...]
    form: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.framework, self.layer, self.form)))

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Our parameters that its arrays can hold, in their order."""
        return tuple(dict.fromkeys(name for block in self.blocks for _, held in self.arrays(block) for name in held))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the foreign arrays."""
        return tuple(dict.fromkeys(name for block in self.blocks for name, _ in self.arrays(block)))

    def arrays(self, block: Block) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The foreign names of a block, each with those of our parameters that it holds, one below the other."""
        if "{gate}" in block.name:
            return tuple((block.name.format(gate=gate), (block.holds.format(gate=gate),)) for gate in self.gates)
        held = [block.holds.format(gate=gate) for gate in self.gates] if "{gate}" in block.holds else [block.holds]
        return ((block.name, tuple(held)),)


SECOND = {"elman": {"ba": ("da",)}, "gru": {"br": ("dr",), "bz": ("dz",)}}
SECOND |= {cell: {f"b{gate}": (f"d{gate}",) for gate in "ifgo"} for cell in ("lstm", "lstm_projected")}
"""What the second bias of a gate is called, where a framework adds two; that of gru's n is in the equations, `dn`."""


def _torch(layer: str, cell: str, gates: str, wide: tuple[str, str, str, str], *others: Block, form: str = "") -> Map:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return Map("pytorch", layer, cell, gates, (*map(Block, names, wide), *others), form)


def _keras(layer: str, cell: str, gates: str, held: tuple[str, str], bias: Iterable[Block], form: str = "") -> Map:
    kernels = Block("kernel", held[0], True), Block("recurrent_kernel", held[1], True)
    return Map("keras", layer, cell, gates, (*kernels, *bias), form)


GATED = ("w{gate}", "u{gate}", "b{gate}", "d{gate}")
SIMPLE = ("wax", "waa", "ba", "da")
RESET_AFTER = (Block("bias", "b{gate}", row=0), Block("bias", "d{gate}", row=1))

MAPS = (
    _torch("RNN", "elman", "", SIMPLE),
    _torch("GRU", "gru", "rzn", GATED),
    _torch("LSTM", "lstm", "ifgo", GATED),
    _torch("LSTM", "lstm_projected", "ifgo", GATED, Block("weight_hr", "wp"), form="proj_size"),
    Map("pytorch", "Linear", "readout_linear", "", (Block("weight", "wya"), Block("bias", "by"))),
    Map("pytorch", "Embedding", "embedding", "", (Block("weight", "e", True),)),
    _keras("SimpleRNN", "elman", "", SIMPLE[:2], [Block("bias", "ba")]),
    _keras("GRU", "gru", "zrn", GATED[:2], RESET_AFTER, "reset_after=True"),
    _keras("GRU", "gru_reset_before", "zrn", GATED[:2], [Block("bias", "b{gate}")], "reset_after=False"),
    _keras("LSTM", "lstm", "ifgo", GATED[:2], [Block("bias", "b{gate}")]),
    Map("keras", "Dense", "readout_linear", "", (Block("kernel", "wya", True), Block("bias", "by"))),
    Map("keras", "Embedding", "embedding", "", (Block("embeddings", "e", True),)),
    Map("flax", "SimpleCell", "elman", "", (
        Block("i.kernel", "wax", True), Block("h.kernel", "waa", True), Block("i.bias", "ba"))),
    Map("flax", "GRUCell", "gru", "rzn", (
        Block("i{gate}.kernel", "w{gate}", True), Block("i{gate}.bias", "b{gate}"),
        Block("h{gate}.kernel", "u{gate}", True), Block("hn.bias", "dn"))),
    Map("flax", "LSTMCell", "lstm", "ifgo", (
        Block("i{gate}.kernel", "w{gate}", True),
        Block("h{gate}.kernel", "u{gate}", True), Block("h{gate}.bias", "b{gate}"))),
    Map("flax", "Dense", "readout_linear", "", (Block("kernel", "wya", True), Block("bias", "by"))),
    Map("flax", "Embed", "embedding", "", (Block("embedding", "e", True),)),
    Map("equinox", "GRUCell", "gru", "rzn", (
        Block("weight_ih", "w{gate}"), Block("weight_hh", "u{gate}"), Block("bias", "b{gate}"), Block("bias_n", "dn"))),
    Map("equinox", "LSTMCell", "lstm", "ifgo", (
        Block("weight_ih", "w{gate}"), Block("weight_hh", "u{gate}"), Block("bias", "b{gate}"))),
    Map("equinox", "Linear", "readout_linear", "", (Block("weight", "wya"), Block("bias", "by"))),
    Map("equinox", "Embedding", "embedding", "", (Block("weight", "e", True),)),
)  # fmt: skip
"""All maps. The letters of `gates` are those of our equations: what Keras calls c and h are g and n here."""


def named(framework: str, layer: str, form: str = "") -> Map:
    """The map of a layer. Raises `SettingError` for one that there is none of.

    >>> named("pytorch", "GRU").gates, named("keras", "GRU", "reset_after=True").gates
    ('rzn', 'zrn')
    """
    found = [m for m in MAPS if (m.framework, m.layer, m.form) == (framework, layer, form)]
    if not found:
        known = ", ".join(str(m) for m in MAPS if m.framework == framework) or ", ".join(frameworks())
        raise SettingError(f"there is no weight map of {framework} {layer} {form}".rstrip() + f"; there are {known}")
    return found[0]


def frameworks() -> tuple[str, ...]:
    """Names of the frameworks that there are maps of."""
    return tuple(dict.fromkeys(m.framework for m in MAPS))
