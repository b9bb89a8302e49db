"""Programs of C: what they compute, against streams, the interpreter and literal loops; and how they are written."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import elman
import layers
import oracles
from c_programs import COMPILER, Library, compiled, needs_compiler, own_test
from elman import RNN, Bidirectional, Model, Stack, bias, cell, cells, state, tanh, weight
from elman.errors import CellError, DataError, ModelFileError, SettingError
from elman.export import STEPS, TOLERANCE, to_c
from elman.gates import GATES
from elman.graph import Builder
from elman.nodes import Result
from elman.passes import schedule
from elman.targets.c import words
from elman.targets.c.lines import in_comment
from elman.targets.c.recorded import Recorded
from elman.targets.c.source import Call, Program
from elman.testing import random_cell
from test_command import command
from test_gates import CASES, Case, random_inputs
from test_mutations import mutations

__all__ = ["command"]  # a fixture

pytestmark = needs_compiler
DTYPES = ("float32", "float64")
RANDOM = range(60)


def randomised(made, seed: int = 0):
    """A layer or model with parameters away from their first values, so that none is 0 or like another."""
    rng = np.random.default_rng(seed)
    made.update({name: value + 0.3 * rng.standard_normal(value.shape) for name, value in made.parameters.items()})
    return made


def rnn(made: elman.Cell, seed: int = 0, dtype: str = "float64", **settings) -> RNN:
    """A cell at sizes that differ."""
    sizes = {"input": 3, "hidden": 5, "output": 4, "memory": 6, "projection": 2} | settings
    given = {name: value for name, value in sizes.items() if name in made.sizes or name in ("learn_initial", "target")}
    return randomised(RNN(made, dtype=dtype, **given), seed)


def inputs_of(layer: elman.Layer, tokens: bool, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if tokens:
        return rng.integers(int(layer.input_shape[0]), size=STEPS)
    return rng.standard_normal((STEPS, *layer.input_shape)).astype(layer.dtype)


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, relative to the largest value (at least 1)."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / max(1.0, float(np.abs(wanted).max())))


# ---------------------------------------------------------------- every cell, random cells, layers, models


def kinds(dtype: str) -> dict[str, tuple[elman.Layer | Model, bool]]:
    """What is written, by name, and whether it reads tokens."""
    found: dict[str, tuple[elman.Layer | Model, bool]] = {}
    for name, made in layers.CELLS.items():
        layer = rnn(made, dtype=dtype, learn_initial=True)
        found[name] = layer, False
        if dtype == "float64":
            found[f"{name}_tokens"] = layer, True
    for name in layers.ONE_WAY:
        for seed in layers.SEEDS:
            layer = layers.ONE_WAY[name](layers.Maker(70 + seed, dtype=dtype))
            found[f"{name.replace(' ', '_')}_{seed}"] = layer, bool(seed % 2)
    below = {"dtype": dtype, "learn_initial": True}
    stack = Stack([RNN(cells.lstm, input=4, hidden=3, **below), RNN(cells.gru, input=3, hidden=3, **below)], residual=True)
    for pool in (None, "last", "mean", "max"):
        for readout in (cells.readout, cells.readout_sigmoid, cells.readout_linear):
            model = Model.from_layers(stack, outputs=6, readout=readout, pool=pool, tokens=pool == "mean")
            found[f"{readout.name}_{pool}"] = randomised(model), model.reads_tokens
    found["language"] = randomised(Model(7, 5, cell=cells.sru, layers=2, dtype=dtype)), True
    return found


@cache
def library(dtype: str, folder) -> Library:
    return Library(folder, [to_c(made, name=name, tokens=tokens) for name, (made, tokens) in kinds(dtype).items()])


@pytest.fixture(scope="module", params=DTYPES)
def written(request, tmp_path_factory):
    """Everything of a type, compiled once."""
    return request.param, library(request.param, tmp_path_factory.mktemp(request.param))


def test_programs_give_what_streams_give(written):
    dtype, programs = written
    for name, (made, tokens) in kinds(dtype).items():
        inputs = inputs_of(made.rnn if isinstance(made, Model) else made, tokens)
        wanted = made.stream().push(inputs)
        found = programs.run(name, inputs, wanted.shape[1:], dtype)
        assert apart(found, wanted) <= TOLERANCE[dtype], name


def test_a_cell_that_is_new_is_among_them():
    assert {made.name for made in layers.CELLS.values()} >= set(cells.CELLS)


def test_random_cells(tmp_path):
    """Any equations: numbers and matrices as states and outputs, values that nobody reads, states that change places."""
    made = {f"random_{seed}": rnn(random_cell(seed), seed, target="interpreter") for seed in RANDOM}
    programs = Library(tmp_path, [to_c(layer, name=name) for name, layer in made.items()])
    for name, layer in made.items():
        inputs = inputs_of(layer, False)
        wanted, _ = layer(inputs)
        assert apart(programs.run(name, inputs, wanted.shape[1:], "float64"), wanted) <= TOLERANCE["float64"], name


# ---------------------------------------------------------------- every gate


def gate_problem(number: int, name: str, case: Case, leaf: str) -> tuple[Call, np.ndarray, np.ndarray]:
    """A gate whose operands are first states, or parameters; what it is run on; what it gives at each step."""
    operands = random_inputs(name, case, number)
    builder, held, token = Builder("gate"), {}, None
    for position, value in enumerate(operands):
        if isinstance(value, int):
            token = value
            builder.leaf("token", "x", (), (("size", case.shapes[position]),))
        else:
            held[f"s{position}"] = value
            builder.leaf(leaf, f"s{position}", value.shape)
    nodes = [builder.nodes[k].name for k in range(len(operands))]
    if token is None:
        builder.leaf("input", "x", (2,))
    made = builder.add(name, range(len(nodes)), tuple(case.attributes.items()))
    kept = [Result(n, "state", nodes.index(n)) for n in held] if leaf == "state" else []
    plan = schedule(builder.finish([Result("y", "output", made), *kept]), 8)
    inputs = np.ones((2, 2)) if token is None else np.array([token, token])
    wanted = np.array(case.formula(*operands), float)
    states, parameters = (held, {}) if leaf == "state" else ({}, held)
    call = Call("gate", plan, parameters, states, 0, [])
    return call, inputs, wanted


@pytest.mark.parametrize("leaf", ["state", "parameter"])
def test_every_gate(leaf, tmp_path):
    """Of operands that a step reads, and of those that are known when it is written (of each gate one case)."""
    cases = CASES if leaf == "state" else {name: (name, case) for name, case in CASES}.values()
    problems = [gate_problem(k, name, case, leaf) for k, (name, case) in enumerate(cases)]
    programs = []
    for k, (call, inputs, wanted) in enumerate(problems):
        program = Program(f"g{k}", "", [call], Recorded(inputs, np.stack([wanted, wanted]), 1e-12))
        programs.append(elman.export.CProgram(f"g{k}", program.header(), program.source()))
    made = Library(tmp_path, programs)
    for k, (_, inputs, wanted) in enumerate(problems):
        found = made.run(f"g{k}", inputs, wanted.shape, "float64")
        for y in found:
            np.testing.assert_allclose(y, wanted, rtol=1e-13, atol=1e-15, err_msg=str(list(cases)[k]))


def test_every_gate_has_a_word():
    groups = (tuple(words.ELEMENTS), words.SUMMED, words.JOINED, words.IN_PLACE, words.VIEWS)
    assert sorted(name for group in groups for name in group) == sorted(GATES)


# ---------------------------------------------------------------- literal loops, and that a mistake would show


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """What programs of the four cells give for a problem that literal loops solve, from a first state that is not zero."""
    made, problems = [], {}
    for name in oracles.CELLS:
        problem = problems[name] = oracles.random_problem(name, **oracles.CASES["one sequence"])
        layer = RNN(getattr(cells, name), **problem.sizes, dtype="float64", learn_initial=True)
        layer.update(problem.parameters | {f"{state}0": value for state, value in problem.state.items()})
        made.append(to_c(layer, name=name))
    programs = Library(tmp_path_factory.mktemp("by_hand"), made)
    return {n: (p, programs.run(n, p.x, p.solve()[0].shape[1:], "float64")) for n, p in problems.items()}


@pytest.mark.parametrize("name", oracles.CELLS)
def test_literal_loops(name, by_hand):
    problem, found = by_hand[name]
    assert apart(found, problem.solve()[0]) <= 1e-13
    noticed = {mistake: apart(found, mutation(problem).solve()[0]) for mistake, mutation in mutations(problem.cell).items()
               if not mistake.endswith(("lengths ignored", "resets ignored"))}  # fmt: skip
    assert len(noticed) >= 5
    assert min(noticed.values()) > 1e-3, noticed


# ---------------------------------------------------------------- the test that a program brings


def net(dtype: str = "float32") -> Model:
    stack = Stack([RNN(cells.lstm, input=3, hidden=4, dtype=dtype), RNN(cells.gru, input=4, hidden=5, dtype=dtype)])
    return randomised(Model.from_layers(stack, outputs=3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_its_own_test_agrees(dtype, tmp_path):
    done = own_test(tmp_path, to_c(net(dtype), name="net"))
    assert done.returncode == 0, done.stdout
    largest = float(re.fullmatch(rf"net: {STEPS} steps agree, the largest difference is (\S+)\n", done.stdout)[1])
    assert largest <= TOLERANCE[dtype]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("lstm_0_ui + 4 * row", "lstm_0_uf + 4 * row"),
        ("gru_1_wr + 4 * row", "gru_1_wz + 4 * row"),
        ("copy(state->c, c, 4);", ""),
        ("zero(state->gru_1.h, 5);", ""),
        ("readout_by[row] + ", ""),
        ("    softmax(probabilities, 3);", ""),
    ],
)
def test_its_own_test_can_fail(right, wrong, tmp_path):
    program = to_c(net(), name="net")
    assert program.source.count(right) == 1
    spoilt = program.source.replace(right, wrong)
    # Where a line is gone, what it used is warned of.
    done = own_test(tmp_path, elman.export.CProgram("net", program.header, spoilt), "-Wno-error", "-w")
    assert done.returncode == 1
    assert re.fullmatch(r"net: step \d, value \d is \S+, \S+ is wanted\n", done.stdout)


CHECKED = shutil.which("valgrind")


def test_no_memory_is_read_or_written_astray(tmp_path):
    """With a matrix as state, a token and pieces of vectors; undefined behaviour is looked for as well."""
    model = randomised(Model(9, 6, cell=cells.mlstm, layers=2, readout=cells.readout))
    flags = () if CHECKED else ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    program = to_c(model, name="net")
    assert own_test(tmp_path, program, "-g", *flags).returncode == 0
    if CHECKED:
        check = [CHECKED, "--error-exitcode=9", "--leak-check=full", tmp_path / "test"]
        done = subprocess.run(check, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "0 allocs" not in done.stderr.partition("total heap usage")[2][:2]
        assert "ERROR SUMMARY: 0 errors" in done.stderr


@cell
def two_matrices(x, m=state("hidden", "input"), n=state(2, "hidden"), *,
                 w=weight("hidden", "input"), u=weight(2, "hidden"), b=bias("hidden")):  # fmt: skip
    """States that are matrices, one of them not of the output's size."""
    read = m @ x + b
    return elman.concatenate(read, n @ b), 0.5 * m + elman.outer(tanh(w @ x), x), tanh(n * u + 0.5)


