"""ONNX Runtime as what runs a file: one thread, and nothing said but what ends it."""

from os import PathLike
from typing import Any

import pytest

onnxruntime = pytest.importorskip("onnxruntime")


def session_of(model: bytes | str | PathLike[str]) -> Any:
    """A file, or what stands in one, ready to run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
