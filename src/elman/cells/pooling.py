"""Pooling over time as cells: what has come so far, as one vector. At a sequence's end that is the pooled sequence.

Being cells they honour lengths, run in streams, and are differentiated like all others.
"""

from typing import Any

from elman.declare import state
from elman.gates import greater, maximum, where
from elman.trace import cell


@cell
def running_mean(x, total=state("input"), count=state("input")) -> Any:  # type: ignore[no-untyped-def]
    """y<t> = (x<1> + ... + x<t>) / t    global average pooling: Lin et al., Network in network, 2014."""
    total = total + x
    count = count + 1.0
    return total / count, total, count


@cell
def running_max(x, highest=state("input"), count=state("input")) -> Any:  # type: ignore[no-untyped-def]
    """y<t> = max(x<1>, ..., x<t>)    max over time: Collobert et al., Natural language processing from scratch, 2011."""
    highest = where(greater(count, 0.5), maximum(highest, x), x)
    return highest, highest, count + 1.0