CAREFUL = {
    "matrices": lambda: rnn(two_matrices),
    "tokens of matrices": lambda: randomised(Model(7, 5, cell=cells.mlstm)),
    "normalised": lambda: Stack(
        [rnn(cells.lstm_layer_norm, input=3, hidden=5), rnn(cells.gru_layer_norm, input=5, hidden=1)]
    ),
    "projected": lambda: Stack([rnn(cells.lstm_projected), rnn(cells.lstm_peephole, input=2, hidden=3)]),
    "one unit": lambda: rnn(cells.elman, input=1, hidden=1),
    "pooled": lambda: randomised(Model.from_layers(Stack([rnn(cells.lru), rnn(cells.gru, input=5)]), outputs=1, pool="max")),
    "learned": lambda: rnn(cells.rwkv, hidden=5, learn_initial=True),
}
"""Programs whose states, sums and pieces are of every shape."""


def sanitised(folder: Path, *, probe: bool = False) -> bool:
    """Whether the compiler has the sanitisers, and they run here; some machines lack their libraries."""
    (folder / "probe.c").write_text("int main(int n, char **a) { int x[2] = {0}; (void)a; return x[n * PLACE]; }")
    flags = ("-std=c99", "-fsanitize=address,undefined", f"-DPLACE={3 if probe else 1}", "probe.c", "-o", "probe")
    built = subprocess.run([COMPILER, *flags], cwd=folder, capture_output=True, check=False).returncode == 0
    return built and subprocess.run([folder / "probe"], capture_output=True, check=False).returncode == 0


