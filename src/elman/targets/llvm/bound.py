"""A bound call: a program with arrays that stay where they are, run again and again with other parameters.

A run of a program finds out shapes, types and addresses, and takes memory for all that it gives: 100 to 200 us of Python,
where the caches are full of what a kernel has read. Here that is done once. What is left for a run is to pack the
parameters, whose addresses are new, to set totals to zero, and to call the kernel.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.packs import Standing
from elman.rooms import LINE, rooms
from elman.targets.interpreter import computed, finished
from elman.targets.llvm import stretches
from elman.targets.llvm.added import adder
from elman.targets.llvm.calls import Call, Level
from elman.targets.llvm.chain import Chain
from elman.targets.llvm.elementwise import Squares
from elman.targets.llvm.follow import followed
from elman.targets.llvm.memory import address
from elman.targets.llvm.order import Rows, by_length, dense
from elman.targets.llvm.pace import Pace
from elman.targets.llvm.packing import Fixed, Packed

if TYPE_CHECKING:
    from elman.targets.llvm.program import LlvmProgram


class Bound(Call):
    """Inputs `[T, B, ...]` and first states `[B, ...]` are read where they stand; outputs and last states are written.

    Parameters have other `names` where they are given; those of now tell how they lie. One call at a time may run it.
    """

    def __init__(
        self,
        program: "LlvmProgram",
        parameters: Mapping[str, Array],
        names: Mapping[str, str],
        inputs: Mapping[str, Array],
        first: Mapping[str, Array],
        *,
        backwards: bool,
    ) -> None:
        self._parameters = names
        steps, batch = next(iter(inputs.values())).shape[:2]
        rows, room = dense(steps, batch), program.room(batch, steps)
        self.outputs = {name: rooms.take((steps, batch, *shape), program.dtype) for name, shape in program.given.items()}
        self.first = {name: first[name] for name in program.state_names}
        self.last = {name: np.zeros_like(array) for name, array in self.first.items()}
        nothing: tuple[Array, dict[int, Array]] = np.empty((1, 0)), {}
        self._whole, totals = program._unpacking.room(program.sections(batch)) if program.has_totals else nothing
        self._totals = {index: total[0] for index, total in totals.items()}  # those of all sections, once they are added
        self._held = [program._given(inputs[name], wanted) for name, wanted in program._inputs.items()]
        call = [steps, room, int(backwards), 0, rows.order_address, rows.running_address, 0, 0]
        for array in (*self._held, *self.outputs.values()):
            by_step, by_example, *_ = array.strides
            call += address(array), by_step // array.itemsize, by_example // array.itemsize
        for name in program.state_names:
            call += address(self.first[name]), address(self.last[name])
        call += (address(total) for total in self._totals.values())
        read, memory = program._packing.parameters(), program._packing.memory()
        order = {name: k for k, name in enumerate(parameters)}
        self._which = None if read is None else np.array([order[names[name]] for name in read], np.int64)
        prepared = Packed({}, static=program._packing.static(memory), held=memory)
        self._memory = memory
        super().__init__(program, program.table_of(call, prepared), steps, batch)
        strides = tuple(array.strides for array in program._packing.arrays(self._computed(parameters)))
        self._moves = Fixed(program._packing.moves, strides, memory) if read else None
        self._sums: Sums | None = None

    def deliver(self, flat: Array, places: Mapping[str, int]) -> None:
        """Let every run put its sums, by name, into places of a flat array, each in the order of its rows."""
        self._sums = Sums(self.program, self._totals, flat, places)

    def run(self, given: Standing, lengths: Array | None = None) -> None:
        """Read these parameters, compute, write."""
        made = self._packed(given) if self._which is None else {}
        self._alone.run([self.begin(given, lengths)])
        if self._sums is not None:
            self._sums.finish(made)

    def begin(self, given: Standing, lengths: Array | None) -> Rows:
        """Tell what this run brings; returns the order of its examples."""
        if self._moves is not None and self._which is not None:
            given.starts.take(self._which, out=self._moves.words[1:])
        if lengths is None:
            return dense(self.steps, self.batch)
        for name, state in self.first.items():
            self.last[name][...] = state
        return by_length(self.steps, lengths)

    # --- in a chain ---------------------------------------------------------------------------------------------------

    def chain(self, others: Sequence["Bound"], squares: object) -> "Bounds | None":
        """One call of this, others, one after another, and squares.

        None if something is left to do for Python between the calls, or to hear: a signal waits until the end.
        """
        bounds = self, *others
        fits = all(bound.is_plain for bound in bounds) and sum(bound.share for bound in bounds) <= 1
        return Bounds(bounds, squares if isinstance(squares, Squares) else None) if fits else None

    @cached_property
    def _alone(self) -> Chain:
        return Chain([self], Pace())

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing for Python to do beside the kernel."""
        return self._which is not None and (self._sums is None or self._sums.is_plain)

    @property
    def share(self) -> float:
        """How much it is of the longest call that may keep a signal waiting."""
        return float(self.steps) / stretches.steps_of(self.program, self.batch)

    def before(self, threads: int) -> Level:
        """What each of so many threads calls before any kernel: it packs parameters, and no total holds anything yet."""
        packing = [] if self._moves is None else [self._moves.rows(threads)]
        clear, cuts = followed(self.program.machine).clear, parts_of(self._whole.nbytes, threads)
        cleared = [(clear, address(self._whole), 0, *cut, 0) for cut in cuts]
        return [[*rows] for rows in zip(*packing, cleared, strict=True)]

    def added(self, threads: int) -> Level:
        """What each calls to add up the totals of all sections."""
        sections, size = self._whole.shape
        if sections == 1:
            return super().added(threads)
        add = adder(self.program.dtype.name, sections, self.program.machine)
        return [[(add.address, address(self._whole), 0, *cut, size)] for cut in parts_of(size, threads)]

    def behind(self, threads: int) -> Level:
        """What each calls when that is done: it puts totals where they go."""
        return super().behind(threads) if self._sums is None else self._sums.rows(threads)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _packed(self, given: Standing) -> dict[int, Array]:
        """Make and pack what is made of the parameters alone."""
        packing, made = self.program._packing, self._computed(given.arrays)
        arrays = packing.arrays(made)
        packing.pack_at(map(address, arrays), tuple(array.strides for array in arrays), address(self._memory))
        return made

    def _computed(self, parameters: Mapping[str, Array]) -> dict[int, Array]:
        ours = {name: parameters[theirs] for name, theirs in self._parameters.items()}
        return computed(self.program.plan, ours, self.program.dtype)


