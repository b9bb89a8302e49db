"""The machine that is compiled for: this one, or a lesser one that it can stand in for.

`ELMAN_MACHINE=avx2` in the environment, or `with elman.machine("avx2"):`, forces a lesser one: bits are equal on all. There
are avx512, avx2, avx2-128 (its instructions on vectors of 128 bits) and neon.
"""

import platform
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from elman.errors import SettingError
from elman.targets.forced import VARIABLE, forced_machine, wanted_machine


@dataclass(frozen=True)
class Machine:
    """A processor as LLVM names it, bytes of its vectors, and how many vector registers it has."""

    name: str
    cpu: str
    features: str
    bytes: int
    registers: int


@cache
def initialize() -> None:
    """Make LLVM ready for this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def machines() -> dict[str, Machine]:
    """What this machine can be compiled for, the best first; none where it has no fused multiply-add."""
    initialize()
    features, cpu = llvm.get_host_cpu_features(), llvm.get_host_cpu_name()
    found = []
    if platform.machine().lower() in ("aarch64", "arm64"):
        found.append(Machine("neon", cpu, features.flatten(), 16, 32))
    if all(features.get(name, False) for name in ("avx512f", "avx512vl", "avx512dq", "avx512bw", "fma")):
        # Without the last word LLVM would halve the vectors on some machines.
        found.append(Machine("avx512", cpu, features.flatten() + ",-prefer-256-bit", 64, 32))
    if features.get("avx2", False) and features.get("fma", False):
        found.append(Machine("avx2", "x86-64-v3", "", 32, 16))
        found.append(Machine("avx2-128", "x86-64-v3", "", 16, 16))  # as wide as NEON's: to show that widths change no bit
    return {machine.name: machine for machine in found}


def current() -> Machine | None:
    """The machine to compile for now; None where there is none. Raises `SettingError` for a name that is unknown here."""
    name, found = wanted_machine(), machines()
    origin = "" if forced_machine.get() else f"{VARIABLE}: "
    return known(name, origin) if name and found else next(iter(found.values()), None)


def known(name: str, origin: str = "") -> Machine:
    """A machine by name. Raises `SettingError` for one that this machine cannot stand in for, and says who asked for it."""
    found = machines()
    if name not in found:
        raise SettingError(f"{origin}machine {name!r} is unknown here; it is one of {', '.join(found) or 'none'}")
    return found[name]
