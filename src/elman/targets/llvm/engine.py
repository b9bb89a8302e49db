"""From IR to machine code in this process: optimise, compile, keep on disk, load."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm

from elman.targets.llvm.machine import Machine, initialize
from elman.targets.llvm.store import store

Call = Callable[[Any, int, int, int, int], None]
"""A compiled `run(table, workspace, first, last, part)`; it lets other threads run meanwhile."""

KIND = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3)


@dataclass
class Code:
    """Machine code that stays as long as this does."""

    call: Call
    address: int
    engine: Any


def compiled(key: str, source: Callable[[], str], machine: Machine) -> Code:
    """The function `run` of a module."""
    engine = loaded(key, source, machine)
    address = engine.get_function_address("run")
    return Code(KIND(address), address, engine)


def loaded(key: str, source: Callable[[], str], machine: Machine) -> Any:
    """The engine that holds a module: from the store on disk, or compiled from its text and put there."""
    data = store.get(key)
    if data is None:
        data = object_code(source(), machine)
        store.put(key, data)
    initialize()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target(machine))
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    return engine


def object_code(text: str, machine: Machine) -> bytes:
    """An object file of the text of a module."""
    target = _target(machine)
    data: bytes = target.emit_object(_optimised(text, target))
    return data


def assembly(text: str, machine: Machine) -> str:
    """The machine code of the text of a module, for people."""
    target = _target(machine)
    listing: str = target.emit_assembly(_optimised(text, target))
    return listing


def _target(machine: Machine) -> Any:
    initialize()
    settings = {"cpu": machine.cpu, "features": machine.features, "opt": 3, "jit": True}
    return llvm.Target.from_default_triple().create_target_machine(**settings)


def _optimised(text: str, target: Any) -> Any:
    """What LLVM should improve: little, for the text says already what belongs into registers and what is unrolled."""
    module = llvm.parse_assembly(text)
    module.verify()
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options())
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return module
