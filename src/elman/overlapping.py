"""Truncation with overlap: the losses of every k1 steps are followed back through k2 steps, from the last of them.

Windows of up to k2 steps begin at states of the forward run and run side by side, as a batch: BPTT(k2; k1) of Williams and
Peng, An efficient gradient-based algorithm for on-line training of recurrent network trajectories, 1990.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from operator import itemgetter

import numpy as np

from elman.flow import Flow, Passed
from elman.gates import Array
from elman.trees import Tree, added, joined, mapped

Run = Callable[[Flow, Tree | None], Passed]
"""A layer at work."""


@dataclass(frozen=True)
class Window:
    """Steps `start` to `stop` through which a gradient flows; those of them whose losses it is of begin at `own`."""

    start: int
    own: int
    stop: int


def overlapped(run: Run, flow: Flow, states: Tree | None) -> Passed:
    """Run forward as the flow's pair (k1, k2) says; the gradient goes back window by window."""
    steps = len(flow.x)
    assert flow.overlap is not None, "a pair was asked for"
    (k1, k2), flow = flow.overlap, replace(flow, overlap=None)
    if not steps:
        return run(flow, states)
    windows = [Window(max(0, at + k1 - k2), at, min(at + k1, steps)) for at in range(0, steps, k1)]
    plain, before, outputs, last = replace(flow, gradient=False), dict[int, Tree](), [], states
    for start, stop in pairwise(sorted({0, *(window.start for window in windows), steps})):
        if last is not None:
            before[start] = last
        passed = run(_stretch(plain, start, stop), last)
        outputs.append(passed.y)
        last = passed.states
    assert last is not None, "a run gives a state"
    first = [window for window in windows if not window.start]
    later = [window for window in windows if window.start]
    sides = [_Side(run, flow, first, None if states is None else joined([states] * len(first)))]
    if later:
        sides.append(_Side(run, flow, later, joined([before[window.start] for window in later])))

    def back(dy: Array, d_last: Tree) -> tuple[dict[str, Array], Array | None, Tree]:
        parameters, d_x, d_first = sides[0].back(dy, d_last)
        for side in sides[1:]:
            found, d_later, _ = side.back(dy, d_last)
            parameters = {name: value + found[name] for name, value in parameters.items()}
            d_x = None if d_x is None or d_later is None else d_x + d_later
        return parameters, d_x, d_first

    return Passed(np.concatenate(outputs), last, {}, back)


def _stretch(flow: Flow, start: int, stop: int) -> Flow:
    """Some of the steps."""
    lengths = None if flow.lengths is None else np.clip(flow.lengths - start, 0, stop - start)
    reset = None if flow.reset is None else flow.reset[start:stop]
    return replace(flow, x=flow.x[start:stop], lengths=lengths, reset=reset)


class _Side:
    """Windows side by side: a batch of theirs, window after window, that runs once and waits for the gradient."""

    def __init__(self, run: Run, flow: Flow, windows: Sequence[Window], states: Tree | None) -> None:
        self._windows, (self._steps, self._batch) = windows, flow.x.shape[:2]
        self._longest = max(window.stop - window.start for window in windows)
        self._ends = np.full(self._batch, self._steps) if flow.lengths is None else flow.lengths
        held = [np.clip(self._ends - window.start, 0, window.stop - window.start) for window in windows]
        reset = None if flow.reset is None else self._laid(flow.reset, [window.start for window in windows])
        x = self._laid(flow.x, [window.start for window in windows])
        passed = run(replace(flow, x=x, lengths=np.concatenate(held), reset=reset), states)
        assert passed.back is not None, "a gradient was asked for"
        self._back = passed.back

    def _laid(self, value: Array, starts: Sequence[int]) -> Array:
        """The steps of each window, `[T, B, ...]`, from some step on."""
        laid = np.zeros((self._longest, len(self._windows), *value.shape[1:]), value.dtype)
        for k, (window, start) in enumerate(zip(self._windows, starts, strict=True)):
            laid[start - window.start : window.stop - window.start, k] = value[start : window.stop]
        return laid.reshape(self._longest, -1, *value.shape[2:])

    def back(self, dy: Array, d_last: Tree) -> tuple[dict[str, Array], Array | None, Tree]:
        """The gradients of all windows; that for the last state belongs to the window in which an example ends."""
        d_y = self._laid(dy, [window.own for window in self._windows])
        ending = [self._ends_in(window) for window in self._windows]
        d_states = joined([mapped(d_last, partial(_only, rows)) for rows in ending])
        parameters, d_laid, d_first = self._back(d_y, d_states)
        parts = [slice(k * self._batch, (k + 1) * self._batch) for k in range(len(self._windows))]
        d_x = None
        if d_laid is not None:
            d_x = np.zeros((self._steps, self._batch, *d_laid.shape[2:]), d_laid.dtype)
            for window, part in zip(self._windows, parts, strict=True):
                d_x[window.start : window.stop] += d_laid[: window.stop - window.start, part]
        return parameters, d_x, added([mapped(d_first, itemgetter(part)) for part in parts])

    def _ends_in(self, window: Window) -> Array:
        """Which examples have their last step among the own of a window; without a step it is the first window."""
        return (np.maximum(self._ends, 1) > window.own) & (self._ends <= window.stop)


def _only(rows: Array, d: Array) -> Array:
    """The gradients of some examples, zeros for the others."""
    return np.where(rows.reshape(-1, *[1] * (d.ndim - 1)), d, d.dtype.type(0))
