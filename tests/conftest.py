"""Before NumPy is imported: one thread for its linear algebra.

The matrices of tests are small, and threads that wait for one another on a shared machine can make them tenfold slower.
"""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