def test_a_read_astray_would_be_noticed(tmp_path):
    if not sanitised(tmp_path):
        pytest.skip("the compiler has no sanitisers here")
    assert not sanitised(tmp_path, probe=True)


@pytest.mark.parametrize("name", CAREFUL)
@pytest.mark.parametrize("how", ["sanitisers", "valgrind"])
def test_programs_stay_within_their_arrays(name, how, tmp_path):
    """Compiled as strictly as can be, and watched as they run: of each read and write it is known where it goes."""
    if how == "valgrind" and not CHECKED:
        pytest.skip("valgrind is not installed")
    if how == "sanitisers" and not sanitised(tmp_path):
        pytest.skip("the compiler has no sanitisers here")
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all") if how == "sanitisers" else ()
    done = own_test(tmp_path, to_c(CAREFUL[name](), name="net"), "-g", "-O1", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    if how == "valgrind":
        call = [CHECKED, "--error-exitcode=9", "--leak-check=full", tmp_path / "test"]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "ERROR SUMMARY: 0 errors" in done.stderr


def test_the_numbers_are_there_to_the_bit():
    model = net()
    text = to_c(model, name="net").source
    for name, value in model.parameters.items():
        called = f"{('lstm_0', 'gru_1')[int(name[0])]}_{name[2:]}" if name[0].isdigit() else f"readout_{name}"
        held = re.search(rf"const float {called}\[[\d *]+\] = {{(.*?)}};", text, re.DOTALL)[1]
        found = [float.fromhex(number.strip().removesuffix("f")) for number in held.split(",") if number.strip()]
        np.testing.assert_array_equal(np.array(found, np.float32), value.ravel())


def test_what_needs_only_the_parameters_is_not_computed():
    """The LRU makes its recurrence of three exponentials: none is in the program."""
    assert "exp" not in to_c(RNN(cells.lru, input=3, hidden=4), name="net").source.partition("#include <math.h>")[2]


# ---------------------------------------------------------------- names


@cell(name="double")
def keywords(x, int=state("hidden"), state=state("hidden"), *,
             double=weight("hidden", "input"), main=bias("hidden"), while_=bias("hidden"), dot=weight("hidden", "hidden"),
             exp=bias("hidden"), double_w=bias("hidden")):  # fmt: skip
    row = double @ x + main
    column = tanh(row + dot @ int)
    NET_INPUT = column * while_
    sigmoid = elman.sigmoid(NET_INPUT + exp)
    tanhf = tanh(sigmoid + state)
    double_w_columns = tanhf * double_w
    αβ = double_w_columns + 0.1  # noqa: PLC2401
    _hidden = αβ * 0.5
    return _hidden, tanhf


def test_names_that_c_has_for_something_else(tmp_path):
    layer = Stack([rnn(keywords, input=3, hidden=4), rnn(keywords, 1, input=4, hidden=4)])
    inner = cell(name="net_step")(lambda x, *, x_=weight("hidden", "input"): tanh(x_ @ x))
    layer = Stack([*layer.layers, rnn(inner, input=4, hidden=4), rnn(inner, 2, input=4, hidden=4)])
    program = to_c(layer, name="net")
    done = own_test(tmp_path, program)
    assert done.returncode == 0, done.stdout
    assert program.source.isascii()


def test_one_name_twice_in_two_layers(tmp_path):
    """A layer called as a weight of another, and values called as what they are made of."""
    x = cell(name="a_w")(lambda x, *, w=weight("hidden", "input"): tanh(w @ x))

    @cell(name="a")
    def second(x, h, *, w=weight("hidden", "input"), w_columns=weight("hidden", "hidden")):
        a_w = w @ x
        a_w_columns = w_columns @ h
        return tanh(a_w + a_w_columns)

    layer = Stack([rnn(second, input=4, hidden=4), rnn(x, 1, input=4, hidden=4)])
    for tokens in (False, True):
        done = own_test(tmp_path, to_c(layer, name="a_0", tokens=tokens))
        assert done.returncode == 0, done.stdout


def test_what_stands_in_comments_is_plain(tmp_path):
    """Titles and names of sizes are called as somebody pleased."""
    made = cell(name="größer")(lambda x, h=state("größe"), *, w=weight("größe", "input"): tanh(w @ x) + h)
    program = to_c(RNN(made, input=3, größe=2), name="net")
    assert program.source.isascii()
    assert program.header.isascii()
    assert own_test(tmp_path, program).returncode == 0
    assert in_comment("*/ #error ??/\\\n **// /*/") == "* / #error __/__ ** // / * /"


def test_the_header_serves_cpp(tmp_path):
    if not (compiler := shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("there is no compiler of C++")
    program = to_c(rnn(keywords, input=3, hidden=4), name="net")
    program.save(tmp_path)
    compiled(tmp_path, "-c", "net.c")
    text = '#include "net.h"\nint main() { net_state s; double x[3] = {}, y[4]; net_reset(&s); net_step(x, &s, y); }'
    (tmp_path / "main.cpp").write_text(text)
    call = [compiler, "-Wall", "-Wextra", "-Werror", "main.cpp", "net.o", "-lm"]
    assert subprocess.run(call, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_nothing_but_the_standard_library_is_used():
    """And no memory is asked for."""
    for name, (made, tokens) in kinds("float32").items():
        source = to_c(made, name="net", tokens=tokens).source
        program, _, test = source.partition("#ifdef NET_TEST")
        assert re.findall(r"#include .*", program) == ['#include "net.h"', "#include <math.h>"], name
        assert re.findall(r"#include .*", test) == ["#include <stdio.h>"]
        assert not re.search(r"\b(malloc|calloc|realloc|free|memcpy)\b", source)


def test_states_that_change_places(tmp_path):
    """Each becomes another, or a part of one; and the output is an old one."""

    @cell
    def turned(x, a, b, part=state(2), kept=state("hidden"), *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
        some = a[1:3]
        return b, b, a + w @ x, some, kept

    layer = rnn(turned, target="interpreter", learn_initial=True)
    program = to_c(layer, name="net")
    wanted = layer(inputs_of(layer, False))[0]
    found = Library(tmp_path, [program]).run("net", inputs_of(layer, False), (5,), "float64")
    assert apart(found, wanted) <= TOLERANCE["float64"]
    first = layer.parameters["b0"]
    np.testing.assert_allclose(found[0], first)
    assert own_test(tmp_path, program).returncode == 0


# ---------------------------------------------------------------- errors


def both_ways() -> Bidirectional:
    return Bidirectional(RNN(cells.gru, input=3, hidden=4), RNN(cells.gru, input=3, hidden=4))


ERRORS = {
    "from the end": (
        lambda: to_c(Model.from_layers(Stack([RNN(cells.gru, input=3, hidden=3), both_ways()]), outputs=2)),
        SettingError,
        "to_c: Stack(gru, Bidirectional(gru, gru)): a program of C takes step after step; "
        "a direction reads from the end of a sequence",
    ),
    "no model": (lambda: to_c("net"), SettingError, "to_c: 'net' is neither a model nor a layer; open one with elman.load"),
    "name": (
        lambda: to_c(both_ways().parts["forward"], name="my-net"),
        SettingError,
        "to_c: name='my-net' cannot begin the names of a program of C; letters, digits and _ can",
    ),
    "tokens": (
        lambda: to_c(RNN(matrices, input=3), tokens=True),
        CellError,
        "matrices: the input x is no vector, so tokens cannot stand for it",
    ),
    "infinite": (
        lambda: to_c(RNN(cell(name="far")(lambda x: elman.exp(1e6 * x * x)), input=3)),
        DataError,
        "to_c: far: outputs for random inputs are not finite, so its test has nothing to compare",
    ),
    "folder": (
        lambda: to_c(both_ways().parts["forward"]).save("/nowhere"),
        ModelFileError,
        "/nowhere/model.h cannot be written: the folder /nowhere does not exist",
    ),
}


@cell
def matrices(x=state("input", "input")):
    return tanh(x)


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, error, message = ERRORS[name]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


# ---------------------------------------------------------------- the command


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.safetensors"
    net("float64").save(path)
    return path


@pytest.mark.parametrize(
    ("given", "name"),
    [(["-o", "kws"], "kws"), (["-o", "kws.c"], "kws"), (["-o", "."], "model"), (["--name", "nn"], "nn"),
        (["-o", "my-net"], "my_net"), (["-o", "2nd.c"], "model_2nd"), (["-o", "int"], "model_int")],
)  # fmt: skip
def test_the_command(command, model_file, monkeypatch, given, name):
    monkeypatch.chdir(model_file.parent)
    done = command("export", model_file, "--to", "c", *given)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(rf"saved {name}.h \([\d,]+ bytes\), {name}.c \([\d,]+ bytes\)\n", done.out)
    program = to_c(elman.load(model_file), name=name)
    assert (model_file.parent / f"{name}.h").read_text() == program.header
    assert (model_file.parent / f"{name}.c").read_text() == program.source


def test_the_model_that_comes_along(command, tmp_path):
    assert command("export", "-o", tmp_path / "python").code == 0
    compiled(tmp_path, "-DPYTHON_TEST", "python.c", "-o", "test")
    assert subprocess.run([tmp_path / "test"], capture_output=True, check=False).returncode == 0


def test_what_the_command_cannot_do(command, model_file, tmp_path):
    backward = tmp_path / "backward.safetensors"
    Model.from_layers(both_ways(), outputs=2).save(backward)
    as_source = tmp_path / "net.c"
    net("float64").save(as_source)
    for arguments, message in (
        ((model_file, "--to", "pascal"), "--to pascal: nothing of this kind is written; it is c"),
        (
            (model_file, "--name", "1a"),
            "to_c: name='1a' cannot begin the names of a program of C; letters, digits and _ can",
        ),
        ((model_file, "--name", "int"), "to_c: name='int' is a word of C, or a header of its library; take model_int"),
        ((model_file, "-o", model_file), f"{model_file} is the model; write to another file"),
        ((as_source, "-o", tmp_path, "--name", "net"), f"{as_source} is the model; write to another file"),
        ((model_file, "-o", "/nowhere/kws"), "/nowhere/kws.h cannot be written: the folder /nowhere does not exist"),
        (
            (backward, "-o", tmp_path),
            "to_c: Bidirectional(gru, gru): a program of C takes step after step; "
            "a direction reads from the end of a sequence",
        ),
    ):
        done = command("export", *arguments)
        assert (done.code, done.out, done.err) == (2, "", f"elman: {message}\n")
    assert elman.load(as_source) is not None
