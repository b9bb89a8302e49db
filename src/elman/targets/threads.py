"""Threads: how many there may be, and a pool of them that runs parts of a call side by side.

What a thread computes does not depend on how many there are: examples are split between them, or the lanes of vectors, and
neither changes a bit.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from elman.errors import SettingError

ENOUGH = 4e6
"""Multiplications that a thread should have: some tenth of a millisecond, for waking a thread takes a twentieth."""


class Threads:
    """The number of threads, and those that wait for work."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()
        if hasattr(os, "register_at_fork"):  # threads do not live on in a child
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._pool, self._lock = None, Lock()

    @property
    def count(self) -> int:
        """How many threads a call may use: what was asked for, else the machine's cores."""
        return self._asked or available()

    def ask(self, count: int | None) -> None:
        """Use up to so many threads; None for the machine's cores. Raises `SettingError` for a number below 1."""
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise SettingError(
                f"threads({count!r}): a number of threads, 1 or more, is wanted, or None for the machine's cores"
            )
        self._asked = count

    def useful(self, work: float) -> int:
        """How many threads so many multiplications are worth; all that were asked for, if they were."""
        return self._asked or max(1, min(self.count, int(work / ENOUGH)))

    def run(self, parts: Iterable[Callable[[], None]]) -> None:
        """Run all parts at the same time, one of them on the caller's thread; returns when all are done."""
        first, *others = parts
        waiting = [self._workers(len(others)).submit(part) for part in others]
        try:
            first()
        finally:
            for future in waiting:
                future.result()

    def _workers(self, count: int) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._pool._max_workers < count:
                self._pool = ThreadPoolExecutor(max(count, self.count), thread_name_prefix="elman")
            return self._pool


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
