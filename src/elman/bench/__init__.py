"""The benchmark: what this machine can do at most, what elman takes of it, and what the peers take for the same net.

A number is the median time of a call, over turns that go round all who are compared, divided by the steps of the call. In
the same turns two kernels of the compiled target's own emitter measure the machine, so the limit of a point is of the same
minute as its times. `limits.py` has the formula; `benchmarks/README.md` tells how to read the table.

`print(expected(rnn.plan))`, or `elman show MODEL --limits`, measures only what a plan would take, phase by phase.

What is measured is a `Point`; it is made a `Problem` with weights and inputs, which a peer gets as a `Net`; each `Way` to
run it gives its outputs before it is timed. To add a peer, write a class as those of `peers/` and put it into `peers.PEERS`.
"""

from elman.errors import MissingLibraryError

try:
    from elman.bench.plans import expected
except (ImportError, OSError) as error:  # it may be there and not load
    raise MissingLibraryError(f"elman.bench: the machine cannot be measured, llvmlite is missing ({error})") from error

__all__ = ["expected"]
