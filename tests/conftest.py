"""Before NumPy is imported: one thread for its linear algebra.

The matrices of tests are small, and threads that wait for one another on a shared machine can make them tenfold slower.
"""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

os.environ.setdefault("ELMAN_TARGET", "numpy")
"""What "auto" means in tests: thousands of random cells would each be compiled. Tests of the LLVM target ask for it."""
