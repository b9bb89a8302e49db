"""Threads that run parts of a call beside the caller's.

To wake a thread takes a twentieth of a millisecond, as long as many a call. So a worker that has done its part looks for the
next one for a while, in machine code and without Python's lock, and sleeps only then. Each has a box in memory:

    state       asleep, ready (it looks for a part), posted (a part is in the box), or taken (it runs the part)
    run ...     the function and its arguments
    next        the box of another worker; 0 in the last

Whoever posts a part wakes a worker that was asleep. One that is woken in vain goes to sleep again.

A signal may raise an exception wherever Python calls something. So the crew is taken, parts are posted, waited for and taken
back, and the crew is given back in machine code: each by a single call, which a signal comes before or after.
"""

import os
import sys
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, PYFUNCTYPE, c_int64
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from elman.gates import Array
from elman.rooms import LINE, aligned
from elman.targets.llvm import engine
from elman.targets.llvm.frame import POINTER
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.meeting import THROUGH
from elman.targets.llvm.memory import address
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.vectors import INDEX, Value
from elman.targets.llvm.waiting import until
from elman.targets.threads import cores

ASLEEP, READY, POSTED, TAKEN = range(4)
STATE, RUN, NEXT = 0, 1, 7
"""Words of a box, which is a line of the cache."""

HOLDER, FIRST = 0, 1
"""Words of the crew: the call that has it, or 0, and the box of its last worker, from which all are reached."""

LINGER = 4000
"""Looks for the next part before a worker sleeps: most of a millisecond, longer than Python takes from one training step to
the next. To wake it takes a twentieth of one, and Python's lock."""

Job = tuple[int, int, int, int, int]
"""Arguments of a kernel: table, workspace, first, last, part."""


# --- machine code -----------------------------------------------------------------------------------------------------


def text() -> str:
    """The IR of what is done with boxes."""
    module = ir.Module("crew")
    module.triple = llvm.get_process_triple()
    nothing = ir.VoidType()
    for write, result, arguments in (
        (_take, INDEX, [POINTER, INDEX]), (_post, INDEX, [POINTER]), (_serve, nothing, [POINTER]),
        (_finish, nothing, [POINTER]), (_leave, nothing, [POINTER, INDEX, POINTER]),
    ):  # fmt: skip
        function = ir.Function(module, ir.FunctionType(result, arguments), write.__name__[1:])
        write(ir.IRBuilder(function.append_basic_block("begin")), *function.args)
    return str(module)


def _word(b: ir.IRBuilder, memory: Value, word: int) -> Value:
    return b.gep(memory, [INDEX(word)], source_etype=INDEX)


def _turned(b: ir.IRBuilder, word: Value, before: Value, after: Value) -> Value:
    """Whether the word was the one, and is the other now."""
    return b.extract_value(b.cmpxchg(word, before, after, "acq_rel", "acquire"), 1)


def _is(b: ir.IRBuilder, word: Value, order: str, number: Value) -> Value:
    return b.icmp_signed(order, b.load_atomic(word, "acquire", 8, typ=INDEX), number)


def _for_each(b: ir.IRBuilder, crew: Value, do: Callable[[Value], None]) -> None:
    """Do something with the box of every worker."""
    look, each, end = (b.append_basic_block(name) for name in ("box", "each", "end"))
    first, before = b.load(_word(b, crew, FIRST), typ=POINTER), b.block
    b.branch(look)
    b.position_at_end(look)
    box = b.phi(POINTER)
    box.add_incoming(first, before)
    b.cbranch(b.icmp_unsigned("!=", box, POINTER(None)), each, end)
    b.position_at_end(each)
    do(box)
    box.add_incoming(b.load(_word(b, box, NEXT), typ=POINTER), b.block)
    b.branch(look)
    b.position_at_end(end)


def _take(b: ir.IRBuilder, crew: Value, call: Value) -> None:
    """`take(crew, call)`: whether a call has the crew now."""
    b.ret(b.zext(_turned(b, _word(b, crew, HOLDER), INDEX(0), call), INDEX))


def _post(b: ir.IRBuilder, box: Value) -> None:
    """`post(box)`: a part is in the box; whether the worker looks for it, and need not be woken."""
    before = b.atomic_rmw("xchg", _word(b, box, STATE), INDEX(POSTED), "acq_rel")
    b.ret(b.zext(b.icmp_signed("==", before, INDEX(READY)), INDEX))


def _serve(b: ir.IRBuilder, box: Value) -> None:
    """`serve(box)`: run what is posted, until nothing has been for a while."""
    state = _word(b, box, STATE)
    again, take, work, end = (b.append_basic_block(name) for name in ("again", "take", "work", "end"))
    b.branch(again)
    b.position_at_end(again)
    leave = until(b, lambda: _is(b, state, "==", INDEX(POSTED)), LINGER)
    b.branch(take)
    b.position_at_end(leave)
    _turned(b, state, INDEX(READY), INDEX(ASLEEP))  # or a part has just come, or it slept already
    b.branch(take)
    b.position_at_end(take)
    b.cbranch(_turned(b, state, INDEX(POSTED), INDEX(TAKEN)), work, end)
    b.position_at_end(work)
    kinds = [POINTER, POINTER, INDEX, INDEX, INDEX]
    arguments = [b.load(_word(b, box, RUN + 1 + k), typ=kind) for k, kind in enumerate(kinds)]
    run = b.inttoptr(b.load(_word(b, box, RUN), typ=INDEX), ir.FunctionType(ir.VoidType(), kinds).as_pointer())
    b.call(run, arguments)
    b.atomic_rmw("xchg", state, INDEX(READY), "acq_rel")
    b.branch(again)
    b.position_at_end(end)
    b.ret_void()


