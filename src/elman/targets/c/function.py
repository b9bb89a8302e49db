"""A plan as a function of C: one step of one example, a loop for each value that is stored, under its equation.

What needs only the parameters is computed here and stands in the file as numbers. Products are not merged: a line of C is a
line of the equations. A step reads the old states to its end, then sets the new ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from elman.gates import Array
from elman.nodes import LEAVES, Node
from elman.notation import notation
from elman.passes import Plan
from elman.shapes import Shape, written
from elman.targets.c import words
from elman.targets.c.lines import COLUMN, ROW, Place, Stored, braced, comment, everywhere, flat, looped, size, times, wrapped
from elman.targets.c.names import Names, identifier
from elman.targets.c.numbers import Real
from elman.targets.c.words import Word
from elman.targets.interpreter import computed

LONG = 160
"""Characters from which an expression gets a line of its own."""


@dataclass
class File:
    """What the functions of one file share: its floating type, its names, the helpers that they call, its numbers."""

    real: Real
    names: Names
    helpers: set[str] = field(default_factory=set)
    data: list[str] = field(default_factory=list)
    bytes: int = 0

    def constant(self, name: str, values: Array, about: str) -> Stored:
        """Add an array of numbers."""
        self.data.append(f"{comment(about)}\n{self.real.array(name, values)}")
        self.bytes += values.size * self.real.dtype.itemsize
        return Stored(name)


class Function:
    """Writes a plan as a function of C, `name(x, state, y)`; `state` is left out where there is none.

    `text` is the function, `stack` the bytes of its variables, `members` what the struct of its states calls each.
    """

    def __init__(self, plan: Plan, parameters: Mapping[str, Array], file: File, name: str, struct: str) -> None:
        self.plan, self.graph, self.file, self.name, self.real, self.stack = plan, plan.graph, file, name, file.real, 0
        with np.errstate(all="ignore"):  # as targets compute it: infinity where it overflows
            self._values = {i: np.asarray(v) for i, v in computed(plan, parameters, self.real.dtype).items()}
        # All of them first: a variable may not have the name of an array that a later line reads.
        self._constants = {i: file.names.claim(f"{name}_{self._short(i)}") for i, v in self._values.items() if v.ndim}
        self._columns = {i: file.names.claim(f"{named}_columns") for i, named in self._constants.items()}
        self._names, members = Names(file.names, avoid=(ROW, COLUMN, "state")), Names()
        self.members = {state: members.claim(state) for state in self.graph.leaves("state")}
        self._places = {i: Stored(f"state->{self.members[s]}", old=True) for s, i in self.graph.leaves("state").items()}
        self._by_token: dict[int, Stored] = {}
        self._texts: list[str] = []
        [(self._y, self._output)] = self.graph.named("output").items()
        signature = self._signature(struct)  # which claims names first
        self.text = braced(f"static void {signature}", [line for lines in self._body() for line in lines])

    @property
    def tokens(self) -> bool:
        """Whether it reads a token."""
        return bool(self.graph.leaves("token"))

    # --- what words ask -----------------------------------------------------------------------------------------------

    def element(self, index: int, at: Place) -> Word:
        """One element of a value."""
        node = self.graph.nodes[index]
        if node.gate == "expand":
            return self.element(node.inputs[0], ())
        if index in self._values and not node.shape:
            text = self.real.literal(self._values[index])
            return Word(text, words.SIGN if text.startswith("-") else words.CALL)
        if index in self._values or index in self._places:
            return Word(self._place(index).element(flat(at, node.shape)))
        return words.ELEMENTS[node.gate](self, node, at)

    def address(self, index: int) -> str:
        """Where the elements of a value stand."""
        return self._place(index).address

    def shape(self, index: int) -> Shape:
        """The shape of a value."""
        return self.graph.nodes[index].shape

    def helper(self, name: str) -> str:
        """The name of a function of this file."""
        self.file.helpers.add(name)
        return name

    def _place(self, index: int) -> Stored:
        """Where a value stands; numbers get a place in the file when they are first asked for."""
        if index not in self._places:
            about = f"{identifier(self._short(index))} {written(self.shape(index))}"
            self._places[index] = self.file.constant(self._constants[index], self._values[index], about)
        return self._places[index]

    def _column(self, index: int, token: str) -> Stored:
        """A column of a matrix that tokens look up: it is held column by column, so that each stands together."""
        if index not in self._by_token:
            about = f"{identifier(self._short(index))} {written(self.shape(index))}, column by column, one for each token"
            turned = np.ascontiguousarray(self._values[index].T)
            self._by_token[index] = self.file.constant(self._columns[index], turned, about)
        return self._by_token[index].moved(times(int(self.shape(index)[0]), token))

    def _short(self, index: int) -> str:
        return self.graph.nodes[index].name or f"v{index}"

    # --- the function -------------------------------------------------------------------------------------------------

    def _signature(self, struct: str) -> str:
        """The input and the output have the names that the equations give them."""
        [(name, leaf)] = (self.graph.leaves("input") | self.graph.leaves("token")).items()
        x, self._y = self._names.claim(name), self._names.claim(self._y)
        self._places[leaf] = Stored(x, number=self.tokens)
        self._unread = [f"(void){x};"] * (not self._is_read(leaf))
        arguments = [f"int {x}" if self.tokens else f"const {self.real.name} *{x}"]
        if self.members:
            arguments.append(f"{struct} *state")
            states, new = self.graph.leaves("state"), self.graph.named("state")
            used = any(self._is_read(index) or new[name] != index for name, index in states.items())
            self._unread += [] if used else ["(void)state;"]
        return f"{self.name}({', '.join([*arguments, f'{self.real.name} *{self._y}'])})"

    def _is_read(self, index: int) -> bool:
        """Whether a leaf feeds anything but itself."""
        name = self.graph.nodes[index].name
        kept = [r for r in self.graph.results if r.node == index and not (r.role == "state" and r.name == name)]
        return bool(self.graph.uses[index] or kept)

    def _body(self) -> Iterator[list[str]]:
        yield self._unread
        for index, node in enumerate(self.graph.nodes):
            self._texts.append(self._text(index))
            if node.gate in LEAVES or index in self._values:
                continue
            if node.gate == "lookup" and node.inputs[0] in self._values:
                yield self._viewed(index, self._column(node.inputs[0], self._places[node.inputs[1]].base))
            elif node.gate == "slice":
                start = node.settings["start"] * size(node.shape[1:])
                yield self._viewed(index, self._place(node.inputs[0]).moved(str(start) if start else ""))
            elif self._is_stored(index):
                yield self._stored(index)
        yield from self._results()

    def _text(self, index: int) -> str:
        """A value as comments write it where it is used."""
        node = self.graph.nodes[index]
        if node.gate == "state":
            return f"{identifier(node.name)}<t-1>"
        if node.gate == "constant":
            return f"{node.settings['value']:g}" if not node.shape else f"constant{written(node.shape)}"
        if node.gate in LEAVES or (index in self._constants and index in self.plan.gives("prepare")):
            return identifier(self._short(index))
        return notation(self.graph.nodes, node, self._texts)

    def _is_stored(self, index: int) -> bool:
        """Whether a value gets a place of its own, or stands in the line that uses it."""
        node, uses = self.graph.nodes[index], self.graph.uses[index]
        for user in (self.graph.nodes[i] for i in uses):
            together = words.ARRAYS.get(user.gate, ())
            often = words.REPEATED.get(user.gate, ()) if node.gate != "expand" else ()
            if any(user.inputs[position] == index for position in (*together, *often)):
                return True
        if node.gate == "expand":
            return False
        if node.name or len(uses) != 1 or node.gate not in words.ELEMENTS or self._is_result(index):
            return True
        return len(self.element(index, everywhere(node.shape)).text) > LONG

    def _is_result(self, index: int) -> bool:
        return any(result.node == index for result in self.graph.results)

    # --- a line of the equations --------------------------------------------------------------------------------------

    def _declared(self, index: int) -> tuple[str, list[str]]:
        """What a value is called, and its declaration; the output has a place that the caller gives."""
        shape = self.shape(index)
        if index == self._output and shape:
            return self._y, []
        name = self._names.claim(self._short(index))
        self.stack += size(shape) * self.real.dtype.itemsize
        return name, [f"{self.real.name} {name}[{size(shape)}];"] if shape else []

    def _viewed(self, index: int, place: Stored) -> list[str]:
        """A value that is part of another: an address, and no work."""
        node = self.graph.nodes[index]
        if not node.name:
            self._places[index] = place
            return []
        name = self._names.claim(node.name)
        self._places[index] = Stored(name, old=place.old)
        return [*self._equation(index, name), f"const {self.real.name} *const {name} = {place.address};"]

    def _equation(self, index: int, name: str) -> list[str]:
        """The comment above a value's line, which then goes by its name."""
        text = f"{name} = {self._texts[index]}"
        self._texts[index] = name
        return comment(f"{text} {written(self.shape(index))}").split("\n")

    def _stored(self, index: int) -> list[str]:
        """A value in a place of its own."""
        node = self.graph.nodes[index]
        name, declared = self._declared(index)
        place, lines = Stored(name, number=not node.shape), [*self._equation(index, name), *declared]
        if node.gate in words.SUMMED:
            lines += self._summed(node, name)
        elif node.gate in words.JOINED:
            lines += self._joined(node, place)
        elif node.gate in words.IN_PLACE:
            lines += self._filled(place, node.inputs[0])
            lines.append(f"{self.helper(node.gate)}({name}, {size(node.shape)});")
        elif not node.shape:
            lines += wrapped(f"const {self.real.name} {name} = {self.element(index, ()).text};")
        else:
            lines += self._filled(place, index)
        self._places[index] = place
        return lines

    def _filled(self, place: Stored, index: int) -> list[str]:
        """Loops that store the elements of a value."""
        shape = self.shape(index)
        at = everywhere(shape)
        return looped(shape, f"{place.element(flat(at, shape))} = {self.element(index, at).text};")

    def _summed(self, node: Node, name: str) -> list[str]:
        shape = self.shape(node.inputs[0])
        text = self.element(node.inputs[0], everywhere(shape)).text
        if size(shape) == 1:
            return wrapped(f"const {self.real.name} {name} = {text};")
        lines = [f"{self.real.name} {name} = 0;", *looped(shape, f"{name} += {text};")]
        return [*lines, f"{name} /= {size(shape)};"] if node.gate == "mean" else lines

    def _joined(self, node: Node, place: Stored) -> list[str]:
        """Pieces one behind another, or one with zeros around it."""
        start = node.settings["before"] * size(node.shape[1:]) if node.gate == "pad" else 0
        lines = [f"{self.helper('zero')}({place.base}, {size(node.shape)});"] if node.gate == "pad" else []
        for i in node.inputs:
            lines += self._filled(place.moved(str(start) if start else ""), i)
            start += size(self.shape(i))
        return lines

    # --- the end of a step --------------------------------------------------------------------------------------------

    def _results(self) -> Iterator[list[str]]:
        """The output, then the new states, none of which is set before all that reads the old ones is done."""
        states, new = self.graph.leaves("state"), self.graph.named("state")
        if self._places.get(self._output) != Stored(self._y):
            yield self._copied(Stored(self._y), self._output)
        changed = {name: index for name, index in new.items() if index != states[name]}
        for name, index in changed.items():
            if self._is_old(index):  # another state, or a part of one, which may be set first
                held = self._names.claim(f"{name}_next")
                self.stack += size(self.shape(index)) * self.real.dtype.itemsize
                yield [f"{self.real.name} {held}[{size(self.shape(index))}];", *self._copied(Stored(held), index)]
                self._places[index] = Stored(held)
        for name, index in changed.items():
            yield self._copied(Stored(f"state->{self.members[name]}"), index)

    def _is_old(self, index: int) -> bool:
        node, place = self.graph.nodes[index], self._places.get(index)
        return self._is_old(node.inputs[0]) if place is None and node.gate == "expand" else bool(place and place.old)

    def _copied(self, target: Stored, index: int) -> list[str]:
        """All elements of a value put in another place."""
        place = self._places.get(index)
        if place is None or place.number:
            return self._filled(target, index)
        return [f"{self.helper('copy')}({target.address}, {place.address}, {size(self.shape(index))});"]
