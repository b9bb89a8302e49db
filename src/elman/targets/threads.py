"""Threads: how many a call may use, and on which cores they run.

What a thread computes does not depend on how many there are: they share examples, or lanes of vectors, and neither changes a
bit.
"""

import ctypes
import os
from contextlib import suppress
from numbers import Integral

from elman.errors import SettingError


class Threads:
    """The number of threads that a call may use."""

    def __init__(self) -> None:
        self._asked: int | None = None

    @property
    def is_asked(self) -> bool:
        """Whether somebody said how many."""
        return self._asked is not None

    @property
    def count(self) -> int:
        """How many threads a call may use: what was asked for, else the machine's cores."""
        return self._asked or available()

    def ask(self, count: int | None) -> None:
        """Use up to so many threads; None for the machine's cores. Raises `SettingError` for a number below 1."""
        if count is not None and (isinstance(count, bool) or not isinstance(count, Integral) or count < 1):
            raise SettingError(
                f"threads({count!r}): a number of threads, 1 or more, is wanted, or None for the machine's cores"
            )
        self._asked = None if count is None else int(count)

    def useful(self, work: float, enough: float) -> int:
        """How many threads some work is worth, if each should have enough of it; all that were asked for, if they were."""
        if self._asked:
            return self._asked
        worth = int(work / enough)
        return 1 if worth < 2 else min(self.count, worth)


class Cores:
    """On which core a thread runs, where the system tells.

    A thread that is woken is often put on the core of the one that woke it, where it waits for its turn, some milliseconds,
    while another core is idle. So a worker is moved to another core before it is woken; it is not bound to it.
    """

    def __init__(self) -> None:
        self._ask = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None

    def place(self, thread: int | None, k: int) -> set[int]:
        """Move a sleeping thread to the k-th core from the caller's; returns the cores that it may use when it is awake."""
        with suppress(OSError):
            here, allowed = self._ask() if self._ask else -1, os.sched_getaffinity(0) if self._ask else set()
            if thread and here in allowed:
                cores = sorted(allowed)
                os.sched_setaffinity(thread, {cores[(cores.index(here) + k) % len(cores)]})
                return allowed
        return set()

    def free(self, allowed: set[int]) -> None:
        """Let the calling thread use these cores again."""
        with suppress(OSError):
            if allowed:
                os.sched_setaffinity(0, allowed)


cores = Cores()


def available() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


shared = Threads()


def threads(count: int | None = None) -> int:
    """Set how many threads a call may use (None: the machine's cores where the work is large enough), and return it.

    Results do not depend on it, not by a bit. Raises `SettingError` for a number below 1.

    >>> threads(2), threads(None) >= 1
    (2, True)
    """
    shared.ask(count)
    return shared.count