def _finish(b: ir.IRBuilder, crew: Value) -> None:
    """`finish(crew)`: wait until all parts are done, and give the crew back."""
    _for_each(b, crew, lambda box: until(b, lambda: _is(b, _word(b, box, STATE), "<=", INDEX(READY))) and None)
    b.atomic_rmw("xchg", _word(b, crew, HOLDER), INDEX(0), "acq_rel")
    b.ret_void()


def _leave(b: ir.IRBuilder, crew: Value, call: Value, counter: Value) -> None:
    """`leave(crew, call, counter)`: if the call has the crew, take back parts that wait, let the others through, finish."""
    with b.if_then(_is(b, _word(b, crew, HOLDER), "==", call)):
        with b.if_then(b.icmp_unsigned("!=", counter, POINTER(None))):
            b.atomic_rmw("xchg", counter, INDEX(THROUGH), "acq_rel")
        _for_each(b, crew, lambda box: _turned(b, _word(b, box, STATE), INDEX(POSTED), INDEX(ASLEEP)) and None)
        b.call(b.module.globals["finish"], [crew])
    b.ret_void()


class Functions(NamedTuple):
    """The machine code, and what keeps it in memory. What waits lets go of Python's lock; the others are too short."""

    take: Any
    post: Any
    serve: Any
    finish: Any
    leave: Any
    engine: Any


def _compiled(machine: Machine) -> Functions:
    written = text()
    key = key_of("crew", emitter(), llvmlite.__version__, llvm.llvm_version_info, machine)
    code = engine.loaded(key, lambda: written, machine)
    found = {name: code.get_function_address(name) for name in Functions._fields[:-1]}
    return Functions(
        PYFUNCTYPE(c_int64, c_int64, c_int64)(found["take"]),
        PYFUNCTYPE(c_int64, c_int64)(found["post"]),
        CFUNCTYPE(None, c_int64)(found["serve"]),
        CFUNCTYPE(None, c_int64)(found["finish"]),
        CFUNCTYPE(None, c_int64, c_int64, c_int64)(found["leave"]),
        code,
    )


# --- the crew ---------------------------------------------------------------------------------------------------------


class Worker:
    """A thread and its box."""

    def __init__(self, number: int, functions: Functions, following: int) -> None:
        self._number, self._functions, self._cores = number, functions, set[int]()
        self._thread = Thread(target=self._work, name=f"elman-{number}", daemon=True)
        self._box = _line()
        self._box[NEXT] = following
        self.at, self._wake = address(self._box), SimpleQueue[None]()

    def begin(self) -> bool:
        """Whether the thread could begin."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def give(self, run: int, job: Job) -> None:
        """A part to run; the last one must be done."""
        self._box[RUN:NEXT] = (run, *job)
        if not self._functions.post(self.at):  # it sleeps
            self._cores = cores.place(self._thread.native_id, self._number)
            self._wake.put(None)

    def _work(self) -> None:
        while True:
            self._wake.get()
            cores.free(self._cores)
            self._functions.serve(self.at)


class Crew:
    """The workers of this process; one call at a time has them."""

    def __init__(self) -> None:
        self._functions: Functions | None = None
        self._forget()
        if hasattr(os, "register_at_fork"):  # threads do not live on in a child
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._memory, self._workers = _line(), list[Worker]()
        self._at = address(self._memory)

    def _compile(self, machine: Machine) -> Functions:
        """For the first machine that is asked for: any that this one can be will do."""
        self._functions = _compiled(machine)
        return self._functions

    @property
    def is_free(self) -> bool:
        """Whether no call has the workers. All cores are busy while one does."""
        return not self._memory[HOLDER]

    def run(self, code: engine.Code, jobs: Sequence[Job], machine: Machine, counter: int = 0) -> bool:
        """Run all jobs at the same time, the first on the caller's thread; returns when all are done.

        Or returns False, and nothing was run: another call has the crew, or no thread can begin any more. `counter` is the
        address of that of the meetings of parts that meet.
        """
        functions, at, call = self._functions or self._compile(machine), self._at, id(jobs)
        try:
            if sys.is_finalizing() or not functions.take(at, call):
                return False
            has = self._has(len(jobs) - 1, functions)
            if has:
                for worker, job in zip(self._workers, jobs[1:], strict=False):
                    worker.give(code.address, job)
                code.call(*jobs[0])
            functions.finish(at)
        except BaseException:
            functions.leave(at, call, counter)
            raise
        return has

    def _has(self, count: int, functions: Functions) -> bool:
        """Whether there are so many workers, once those that are missing have begun."""
        while len(self._workers) < count:
            worker = Worker(len(self._workers) + 1, functions, int(self._memory[FIRST]))
            if not worker.begin():
                return False
            self._memory[FIRST] = worker.at
            self._workers.append(worker)
        return True


def _line() -> Array:
    line = aligned((LINE // 8,), np.dtype(np.int64))
    line[:] = 0
    return line


crew = Crew()
