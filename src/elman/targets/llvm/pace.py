"""Whether threads are worth it: how long calls took alone and together, as far as that is known.

Other processes may want the same cores. A worker that waits for its core holds up all that share a step with it, so that two
threads can be several times slower than one. What is computed is the same, so what was faster lately may decide.
"""

FIRST, LONGEST = 8, 512
"""Calls for which nothing is tried again after threads were slower: at first, and at the most, as it doubles every time."""

TRIES = 3
"""Calls in a row in which threads may be slower: the first of them wakes them."""

FADING = 1.05
"""What the best time of one thread is worth after every other call: it may have been that of a quieter machine."""


class Pace:
    """Times of a program at one size of a batch, in seconds for a row; threads may change them at the same time."""

    def __init__(self) -> None:
        self._alone: float | None = None
        self._left, self._break, self._slower = 0, FIRST, 0

    @property
    def together(self) -> bool:
        """Whether to try threads: not before one has shown how long it takes, nor soon after they were slower."""
        return self._alone is not None and not self._left

    def took(self, together: bool, seconds: float) -> None:
        """Learn how long a row took."""
        alone = self._alone
        if not together:
            self._alone = seconds if alone is None else min(alone * FADING, seconds)
            self._left = max(0, self._left - 1)
        elif alone is None or seconds <= alone:
            self._break, self._slower = FIRST, 0
        else:
            self._slower += 1
            if self._slower == TRIES:
                self._left, self._break, self._slower = self._break, min(2 * self._break, LONGEST), 0