class Bounds:
    """Bound calls one after another, and squares of what comes out."""

    def __init__(self, bounds: Sequence[Bound], squares: Squares | None) -> None:
        self._bounds, self._squares, self._chain = bounds, squares, Chain(bounds, Pace(), squares)

    def run(self, given: Standing, lengths: Array | None = None) -> list[float] | None:
        """Run all with these parameters; tells the squares, if they are a part of it."""
        self._chain.run([bound.begin(given, lengths) for bound in self._bounds])
        return None if self._squares is None else self._squares.found


class Sums:
    """What a bound call sums up, and where it goes."""

    def __init__(self, program: "LlvmProgram", totals: Mapping[int, Array], flat: Array, places: Mapping[str, int]) -> None:
        self._program, self._totals, named = program, totals, program.graph.named("sum")
        plain = [(node, places[name]) for name, node in named.items() if node in totals]
        self._moves = program._unpacking.into(flat, plain, totals) if plain else None
        self._others = {}
        for name, node in named.items():
            if node not in totals:
                shape = tuple(int(size) for size in program.graph.nodes[node].shape)
                start = places[name]
                self._others[name] = flat[start : start + int(np.prod(shape))].reshape(shape)

    @property
    def is_plain(self) -> bool:
        """Whether all sums are totals as they are."""
        return not self._others

    def rows(self, threads: int) -> Level:
        """The calls that put totals where they go, for each of so many threads."""
        return [[]] * threads if self._moves is None else [[row] for row in self._moves.rows(threads)]

    def finish(self, made: Mapping[int, Array]) -> None:
        """Put there what is made of totals; `made` is what was made of the parameters alone."""
        if self._others:
            totals = self._program._unpacking.unpacked({index: total[None] for index, total in self._totals.items()})
            found = finished(self._program.plan, made, totals, self._program.dtype)
            for name, into in self._others.items():
                into[...] = found[name]


def binds(program: "LlvmProgram", steps: int, batch: int) -> bool:
    """Whether a call of so many steps and examples can be bound: it is one call of machine code."""
    return 0 < steps <= stretches.steps_of(program, batch) and batch > 0


def parts_of(size: int, threads: int) -> Iterator[tuple[int, int]]:
    """From where to where each of so many threads goes, in whole lines of the cache, whether bytes or elements count."""
    return pairwise([size * part // threads // LINE * LINE for part in range(threads)] + [size])
