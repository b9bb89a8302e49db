"""What all tests share: one thread for NumPy's linear algebra, told before it is imported, and what is compiled.

The matrices of tests are small, and threads that wait for one another on a shared machine can make them tenfold slower.
"""

import os

import pytest

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

os.environ.setdefault("ELMAN_TARGET", "numpy")
"""What "auto" means in tests: thousands of random cells would each be compiled. Tests of the LLVM target ask for it."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """What a module's tests compile is compiled for them, whatever was kept before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELMAN_CACHE", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture
def small_sections(monkeypatch):
    """Also few examples fall into sections that are summed up apart, on the LLVM target."""
    monkeypatch.setattr("elman.targets.llvm.sections.LEAST", 2)
