"""The compiled gradient against itself, to the bit: threads, machines, recomputation, memory that lies in any way, forks."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import DataError, Model, ShapeError, cells
from elman.targets.llvm.crew import crew
from elman.targets.llvm.machine import machines
from gradients import HIDDEN, Problem, assert_same, by_path, layer_of, of_kind, problem, rnn
from test_llvm_robust import LAYOUTS, python

MACHINES = tuple(machines())
if not MACHINES:
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store", "small_sections")


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    yield
    elman.threads(None)


LARGE = {  # the cell, its size, rows, steps, and whether it reads tokens: lanes are shared, and totals
    "a batch": ("gru", 256, 32, 6, False),
    "tokens": ("elman", 256, 32, 5, True),
    "a sequence": ("elman", 256, 1, 40, False),
}


def large(name: str) -> Problem:
    cell, hidden, rows, steps, tokens = LARGE[name]
    p = problem(rnn(cell, 40, hidden, target="llvm"), rows, steps, tokens=tokens)
    return p if rows > 1 else replace(p, lengths=None)


# ---------------------------------------------------------------- threads and machines


@pytest.mark.parametrize("name", LARGE)
def test_threads_change_no_bit(name, monkeypatch):
    """More than there are cores, too; and they do share the forward and the backward direction."""
    p, run, taken = large(name), crew.run, []
    monkeypatch.setattr(crew, "run", lambda code, jobs, *rest: taken.append(len(jobs)) or run(code, jobs, *rest))
    elman.threads(1)
    wanted = p.solve()
    assert not taken
    for count in (2, 3) if name == "a batch" else (2, 2):
        taken.clear()
        elman.threads(count)
        assert_same(p.solve(), wanted, f"{count} threads")
        assert taken.count(count) >= 2
    elman.threads(None)
    for _ in range(3):
        assert_same(p.solve(), wanted)


@pytest.mark.parametrize(("kind", "dtype", "truncate"), [("lstm", "float32", (2, 3)), ("elman", "float64", None)])
def test_machines_change_no_bit(kind, dtype, truncate):
    """Wide vectors and narrow ones, on one thread and two in turn."""
    p = of_kind(kind, dtype)
    wanted = p.solve(truncate=truncate)
    for k, machine in enumerate(MACHINES):
        elman.threads(2 - k % 2)
        with elman.machine(machine):
            assert_same(p.solve(truncate=truncate), wanted, machine)


def test_a_model_gives_the_same_bits():
    """Loss and gradients with the read-out, on threads and machines; large enough that the read-out is shared."""
    model = Model(300, 64, None, cells.gru, seed=1, target="llvm")
    tokens = np.random.default_rng(1).integers(300, size=(9, 41))
    lengths = np.array([40, 3, 0, 17, 39, 40, 25, 8, 1])
    elman.threads(1)
    loss, wanted, last = model.gradients(tokens[:, :-1], tokens[:, 1:], lengths=lengths)
    for k, machine in enumerate(MACHINES):
        count = 2 - k % 2
        elman.threads(count)
        with elman.machine(machine):
            again, found, end = model.gradients(tokens[:, :-1], tokens[:, 1:], lengths=lengths, recompute=count == 2)
        assert again == loss
        assert_same(found | dict(by_path(end, "last")), wanted | dict(by_path(last, "last")), f"{machine} {count}")


# ---------------------------------------------------------------- recomputation and long sequences

AGAIN = [
    ("lstm", None),
    ("lstm", 2),
    ("lstm", (2, 3)),
    ("stack", None),
    ("both ways", None),
    ("both ways", 3),
    ("rwkv", None),
]
"""Kinds whose backward direction is compiled, and where it is cut."""


@pytest.mark.parametrize(("kind", "truncate"), AGAIN)
def test_what_is_recomputed_has_the_same_bits(kind, truncate):
    p, seed = of_kind(kind), 4 if kind == "stack" else None
    wanted = p.solve(truncate=truncate, dropout_seed=seed)
    assert_same(p.solve(truncate=truncate, dropout_seed=seed, recompute=True), wanted)


@pytest.mark.parametrize("target", ["numpy", "interpreter"])
@pytest.mark.parametrize("kind", ["stack", "mlstm"])
def test_recomputation_on_other_targets(kind, target):
    """Near it, since sums are made of other parts there."""
    p = of_kind(kind, target=target)
    wanted = p.solve(dropout_seed=4)
    for name, value in p.solve(dropout_seed=4, recompute=True).items():
        np.testing.assert_allclose(value, wanted[name], rtol=0, atol=1e-12 * max(1.0, np.abs(wanted[name]).max(initial=0.0)))


@pytest.mark.parametrize("steps", [1, 2, 3, 15, 16, 17, 100])
def test_sequences_of_any_length_are_recomputed(steps):
    """Squares, and their neighbours; alone and in a batch."""
    p = problem(of_kind("lstm").layer, steps=steps, plain=True)
    assert_same(p.solve(recompute=True), p.solve())
    assert_same(p.row(1).solve(recompute=True), p.row(1).solve())
    lengths = np.array([steps, 0, 1, steps // 2, steps - 1])
    p = replace(p, lengths=lengths)
    assert_same(p.solve(recompute=True), p.solve())


@pytest.mark.parametrize(("kind", "dtype", "tokens"), [("lstm", "float32", False), ("elman", "float64", True)])
def test_long_sequences(kind, dtype, tokens):
    """Longer than what is hoisted, or summed, at once: however it is asked, and near what its rows give alone."""
    p = problem(of_kind(kind, dtype).layer, 4, 1500, tokens=tokens)
    p = replace(p, lengths=np.array([1500, 3, 1024, 513]))
    elman.threads(1)
    wanted = p.solve()
    elman.threads(2)
    assert_same(p.solve(), wanted)
    assert_same(p.solve(recompute=True), wanted)
    with elman.machine(MACHINES[-1]):
        assert_same(p.solve(), wanted)
    alone = [p.row(b).solve() for b in range(4)]
    assert_same(p.row(0).solve(recompute=True), alone[0])
    for b, n in enumerate(p.lengths):
        np.testing.assert_array_equal(wanted["y"][b, :n], alone[b]["y"])
        if not tokens:
            np.testing.assert_array_equal(wanted["d_x"][b, :n], alone[b]["d_x"])
    for name in p.layer.parameters:
        sums = np.sum([row[name] for row in alone], axis=0, dtype=np.float64)
        limit = (1e-12 if dtype == "float64" else 1e-4) * np.abs(sums).max()
        np.testing.assert_allclose(wanted[name], sums, rtol=0, atol=limit, err_msg=name)


@pytest.mark.parametrize("truncate", [2, (2, 3)])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_record_keeps_what_it_was_given(recompute, truncate):
    """Parameters, inputs, states, lengths and resets may change before the gradient is asked for, also twice."""
    given = of_kind("lstm")
    p = given.at(layer_of("lstm", dtype="float64", target="llvm"))
    arrays = {"x": p.x.copy(), "lengths": p.lengths.copy(), "reset": p.reset.copy()}
    state = {name: value.copy() for name, value in p.state.items()}
    record = p.layer.record(state=state, truncate=truncate, recompute=recompute, **arrays)
    wanted = p.layer.record(p.x, p.state, p.lengths, p.reset, truncate=truncate).gradients(p.dy, p.d_last)
    before = record.gradients(p.dy, p.d_last)
    p.layer.update({name: 2.0 * value for name, value in p.layer.parameters.items()})
    for array in (*arrays.values(), *state.values()):
        array[...] = 1
    p.layer.gradients(arrays["x"], p.dy, recompute=recompute)
    for found in (before, record.gradients(p.dy, p.d_last)):
        assert_same(found.parameters | {"x": found.x}, wanted.parameters | {"x": wanted.x})
        assert_same(dict(by_path(found.state, "")), dict(by_path(wanted.state, "")))


# ---------------------------------------------------------------- what is given, and how it lies in memory


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_given_may_lie_anywhere(layout):
    """Inputs, states, and the gradients that go back; each by itself, and one sequence. None is written to."""
    p, change = of_kind("lstm", "float32"), LAYOUTS[layout]
    wanted = p.solve()
    places = {"x": change(p.x), "dy": change(p.dy), "state": {n: change(p.state[n]) for n in p.state}}
    places["d_last"] = {n: change(p.d_last[n]) for n in p.d_last}
    for name, value in places.items():
        assert_same(replace(p, **{name: value}).solve(), wanted, name)
    np.testing.assert_array_equal(places["x"], p.x)
    np.testing.assert_array_equal(places["dy"], p.dy)
    row = replace(p.row(0), x=change(p.x[:1, :5])[0], dy=change(p.dy[:1, :5])[0])
    assert_same(row.solve(), p.row(0).solve(), "one sequence")


@pytest.mark.parametrize("layout", ["every other", "turned", "misaligned", "read only"])
def test_tokens_may_lie_anywhere(layout):
    p = problem(rnn("gru", 9, HIDDEN, target="llvm"), tokens=True)
    assert_same(replace(p, x=LAYOUTS[layout](p.x)).solve(), p.solve())
    for kind in "bHi":
        assert_same(replace(p, x=p.x.astype(kind)).solve(), p.solve())


def test_gradients_of_other_types_are_numbers():
    """Integers, truth values and float64 for a layer of float32; one number for all, which takes no memory."""
    p = of_kind("lstm", "float32")
    whole = np.random.default_rng(1).integers(-2, 3, p.dy.shape)
    wanted = replace(p, dy=whole.astype(np.float32)).solve()
    for kind in (np.int8, np.int64, np.float16, np.float64, object):
        assert_same(replace(p, dy=whole.astype(kind)).solve(), wanted)
    assert_same(replace(p, dy=whole.tolist()).solve(), wanted)
    ones = replace(p, dy=np.ones(p.dy.shape, np.float32)).solve()
    assert_same(replace(p, dy=np.broadcast_to(np.float32(1), p.dy.shape)).solve(), ones)
    assert_same(replace(p, dy=np.ones(p.dy.shape, bool)).solve(), ones)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 7, 17), "(5, 7, 17)"),
        ((5, 7), "(5, 7)"),
        ((7, 5, 18), "(7, 5, 18)"),
        ((5, 7, 18, 1), "(5, 7, 18, 1)"),
        ((), "()"),
    ],
)
def test_a_gradient_of_another_shape_says_so(shape, message):
    record = of_kind("lstm").layer.record(of_kind("lstm").x)
    with pytest.raises(ShapeError) as caught:
        record.gradients(np.ones(shape))
    assert str(caught.value) == f"lstm: dy is {message}, the output is (5, 7, 18)"


@pytest.mark.parametrize("dy", ["up", [[1.0], [2.0, 3.0]], np.ones((5, 7, 18)) * 1j], ids=["text", "ragged", "complex"])
def test_a_gradient_that_is_no_number_says_so(dy):
    """As other inputs do, in one line; complex numbers are not cut to their real parts."""
    record = of_kind("lstm").layer.record(of_kind("lstm").x)
    with pytest.raises(elman.ElmanError, match="lstm: dy"):
        record.gradients(dy)


@pytest.mark.parametrize(
    ("d_last", "error", "message"),
    [
        ({"h": np.ones((5, 18))}, ShapeError, "lstm: the state has h; lstm has h, c"),
        ({"h": np.ones((4, 18)), "c": np.ones((4, 18))}, ShapeError, "h .* is of batch 4, the input is of batch 5"),
        ({"h": np.ones((5, 18)), "c": np.ones((5, 18)) * 1j}, DataError, "state c holds complex128, numbers are wanted"),
    ],
)
def test_a_gradient_of_last_states_that_does_not_fit_says_so(d_last, error, message):
    p = of_kind("lstm")
    with pytest.raises(error, match=message):
        p.layer.record(p.x).gradients(p.dy, d_last)


# ---------------------------------------------------------------- threads at once, and forks


def test_four_threads_at_once():
    """Records are made by one and differentiated by others; each takes the threads of a call if it can have them."""
    problems = [large("a batch"), of_kind("stack", "float32"), of_kind("lstm"), large("tokens")]
    asked = [{"recompute": True}, {"dropout_seed": 1}, {"truncate": (2, 3)}, {}]
    wanted, failures = [p.solve(**how) for p, how in zip(problems, asked, strict=True)], []
    records = [p.layer.record(p.x, p.state, p.lengths, p.reset, **how) for p, how in zip(problems, asked, strict=True)]

    def work(k: int) -> None:
        try:
            for n in range(8):
                at = (k + n) % 4
                assert_same(problems[at].solve(**asked[at]), wanted[at])
                found = records[at].gradients(problems[at].dy, problems[at].d_last)
                assert_same(found.parameters, {name: wanted[at][name] for name in found.parameters})
        except BaseException as error:
            failures.append(repr(error))

    elman.threads(2)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures, failures[:2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_between_a_record_and_its_gradient():
    """The child has the parent's records, makes its own, and shares work among threads of its own."""
    script = """
        import os, warnings
        import numpy as np
        import elman
        from elman import RNN, cells

        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
        rng, rnn = np.random.default_rng(0), RNN(cells.gru, input=6, hidden=40, target="llvm", seed=1)
        x, dy = (rng.normal(size=(9, 30, size)).astype(np.float32) for size in (6, 40))
        elman.threads(3)
        record, again = rnn.record(x), rnn.record(x, recompute=True)
        wanted = record.gradients(dy)

        def check():
            for count in (3, 1):
                elman.threads(count)
                for found in (record.gradients(dy), again.gradients(dy), rnn.gradients(x, dy)):
                    np.testing.assert_array_equal(found.x, wanted.x)
                    for name, value in wanted.parameters.items():
                        np.testing.assert_array_equal(found.parameters[name], value)

        number = os.fork()
        if not number:
            status = 1
            try:
                check()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(number, 0)[1] == 0
        check()
        print("forked")
    """
    assert python(script) == "forked\n"
