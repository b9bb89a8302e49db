"""Graph to graph: each pass is one idea in one file, and this is the order in which they run.

`lower` takes the graph of a cell and what is asked of it to the graph that is scheduled; `schedule` makes the plan that a
target emits. What is differentiated is the lowered forward graph, so the backward direction inherits every pass.
"""

from collections.abc import Callable, Iterable

from elman.graph import Graph
from elman.passes.carry import with_learnt_reset, with_recurrent_dropout, with_reset, with_truncation
from elman.passes.dead import without_dead
from elman.passes.differentiate import Gradient, differentiate, in_one_pass
from elman.passes.expansions import with_expansions
from elman.passes.factor import factor
from elman.passes.keep import keep
from elman.passes.merge import merge
from elman.passes.reorder import reorder
from elman.passes.schedule import Plan, schedule
from elman.passes.tokens import tokenise

Pass = Callable[[Graph], Graph]

CARRY: dict[str, Pass] = {
    "dropout": with_recurrent_dropout,
    "reset": with_reset,
    "learnt reset": with_learnt_reset,
    "truncate": with_truncation,
}
"""What may be asked about the state between steps; from the inside (nearest to the equations) outwards."""

SIMPLIFY: tuple[Pass, ...] = (factor, reorder, without_dead, merge, without_dead)


def lower(
    graph: Graph,
    *,
    carry: Iterable[str] = (),
    tokens: bool = False,
    keeping: Iterable[str] = (),
    merging: bool = True,
) -> Graph:
    """Rewrite the graph of a cell for what is asked: values to keep, carrying rules, a token input; then simplify.

    `merging` is for targets that want few large products; others hold numbers in registers.
    """
    asked = set(carry)
    graph = keep(graph, keeping)
    for name, rewrite in CARRY.items():
        if name in asked:
            graph = rewrite(graph)
    for rewrite in SIMPLIFY:
        if merging or rewrite is not merge:
            graph = rewrite(graph)
    if not merging:
        graph = without_dead(with_expansions(graph))
    return without_dead(tokenise(graph)) if tokens else graph


__all__ = ["CARRY", "SIMPLIFY", "Gradient", "Pass", "Plan", "differentiate", "in_one_pass", "lower", "schedule"]
