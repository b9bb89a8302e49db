"""Optimisers: each rule against its algorithm number by number, and what holds for all of them."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import elman
from elman.errors import DataError, SettingError, ShapeError
from elman.io import safetensors
from elman.optim import (
    OPTIMISERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    RMSProp,
    are_finite,
    clip_by_norm,
    clip_by_value,
    global_norm,
    optimiser,
)  # fmt: skip
from elman.packs import BLOCK, Flats, together
from elman.updates import SWEEP

SHAPES = {"wi": (3, 4), "b": (4,), "one": (), "none": (0, 2), "ui": (4, 4)}
TYPES = ("float32", "float64")
RATES = (0.1, 0.05, 0.2, 0.01, 0.3)
CASES = (
    SGD(),
    SGD(weight_decay=0.3),
    SGD(momentum=0.8),
    SGD(momentum=0.8, nesterov=True, weight_decay=0.1),
    Adagrad(),
    Adagrad(epsilon=0.1, weight_decay=0.2),
    RMSProp(),
    RMSProp(decay=0.6, epsilon=0.05, momentum=0.7, weight_decay=0.2),
    Adam(),
    Adam(beta1=0.5, beta2=0.7, epsilon=0.1, weight_decay=0.4),
    AdamW(),
    AdamW(beta1=0.6, beta2=0.8, epsilon=0.02, weight_decay=0.7),
)
every_case = pytest.mark.parametrize("rule", CASES, ids=repr)


def random_arrays(rng, scale=1.0, shapes=SHAPES, dtype="float64"):
    return {name: np.asarray(rng.normal(size=shape) * scale).astype(dtype) for name, shape in shapes.items()}


def literal(rule, p, gradients, rates):
    """One number through the updates, as the papers print them."""
    first = second = 0.0
    for t, (given, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        decoupled = isinstance(rule, AdamW)
        g = given if decoupled else given + rule.weight_decay * p
        p = p - rate * rule.weight_decay * p if decoupled else p
        if isinstance(rule, SGD):
            first = rule.momentum * first + g
            p = p - rate * (g + rule.momentum * first if rule.nesterov else first)
        elif isinstance(rule, Adagrad):
            second = second + g**2
            p = p - rate * g / (math.sqrt(second) + rule.epsilon)
        elif isinstance(rule, RMSProp):
            second = rule.decay * second + (1 - rule.decay) * g**2
            first = rule.momentum * first + g / (math.sqrt(second) + rule.epsilon)
            p = p - rate * first
        else:
            first = rule.beta1 * first + (1 - rule.beta1) * g
            second = rule.beta2 * second + (1 - rule.beta2) * g**2
            corrected = first / (1 - rule.beta1**t), second / (1 - rule.beta2**t)
            p = p - rate * corrected[0] / (math.sqrt(corrected[1]) + rule.epsilon)
    return p


def updated(rule, p, gradients, rates):
    memory = rule.memory(p)
    for g, rate in zip(gradients, rates, strict=True):
        p, memory = rule.update(p, g, memory, rate)
    return p, memory


# ---------------------------------------------------------------- the rules


@every_case
def test_a_rule_is_its_algorithm(rule):
    rng = np.random.default_rng(2)
    start = random_arrays(rng)
    gradients = [random_arrays(rng, scale) for scale in (1.0, 3.0, 0.1, 10.0, 1e-6)]
    p, memory = updated(rule, start, gradients, RATES)
    assert memory["count"] == 5
    assert list(p) == list(SHAPES)
    for name, value in start.items():
        assert p[name].shape == value.shape
        for at in np.ndindex(value.shape):
            expected = literal(rule, value[at], [g[name][at] for g in gradients], RATES)
            assert p[name][at] == pytest.approx(expected, rel=1e-12, abs=1e-14), name
            assert abs(expected - value[at]) > 1e-3


@every_case
def test_float32_is_float64_rounded(rule):
    rng = np.random.default_rng(3)
    start = random_arrays(rng, dtype="float32")
    gradients = [random_arrays(rng, scale, dtype="float32") for scale in (1.0, 3.0, 0.1, 10.0, 0.01)]
    p, memory = updated(rule, start, gradients, RATES)
    for name, value in start.items():
        assert p[name].dtype == np.float32
        assert all(memory[f"{kind}/{name}"].dtype == np.float32 for kind in rule.kinds)
        for at in np.ndindex(value.shape):
            expected = literal(rule, float(value[at]), [float(g[name][at]) for g in gradients], RATES)
            assert p[name][at] == pytest.approx(expected, rel=3e-5, abs=1e-6), name


def test_a_rule_that_is_wrong_is_noticed():
    """The literal rules tell the settings apart: what one case expects no other gives."""
    rng = np.random.default_rng(4)
    start, gradients = {"w": rng.normal(size=3)}, [{"w": rng.normal(size=3)} for _ in RATES]
    found = [updated(rule, start, gradients, RATES)[0]["w"] for rule in CASES]
    for i, one in enumerate(found):
        for other in found[:i]:
            assert np.abs(one - other).min() > 1e-4


# ---------------------------------------------------------------- what holds for all


@every_case
def test_nothing_is_changed_in_place_and_equal_arguments_give_equal_bits(rule):
    rng = np.random.default_rng(5)
    start, gradients = random_arrays(rng), random_arrays(rng)
    p, memory = updated(rule, start, [gradients], [0.1])
    given = [p, gradients, memory]
    before = [{name: array.copy() for name, array in mapping.items()} for mapping in given]
    for array in (array for mapping in given for array in mapping.values()):
        array.flags.writeable = False
    first, second = rule.update(*given, 0.2), rule.update(*given, 0.2)
    for mapping, kept in zip(given, before, strict=True):
        assert mapping.keys() == kept.keys()
        for name, array in mapping.items():
            np.testing.assert_array_equal(array, kept[name])
    for one, other in zip(first, second, strict=True):
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert not any(np.shares_memory(new, old) for new in first[0].values() for old in p.values())


@every_case
def test_layout_company_and_blocks_change_no_bit(rule):
    """An array alone, among others, by columns, or longer than a block: the same numbers."""
    rng = np.random.default_rng(6)
    shapes = {"small": (7, 5), "large": (BLOCK // 100 + 3, 211), "b": (9,)}
    start, gradients = random_arrays(rng, 1.0, shapes, "float32"), random_arrays(rng, 2.0, shapes, "float32")
    whole, memory = updated(rule, start, [gradients, gradients], (0.1, 0.2))
    for name in shapes:
        by_columns = {name: np.asfortranarray(gradients[name])}
        alone, kept = updated(rule, {name: start[name]}, [by_columns, by_columns], (0.1, 0.2))
        assert alone[name].tobytes() == whole[name].tobytes()
        assert all(kept[f"{kind}/{name}"].tobytes() == memory[f"{kind}/{name}"].tobytes() for kind in rule.kinds)
    at = (BLOCK // 100, 17)
    expected = literal(rule, float(start["large"][at]), [float(gradients["large"][at])] * 2, (0.1, 0.2))
    assert whole["large"][at] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_arrays_of_several_types_keep_theirs():
    p = {"a": np.ones(3, np.float32), "b": np.full(2, 2.0), "c": np.full(4, 3, np.float32)}
    new, _ = SGD().update(p, {name: np.full(value.shape, 1 / 3) for name, value in p.items()}, SGD().memory(p), 0.5)
    assert [value.dtype for value in new.values()] == [np.float32, np.float64, np.float32]
    assert new["b"].tolist() == [2 - 0.5 / 3] * 2
    np.testing.assert_allclose(new["c"], 3 - 0.5 / 3, rtol=1e-7)


def test_parameters_that_are_left_out_stay():
    rng = np.random.default_rng(7)
    p, g = random_arrays(rng), random_arrays(rng)
    rule = Adam()
    some = {name: p[name] for name in ("b", "ui")}
    new, memory = rule.update(some, g, rule.memory(p), 0.1)
    assert list(new) == ["b", "ui"]
    assert set(memory) == set(rule.memory(p))
    assert not memory["first/wi"].any()
    assert memory["first/ui"].all()


@every_case
def test_memory_goes_through_a_file(rule, tmp_path):
    rng = np.random.default_rng(8)
    start, gradients = random_arrays(rng, dtype="float32"), [random_arrays(rng, dtype="float32") for _ in RATES]
    whole, _ = updated(rule, start, gradients, RATES)
    p, memory = updated(rule, start, gradients[:2], RATES[:2])
    safetensors.write(tmp_path / "memory", memory, {"rule": dataclasses.asdict(rule)})
    memory, facts = safetensors.read(tmp_path / "memory")
    assert type(rule)(**facts["rule"]) == rule
    assert json.loads(json.dumps(facts)) == facts
    for g, rate in zip(gradients[2:], RATES[2:], strict=True):
        p, memory = rule.update(p, g, memory, rate)
    assert all(p[name].tobytes() == value.tobytes() for name, value in whole.items())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_that_fades_away_ends_at_zero(dtype):
    """Denormal numbers would stay for ever, at forty times the cost."""
    rule, rate = Adam(beta1=0.5, beta2=0.6), 0.01
    p = {"w": np.ones(3, dtype)}
    memory, zero = rule.memory(p), {"w": np.zeros(3, dtype)}
    p, memory = rule.update(p, {"w": np.array([1.0, 1e-3, 2.0], dtype)}, memory, rate)
    seen = []
    for _ in range(2400):
        p, memory = rule.update(p, zero, memory, rate)
        seen.append(all(memory[f"{kind}/w"].any() for kind in rule.kinds))
    assert seen[SWEEP]
    assert not memory["first/w"].any()
    assert not memory["second/w"].any()


# ---------------------------------------------------------------- clipping


def test_the_norm_of_large_numbers_is_finite():
    g = {"w": np.full(4, 1e30, np.float32)}
    assert global_norm(g) == pytest.approx(2e30, rel=1e-6)
    clipped, _ = clip_by_norm(g, 1.0)
    np.testing.assert_allclose(clipped["w"], 0.5, rtol=1e-6)


def test_the_norm_of_many_numbers_is_exact():
    rng = np.random.default_rng(9)
    arrays = random_arrays(rng, 3.0, {"a": (BLOCK + 5, 3), "b": (7,), "c": (2, 2)}, "float32")
    expected = math.sqrt(math.fsum(float(value) ** 2 for array in arrays.values() for value in array.ravel()))
    assert global_norm(arrays) == pytest.approx(expected, rel=1e-14)
    by_columns = {name: np.asfortranarray(array) for name, array in arrays.items()}
    assert global_norm(by_columns) == global_norm(arrays)


def test_threads_change_no_bit_of_an_update():
    code = (
        "import numpy as np; from elman.optim import Adam, clip_by_norm; rng = np.random.default_rng(0)\n"
        "p = {'w': rng.normal(size=(700, 300)).astype('float32')}\n"
        "g, norm = clip_by_norm({'w': rng.normal(size=(700, 300)).astype('float32')}, 1.0)\n"
        "import hashlib; new, memory = Adam().update(p, g, Adam().memory(p), 0.1)\n"
        "print(norm.hex(), hashlib.sha256(new['w'].tobytes()).hexdigest())"
    )
    told = []
    for threads in ("1", "2"):
        here = os.environ | {"OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": str(Path(elman.__file__).parent.parent)}
        told.append(
            subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=True).stdout
        )
    assert told[0] == told[1] != ""


def test_clip_by_value_bounds_each_number():
    g = {"w": np.array([-3.0, -0.5, 0.25, 7.0], np.float32), "b": np.array([[1.5]])}
    clipped = clip_by_value(g, 0.5)
    assert {name: array.tolist() for name, array in clipped.items()} == {"w": [-0.5, -0.5, 0.25, 0.5], "b": [[0.5]]}
    assert clipped["w"].dtype == np.float32
    assert g["w"][0] == -3


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.lists(st.tuples(st.integers(0, 2 * BLOCK), st.sampled_from(["float32", "float64"])), max_size=12))
def test_flat_arrays_hold_every_array_once(sizes):
    like = {f"p{i}": np.zeros(size, dtype) for i, (size, dtype) in enumerate(sizes)}
    parts = [{n: p for n, p in like.items() if p.dtype == dtype} for dtype in TYPES]
    wholes = [np.arange(sum(p.size for p in part.values()), dtype=dtype) for part, dtype in zip(parts, TYPES, strict=True)]
    found = Flats(like, zip(wholes, parts, strict=True), finite=True)
    assert list(found) == list(like)
    for whole, part in zip(wholes, parts, strict=True):
        assert not part or found.whole(tuple(part)) is whole
        assert np.array_equal(np.concatenate([found[name] for name in part] or [whole]), whole)


def test_what_is_put_beside_flat_arrays_stands_alone():
    whole = np.arange(7.0)
    found = Flats({}, [(whole, {"w": np.ones((2, 3)), "b": np.ones(1)})], finite=True)
    assert found.are_finite
    assert found.whole(("b", "w")) is None
    assert together(found, ("w", "b"), whole.dtype) is whole
    found["b"] = np.array([math.nan])
    assert not found.are_finite
    assert found.whole(("w", "b")) is None
    apart = together(found, ("w", "b"), np.dtype(np.float32))
    assert [array.dtype for array in apart] == [np.float32] * 2
    assert apart[0].tolist() == [[0, 1, 2], [3, 4, 5]]


@every_case
def test_an_update_goes_on_from_flat_and_from_single_arrays_alike(rule):
    """What an update returned is found in one piece; copies of it, and memory from a file, are not."""
    rng = np.random.default_rng(10)
    start, gradients = random_arrays(rng, dtype="float32"), [random_arrays(rng, dtype="float32") for _ in RATES]
    p, memory = whole = start, rule.memory(start)
    for g in gradients:
        p, memory = rule.update({n: np.array(x) for n, x in p.items()}, g, {n: np.array(x) for n, x in memory.items()}, 0.1)
        whole = rule.update(whole[0], g, whole[1], 0.1)
        assert whole[0].whole(tuple(start)) is not None
    for one, other in zip((p, memory), whole, strict=True):
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)


@every_case
def test_a_scale_is_that_of_the_gradients(rule):
    rng = np.random.default_rng(11)
    start, g = random_arrays(rng, dtype="float32"), random_arrays(rng, 5.0, dtype="float32")
    clipped, norm = clip_by_norm(g, 0.3)
    expected, kept = rule.update(start, clipped, rule.memory(start), 0.1)
    found, memory = rule.update(start, g, rule.memory(start), 0.1, scale=0.3 / norm)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in start)
    assert all(memory[name].tobytes() == kept[name].tobytes() for name in kept)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_an_update_that_is_not_finite_is_known(wrong):
    p = {"w": np.ones((5, 3), np.float32), "b": np.ones(4)}
    found, _ = SGD().update(p, p, SGD().memory(p), 0.1)
    assert are_finite(found)
    assert found.are_finite
    assert not are_finite(dict(found) | {"b": np.array([1.0, wrong])})
    for name in p:
        g = {n: np.array(value) for n, value in p.items()}
        g[name].flat[-1] = wrong
        found, _ = SGD().update(p, g, SGD().memory(p), 0.1)
        assert not are_finite(found)
        assert not found.are_finite


# ---------------------------------------------------------------- names and errors


def test_optimisers_are_found_by_name():
    assert [optimiser(name) for name in OPTIMISERS] == [SGD(), Adagrad(), RMSProp(), Adam(), AdamW()]
    assert optimiser("adamw", weight_decay=0.2) == AdamW(weight_decay=0.2)
    with pytest.raises(SettingError) as caught:
        optimiser("adan")
    assert str(caught.value) == "there is no optimiser 'adan'; optimisers are sgd, adagrad, rmsprop, adam, adamw"
    with pytest.raises(SettingError) as caught:
        optimiser("sgd", beta1=0.9)
    assert str(caught.value) == "sgd has no setting 'beta1'; settings are momentum, nesterov, weight_decay"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Adam(beta1=1.0), "Adam: beta1=1.0 must be a share, at least 0 and below 1"),
        (lambda: RMSProp(decay=-0.1), "RMSProp: decay=-0.1 must be a share, at least 0 and below 1"),
        (lambda: SGD(momentum="big"), "SGD: momentum='big' must be a share, at least 0 and below 1"),
        (lambda: SGD(momentum=0.5, nesterov=1), "SGD: nesterov=1 must be True or False"),
        (lambda: SGD(nesterov=True), "SGD: nesterov=True without a momentum changes nothing; give a momentum such as 0.9"),
        (lambda: Adagrad(epsilon=0), "Adagrad: epsilon=0 must be a finite number, above 0"),
        (lambda: SGD().update({}, {}, SGD().memory({}), math.inf), "SGD: rate=inf must be a finite number, 0 or more"),
        (lambda: clip_by_norm({}, -1.0), "clip_by_norm: limit=-1.0 must be a number above 0"),
        (lambda: clip_by_value({}, math.nan), "clip_by_value: limit=nan must be a number above 0"),
        (lambda: AdamW(weight_decay=math.nan), "AdamW: weight_decay=nan must be a finite number, 0 or more"),
    ],
)
def test_a_setting_out_of_range_is_told(make, text):
    with pytest.raises(SettingError) as caught:
        make()
    assert str(caught.value) == text


def test_arrays_that_do_not_fit_are_told():
    p, g, rule = {"w": np.ones((3, 4)), "b": np.ones(4)}, {"w": np.ones((3, 4)), "b": np.ones(4)}, Adam()
    memory = rule.memory(p)
    wrong = [
        ((p, {"w": g["w"]}, memory), SettingError, "Adam: b has no gradient; there are w. What is to stay is left out"),
        ((p, g | {"w": np.ones((4, 3))}, memory), ShapeError,
         "Adam: the gradient of w is (4, 3), the parameter is (3, 4)"),
        ((p, g, memory | {"second/b": np.ones(3)}), ShapeError, "Adam: the memory second/b is (3), the parameter is (4)"),
        ((p, g, {}), SettingError, "Adam: the memory has no count; memory(parameters) makes the first one"),
        ((p, g, SGD(momentum=0.5).memory(p)), SettingError,
         "Adam: the memory has no second/w; memory(parameters) makes the first one"),
        ((p | {"w": np.ones((3, 4), int)}, g, memory), DataError, "Adam: the parameter w holds int64, floats are wanted"),
        ((p | {"b": [1.0] * 4}, g, memory), DataError,
         "Adam: the parameter b is a list; an array is wanted, as numpy.asarray makes it"),
        ((p, g | {"b": [1.0] * 4}, memory), DataError,
         "Adam: the gradient of b is a list; an array is wanted, as numpy.asarray makes it"),
        ((p, g, memory | {"first/b": [0.0] * 4}), DataError,
         "Adam: the memory first/b is a list; an array is wanted, as numpy.asarray makes it"),
    ]  # fmt: skip
    for arguments, kind, text in wrong:
        with pytest.raises(kind) as caught:
            rule.update(*arguments, 0.1)
        assert str(caught.value) == text


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
def test_gradients_that_are_no_floats_are_not_clipped(clip):
    """Scaled, integers would all be zero."""
    for given, text in (
        (np.array([3, 4]), "the gradient of w holds int64; floats are wanted"),
        ([3.0, 4.0], "the gradient of w is a list; an array is wanted, as numpy.asarray makes it"),
    ):
        with pytest.raises(DataError) as caught:
            clip({"b": np.ones(2), "w": given}, 1.0)
        assert str(caught.value) == f"{clip.__name__}: {text}"
