"""The table that a kernel is given: integers and addresses, first those of a call, then those of the parameters."""

from typing import Any

from elman.targets.llvm.groups import Grouping
from elman.targets.llvm.places import Place, Places
from elman.targets.llvm.recipe import walks

FIELDS = ("steps", "room", "backwards", "turn", "order", "running", "counter", "cuts")
"""What the table begins with: steps, rows that a chunk has room for, direction, where walks begin, the examples as sorted,
how many of them run at each step, the counter of those who share the work, and where they cut the examples."""

ROOM, ORDER, COUNTER = FIELDS.index("room"), FIELDS.index("order"), FIELDS.index("counter")
"""Where some of these stand."""

NUMBERS = 4
"""How many of these are numbers; the others are addresses."""


class Table:
    """The order of the integers and addresses that a kernel is given."""

    def __init__(self, grouping: Grouping, places: Places) -> None:
        graph = grouping.graph
        self.names: list[tuple[str, Any]] = [("field", name) for name in FIELDS]
        for name in (*graph.leaves("input"), *graph.leaves("token")):
            self.names += [(kind, Place("input", name)) for kind in ("base", "by step", "by example")]
        for name in graph.named("output"):
            self.names += [(kind, Place("output", name)) for kind in ("base", "by step", "by example")]
        for name in graph.leaves("state"):
            self.names += [("base", Place("first", name)), ("base", Place("last", name))]
        self.totals = [i for group in places.phases["after"] if group.total for i in group.nodes]
        self.totals_at = slice(len(self.names), len(self.names) + len(self.totals))
        self.names += [("base", Place("sum", index)) for index in self.totals]
        self.shared = self._shared(grouping, places)
        self.names += [("base", Place("shared", index)) for index in self.shared]
        self.walks = [walk for groups in places.phases.values() for group in groups for walk in walks(grouping, group)]
        self.names += [("pack", walk) for walk in self.walks]
        looked_up = (
            node.inputs[0] for i, node in enumerate(graph.nodes) if node.gate == "lookup" and grouping.is_lanewise(i)
        )
        self.turned = list(dict.fromkeys(looked_up))
        self.names += [("turned", index) for index in self.turned]

    def _shared(self, grouping: Grouping, places: Places) -> list[int]:
        """Values of the parameters alone that are read as they are, not packed for a walk or turned."""
        graph, found = grouping.graph, set()
        for groups in places.phases.values():
            for group in (group for group in groups if not group.total):
                for index in group.nodes:
                    packed = graph.nodes[index].gate in ("product", "lookup") and not group.whole and not group.copy
                    apart = graph.nodes[index].inputs[0] if packed else None
                    found |= {i for i in places.read(index) if grouping.plan.shared[i] and i != apart}
        return sorted(i for i in found if not (graph.nodes[i].gate == "constant" and not graph.nodes[i].shape))
