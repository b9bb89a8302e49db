"""In which order the products of a group are summed: what each starts from, and which of them share a walk over an operand.

The one order of summation that makes results independent of how they were asked for: a product starts from what it is added
to (a bias, or what was hoisted), and adds `w[j, i] x[i]` for i = 0, 1, 2 ... with one rounding each.
"""

from dataclasses import dataclass

from elman.graph import Graph
from elman.targets.llvm.groups import Group, Grouping, Source


@dataclass(frozen=True)
class Sum:
    """A product and what it starts from; `node` is the value that it gives (the addition, where there is a start)."""

    node: int
    product: int
    start: int | None


@dataclass(frozen=True)
class Walk:
    """Sums that read one operand side by side; their matrices are packed together."""

    operand: Source
    length: int
    sums: tuple[Sum, ...]

    def matrices(self, graph: Graph) -> tuple[int, ...]:
        """The matrices, in the order of the sums."""
        return tuple(graph.nodes[each.product].inputs[0] for each in self.sums)


def walks(grouping: Grouping, group: Group) -> list[Walk]:
    """The walks of a group in the order in which they can run."""
    if group.whole or group.copy:
        return []
    graph, inside = grouping.graph, set(group.nodes)
    waiting, found = _sums(grouping, group), list[Walk]()
    done: set[int] = set()

    def is_ready(index: int) -> bool:
        """Whether a value can be made without the sums that wait."""
        if index in done or index not in inside:
            return True
        if any(each.node == index for each in waiting):
            return False
        return all(is_ready(i) for i in graph.nodes[index].inputs)

    while waiting:
        ready = [each for each in waiting if each.start is None or is_ready(each.start)]
        first = _operand(grouping, ready[0])
        together = [each for each in ready if _operand(grouping, each) == first]
        length = int(graph.nodes[graph.nodes[together[0].product].inputs[1]].shape[0])
        found.append(Walk(first, length, tuple(together)))
        done |= {each.node for each in together}
        waiting = [each for each in waiting if each not in together]
    return found


def _operand(grouping: Grouping, each: Sum) -> Source:
    return grouping.source(grouping.graph.nodes[each.product].inputs[1])


def _sums(grouping: Grouping, group: Group) -> list[Sum]:
    """Every addition to a product as one sum; products that stand alone, or are wanted by themselves too, start from 0."""
    graph, inside = grouping.graph, set(group.nodes)
    products = {i for i in group.nodes if graph.nodes[i].gate == "product"}
    # A product that only sums read starts from each of them; that one of these is shown besides changes no bit then.
    added = {i for i in products if all(graph.nodes[user].gate == "add" for user in graph.uses[i])}
    summed: dict[int, int] = {}
    found: list[Sum] = []
    for index in group.nodes:
        node = graph.nodes[index]
        if node.gate != "add" or node.inputs[0] == node.inputs[1]:
            continue
        candidates = [i for i in node.inputs if i in products and i in added]
        if candidates:
            product = max(candidates)
            [start] = [i for i in node.inputs if i != product]
            summed[product] = index
            found.append(Sum(index, product, start))
    results = {result.node for result in graph.results}
    alone = [i for i in group.nodes if i in products and (i not in summed or i in results or i in grouping.stored)]
    found += [Sum(i, i, None) for i in alone]
    order = {index: position for position, index in enumerate(group.nodes)}
    assert all(each.node in inside for each in found)
    return sorted(found, key=lambda each: order[each.node])
