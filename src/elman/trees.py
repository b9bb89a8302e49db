"""States as trees inside: arrays by name, or the tree of a part."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from elman.gates import Array
from elman.shapes import Shape
from elman.states import State

Tree = dict[str, Any]
"""States by name: an array `[B, ...]`, or the tree of a part."""


def plain(state: State) -> Tree:
    """The arrays of a state."""
    return {name: plain(value) if isinstance(value, State) else value for name, value in state.items()}


def batched(tree: Tree) -> Tree:
    """Copies of the arrays of one example, as a batch of one."""
    return {name: batched(value) if isinstance(value, dict) else np.array(value)[None] for name, value in tree.items()}


def filled(given: Tree | None, otherwise: Tree) -> Tree:
    """What was given, and something else for the parts that nothing was given for."""
    if given is None:
        return otherwise
    return {
        name: filled(given[name], other) if isinstance(other, dict) else given[name] for name, other in otherwise.items()
    }


def mapped(tree: Tree, change: Callable[[Array], Array]) -> Tree:
    """Every array changed."""
    return {name: mapped(value, change) if isinstance(value, dict) else change(value) for name, value in tree.items()}


def joined(trees: Sequence[Tree]) -> Tree:
    """The batches of trees of the same parts as one batch."""
    first = trees[0]
    return {
        name: joined([tree[name] for tree in trees])
        if isinstance(value, dict)
        else np.concatenate([tree[name] for tree in trees])
        for name, value in first.items()
    }


def added(trees: Sequence[Tree]) -> Tree:
    """The sums of the arrays of trees of the same parts."""
    first = trees[0]
    return {
        name: added([tree[name] for tree in trees])
        if isinstance(value, dict)
        else np.sum([tree[name] for tree in trees], axis=0, dtype=value.dtype)
        for name, value in first.items()
    }


def flat(tree: Tree, before: str = "") -> dict[str, Array]:
    """Arrays by name, the names of their parts in front, a point between."""
    leaves: dict[str, Array] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return leaves


def nested(leaves: Mapping[str, Array]) -> Tree:
    """The tree that `flat` made flat."""
    tree: Tree = {}
    for name, value in leaves.items():
        *parts, last = name.split(".")
        inner = tree
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return tree


def row_shapes(tree: Tree) -> dict[str, Shape]:
    """Shapes by name, without the batch."""
    return {name: tuple(value.shape[1:]) for name, value in flat(tree).items()}
