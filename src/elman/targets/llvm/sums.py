"""Sums of all elements of a value, and how the lanes of vectors become one number.

Sums go in 16 lanes whatever the width of the vectors, element j to lane j mod 16, and the lanes meet in one fixed order, so
their bits depend neither on the machine nor on the batch.
"""

from collections.abc import Callable, Sequence

from llvmlite import ir

from elman.targets.llvm.frame import Frame
from elman.targets.llvm.vectors import Value, Vectors

LANES = 16
"""Lanes of every sum."""

Change = Callable[[Vectors, Value], Value]
"""What becomes of elements before they are summed."""


def summed(
    frame: Frame, v: Vectors, pointer: Value, offset: int, stride: int, size: tuple[int, int], change: Change
) -> Value:
    """The sum of what becomes of every element, over so many lines of so many elements each, `stride` apart."""
    b, (lines, width) = frame.b, size
    vectors, whole = LANES // v.width, width // LANES * LANES
    with frame.loop(frame.index(0), frame.index(lines), carried=[v.zero] * vectors) as line:
        start = b.add(b.mul(line.index, frame.index(stride)), frame.index(offset))
        with frame.loop(frame.index(0), frame.index(whole), LANES, carried=line.now) as over:
            at = [b.add(b.add(start, over.index), frame.index(k * v.width)) for k in range(vectors)]
            over.next = [v.add(now, change(v, v.load(pointer, here))) for now, here in zip(over.now, at, strict=True)]
        line.next = list(over.next)
        if width > whole:
            line.next = _add_rest(frame, v, pointer, b.add(start, frame.index(whole)), width - whole, line.next, change)
    return met(v, line.next, Vectors.add)


def _add_rest(
    frame: Frame, v: Vectors, pointer: Value, at: Value, count: int, totals: Sequence[Value], change: Change
) -> list[Value]:
    """The last elements of a line, which do not fill 16 lanes."""
    b, found = frame.b, []
    for k, total in enumerate(totals):
        held = min(max(count - k * v.width, 0), v.width)
        if not held:
            found.append(total)
            continue
        here = b.add(at, frame.index(k * v.width))
        values = v.load(pointer, here) if held == v.width else frame.load_some(v, pointer, here, held)
        changed = v.add(total, change(v, values))
        if held < v.width:
            mask = ir.Constant(ir.VectorType(ir.IntType(1), v.width), [int(lane < held) for lane in range(v.width)])
            changed = b.select(mask, changed, total)
        found.append(changed)
    return found


def met(v: Vectors, vectors: Sequence[Value], meet: Callable[[Vectors, Value, Value], Value]) -> Value:
    """One number of all lanes of some vectors: their first half meets the second, again and again."""
    while len(vectors) > 1:
        half = len(vectors) // 2
        vectors = [meet(v, x1, x2) for x1, x2 in zip(vectors[:half], vectors[half:], strict=True)]
    [x] = vectors
    while v.width > 1:
        v, x1, x2 = v.halves(x)
        x = meet(v, x1, x2)
    return x
