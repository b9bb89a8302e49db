"""What errors say: one line, to the letter, of one class and no other."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from elman.errors import ElmanError


def said(call: Callable[[], Any], error: type[Exception]) -> str:
    """The words of the error that a call raises."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert issubclass(error, ElmanError)
    text = str(caught.value)
    assert "\n" not in text
    assert "object at 0x" not in text
    return text


def raises(error: type[Exception], message: str) -> Any:
    """The whole message."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")
