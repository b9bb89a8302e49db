"""Ctrl-C while the command starts: it ends at once and quietly, with 130.

Python's own handler raises `KeyboardInterrupt` wherever it is, amid the import of NumPy too, where nothing can catch it. So
this comes before all other imports; `elman.cli.main` puts Python's handler back. In other programs nothing is changed.
"""

import os
import signal
import sys


def is_command() -> bool:
    """Whether this process is the command: its script, or `python -m elman`."""
    program, module = os.path.basename(sys.argv[0] if sys.argv else ""), sys.orig_argv[1:]
    as_module = program == "-m" and "elman" in module[module.index("-m") + 1 : module.index("-m") + 2]
    return as_module or program in ("elman", "elman.exe")


def hear_again() -> None:
    """From now on Ctrl-C raises, as ever; where it is ignored, it stays so."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, _: object) -> None:
    os._exit(128 + number)


if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)
