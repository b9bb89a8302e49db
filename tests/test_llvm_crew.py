"""The threads of the compiled target: they sleep and wake, survive forks, signals and exits, and change no bit.

What may crash runs in a process of its own; what hangs is ended after a minute.
"""

import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import RNN, cells
from elman.targets import threads as counted
from elman.targets.llvm import crew as crews
from elman.targets.llvm.crew import ASLEEP, STATE, Worker, crew
from elman.targets.llvm.machine import machines
from elman.targets.llvm.stage import Stage

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def watchdog():
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


class Calls:
    """Calls whose parts share examples, and lanes, and what they return on one thread."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.shared = RNN(cells.lstm, input=16, hidden=48, target="llvm")
        self.met = RNN(cells.gru, input=16, hidden=128, target="llvm")
        self.x = rng.normal(size=(6, 12, 16)).astype(np.float32)
        elman.threads(1)
        self.wanted = [self.shared(self.x), self.met(self.x[0])]

    def check(self) -> None:
        for (y, last), (wanted, end) in zip((self.shared(self.x), self.met(self.x[0])), self.wanted, strict=True):
            np.testing.assert_array_equal(y, wanted)
            for name, value in end.items():
                np.testing.assert_array_equal(last[name], value)


@pytest.fixture(scope="module")
def made():
    return Calls()


@pytest.fixture
def calls(made):
    elman.threads(3)
    yield made
    elman.threads(None)


HEAD = """
    import atexit, dis, faulthandler, os, signal, sys, threading, time
    import numpy as np

    faulthandler.dump_traceback_later(60, exit=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
    sys.path.insert(0, "tests")
    import elman
    from test_llvm_crew import Calls
    from elman.targets.llvm.crew import crew

    calls = Calls()
    elman.threads(3)
"""


def python(script: str) -> str:
    """What a script prints, after the calls were made, in a process of its own."""
    given = dict(os.environ) | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", dedent(HEAD) + dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, env=given, cwd=ROOT, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout


def states() -> list[int]:
    return [int(worker._box[STATE]) for worker in crew._workers]


def rest() -> None:
    """Until all workers sleep."""
    until = time.monotonic() + 10
    while any(state != ASLEEP for state in states()) and time.monotonic() < until:
        time.sleep(0.005)
    assert not any(states())


# ---------------------------------------------------------------- as it should be


def test_workers_sleep_after_a_while_and_wake(calls):
    for _ in range(5):
        calls.check()
        assert len(crew._workers) >= 2
        rest()
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25, "who has nothing to do takes no time"
    calls.check()


def test_calls_at_any_distance(calls):
    """Some come while the workers look, some while they sleep, and some while they fall asleep."""
    rng, until = np.random.default_rng(1), time.monotonic() + 1
    while time.monotonic() < until:
        pause = time.perf_counter() + rng.uniform(0, 4e-4)
        while time.perf_counter() < pause:
            pass
        calls.check()


@pytest.mark.parametrize("count", [2, 5, 33])
def test_more_threads_than_cores(calls, count):
    elman.threads(count)
    for _ in range(5):
        calls.check()


def test_calls_from_many_threads(calls):
    failures: list[BaseException] = []
    until = time.monotonic() + 1

    def work() -> None:
        try:
            while time.monotonic() < until:
                calls.check()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    assert crew.is_free


def test_who_is_woken_in_vain_sleeps_on(calls):
    calls.check()
    rest()
    for worker in crew._workers:
        worker._wake.put(None)
    time.sleep(0.05)
    assert not any(states())
    calls.check()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_has_workers_of_its_own():
    """Forked by one thread while another is in a call; a child forks, too."""
    script = """
        ended = threading.Event()
        def work():
            while not ended.is_set():
                calls.check()
        calls.check()  # compiles: a child of that moment would wait forever for LLVM's lock
        thread = threading.Thread(target=work)
        thread.start()
        def forked(depth):
            number = os.fork()
            if number:
                assert os.waitpid(number, 0)[1] == 0
                return
            status = 1
            try:
                assert crew.is_free and not crew._workers
                for _ in range(5):
                    calls.check()
                if depth:
                    forked(depth - 1)
                status = 0
            finally:
                os._exit(status)
        for _ in range(10):
            forked(1)
        ended.set()
        thread.join()
        calls.check()
        print("forked")
    """
    assert python(script) == "forked\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds nobody to a core")
def test_one_core_only():
    script = """
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for count in (3, None, 2):
            elman.threads(count)
            for _ in range(20):
                calls.check()
        print("done")
    """
    assert python(script) == "done\n"


@pytest.mark.parametrize(
    "end",
    [
        "calls.check(); print('done', flush=True)",
        "calls.check(); print('done', flush=True); sys.exit()",
        "atexit.register(lambda: (calls.check(), print('done', flush=True)))",
        "calls.check(); atexit.register(lambda: (calls.check(), print('done', flush=True)))",
    ],
)
def test_a_process_ends(end):
    """While workers look for work; at its end they are asked once more, or for the first time."""
    assert python(end) == "done\n"


# ---------------------------------------------------------------- where something goes wrong


def test_a_thread_that_cannot_begin(calls, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(crew, "_workers", [])  # others are in the chain, and stay
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        calls.check()
        assert not crew._workers
    assert crew.is_free
    calls.check()
    assert len(crew._workers) == 2


def test_an_error_before_the_parts_begin_leaves_the_crew_free(calls, monkeypatch):
    def interrupted(self, order):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            calls.shared(calls.x)
    assert crew.is_free
    calls.check()


def test_workers_do_not_die_where_nobody_may_ask_for_cores(calls, monkeypatch):
    def forbidden(number):
        raise PermissionError("sched_getaffinity")

    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system binds nobody to a core")
    calls.check()
    rest()
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", forbidden)
        calls.check()
        rest()
    calls.check()


def test_a_part_that_nobody_began_is_taken_back(calls, monkeypatch):
    """The wake never comes: the part is not run, now or later, and the worker is as before."""
    calls.check()
    rest()

    def interrupted(*_):
        raise KeyboardInterrupt

    for call in (lambda: calls.shared(calls.x), lambda: calls.met(calls.x[0])):
        with monkeypatch.context() as patch:
            patch.setattr(crews.cores, "place", interrupted)
            with pytest.raises(KeyboardInterrupt):
                call()
        assert crew.is_free
        assert not any(states())
        calls.check()
        rest()


def test_an_interrupted_push_has_not_happened(monkeypatch):
    """Threads share a step of a wide stream, whose state is changed in place."""
    rnn, rng = RNN(cells.lstm, input=8, hidden=320, target="llvm"), np.random.default_rng(2)
    x = rng.normal(size=(6, 8)).astype(np.float32)
    give = Worker.give

    def interrupted(self, run, job):
        give(self, run, job)
        raise KeyboardInterrupt

    elman.threads(1)
    wanted = rnn(x)[0]
    elman.threads(2)
    try:
        stream = rnn.stream()
        for row, y in zip(x, wanted, strict=True):
            with monkeypatch.context() as patch:
                patch.setattr(Worker, "give", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    stream.push(row)
            np.testing.assert_array_equal(stream.push(row), y)
    finally:
        elman.threads(None)


STREAMS = {
    "one layer": lambda: RNN(cells.gru, input=8, hidden=512, target="llvm"),
    "three": lambda: elman.Stack([RNN(cells.elman, input=n, hidden=512, target="llvm") for n in (8, 512, 512)]),
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends signals")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_is_where_the_pushes_that_returned_left_it(kind, threads):
    """Signals at any moment: steps, state and the next output belong together."""
    layer, rng = STREAMS[kind](), np.random.default_rng(3)
    x = rng.normal(size=(64, 8)).astype(np.float32)
    calm = layer.stream()
    wanted, states = zip(*((calm.push(row), calm.state) for row in x), strict=True)

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before, within = signal.signal(signal.SIGALRM, interrupt), 0
    elman.threads(threads)
    try:
        for delay in rng.uniform(1e-5, 1e-3, 80):
            stream, returned = layer.stream(), 0
            stream.push(x[0])  # the short way is open
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                for row in x[1:-1]:
                    stream.push(row)
                    returned += 1
                time.sleep(0.1)
            except KeyboardInterrupt:
                within += stream.steps < len(x) - 1
            assert stream.steps - 1 - returned in (0, 1)  # a push may have returned and not have been counted here
            assert stream.state == states[stream.steps - 1]
            step = stream.steps
            np.testing.assert_array_equal(stream.push(x[step]), wanted[step])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        elman.threads(None)
        signal.signal(signal.SIGALRM, before)
    assert within > 20


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_an_interrupted_call():
    script = """
        caught = 0
        for k in range(300):
            before = time.perf_counter()
            try:
                threading.Timer((k % 40) * 1e-4, os.kill, (os.getpid(), signal.SIGINT)).start()
                while time.perf_counter() < before + 1:
                    calls.shared(calls.x), calls.met(calls.x[0])
            except KeyboardInterrupt:
                caught += 1
            assert crew.is_free
            calls.check()
            if k % 3:
                time.sleep(0.001)
        print(caught)
    """
    assert python(script) == "300\n"


@pytest.mark.parametrize("signals", [1, 3])
@pytest.mark.parametrize("kind", ["shared", "met"])
def test_a_signal_wherever_python_looks_for_one(kind, signals):
    """At every call, beginning of a function and jump back: the exception comes out, and the next call is right.

    Several signals come one right behind the other, so that they meet the handling of the first, too.
    """
    script = """
        FILES = ("crew.py", "sharing.py", "threads.py", "memory.py", "threading.py")
        call = (lambda: calls.shared(calls.x)) if KIND == "shared" else (lambda: calls.met(calls.x[0]))

        class Signal(BaseException):
            pass

        seen, first, left, before = 0, None, 0, {}

        def look():
            global seen, left
            seen += 1
            if first is not None and seen > first and left:
                left -= 1
                raise Signal

        def trace(frame, event, argument):
            if event == "call":
                if os.path.basename(frame.f_code.co_filename) not in FILES:
                    return None
                frame.f_trace_opcodes, frame.f_trace_lines = True, False
                look()
            elif event == "opcode":
                last = before.get(frame, "")
                before[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
                if last.startswith(("CALL", "JUMP_BACKWARD")):
                    look()
            return trace

        def traced():
            global seen
            seen = 0
            before.clear()
            sys.settrace(trace)
            try:
                call()
            finally:
                sys.settrace(None)

        for _ in range(2):
            traced()
        points = seen
        assert points > 20
        for asleep in (True, False):
            for first in range(points):
                if asleep:
                    time.sleep(0.002)
                left = SIGNALS
                try:
                    traced()
                except Signal:
                    pass
                assert crew.is_free, first
                calls.check()
        print("done")
    """
    assert python(f"KIND, SIGNALS = {kind!r}, {signals}\n" + dedent(script)) == "done\n"


# ---------------------------------------------------------------- long calls


@pytest.mark.parametrize("asked", [None, 2])
def test_a_readout_of_many_steps_is_shared(asked, monkeypatch):
    """A map has no step to meet after, so no meeting costs anything."""
    monkeypatch.setattr(counted, "available", lambda: 2)
    model, tokens = elman.Model(98, 256, target="llvm", seed=1), np.zeros(1000, int)
    elman.threads(1)
    wanted = model.predict(tokens)
    elman.threads(asked)
    try:
        for _ in range(2):  # alone at first, and then together
            np.testing.assert_array_equal(model.predict(tokens), wanted)
    finally:
        elman.threads(None)
    assert len(set(wanted.tolist())) > 1
