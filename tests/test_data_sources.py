"""Sources of batches: streams and padded sequences against literal loops, positions to the bit, the words of errors."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import elman
from elman.data import Padded, Pairs, Source, Streams
from elman.errors import DataError, SettingError, ShapeError
from elman.optim import Adam
from messages import raises


def same(one, other) -> bool:
    """Whether two batches are equal to the bit, in types too."""
    for name in ("x", "targets", "lengths", "weights", "target_lengths"):
        a, b = getattr(one, name), getattr(other, name)
        if (a is None) != (b is None):
            return False
        if a is not None and (a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes()):
            return False
    return (one.anew, one.symbols) == (other.anew, other.symbols)


def sequences(count: int, seed: int = 0, longest: int = 20):
    """Features of random lengths, and targets of each step."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, count)
    return [rng.normal(size=(n, 3)) for n in lengths], [rng.integers(0, 9, n) for n in lengths]


# ---------------------------------------------------------------- streams


@given(st.integers(2, 300), st.integers(1, 9), st.integers(1, 12), st.integers(0, 3))
def test_streams_are_contiguous_and_apart(count, batch, length, seed):
    """Each token is its own place, so every value can be told."""
    source = Streams(np.arange(count), batch, length, seed)
    for epoch in range(3):
        rows, seen = [[] for _ in range(source.batch)], set()
        for step in range(source.steps_per_epoch):
            assert source.epoch == epoch
            taken = source.take()
            assert (taken.anew, taken.symbols, taken.lengths) == (step == 0, source.batch * source.length, None)
            for row, x, y in zip(rows, taken.x, taken.targets, strict=True):
                assert len(x) == source.length
                assert (y == x + 1).all()
                assert not row or x[0] == row[-1] + 1
                row.extend(x.tolist())
        for row in rows:
            assert row == list(range(row[0], row[0] + len(row)))
            assert not seen & set(row)
            seen |= set(row)
        unread = count - 1 - len(seen)
        assert 0 <= unread <= source.batch * source.length + source.length - 2
        assert rows[0][0] < source.length


def test_streams_are_cut_as_a_loop_cuts_them():
    tokens = np.random.default_rng(5).integers(0, 50, 101)
    taken = Streams(tokens, batch=3, length=4, seed=2)
    begin = next(begin for begin in range(4) if same_rows(taken, tokens, begin, 0))
    assert [same_rows(taken, tokens, begin, step) for step in range(1, taken.steps_per_epoch)] == [True] * 7
    assert [place for place in range(4) if same_rows(Streams(tokens, 3, 4, 2), tokens, place, 0)] == [begin]


def same_rows(source, tokens, begin: int, step: int) -> bool:
    source.seek(source.position() | {"epoch": 0, "step": step})
    batch, apart = source.take(), (len(tokens) - 1 - begin) // 3
    for b in range(3):
        for t in range(4):
            place = begin + b * apart + step * 4 + t
            if batch.x[b, t] != tokens[place] or batch.targets[b, t] != tokens[place + 1]:
                return False
    return True


def test_epochs_begin_at_other_places_and_seeds_differ():
    def begins(seed, count=5000):
        source, found = Streams(np.arange(count), batch=2, length=50, seed=seed), []
        for epoch in range(12):
            source.seek(source.position() | {"epoch": epoch, "step": 0})
            found.append(int(source.take().x[0, 0]))
        return found

    assert len(set(begins(0))) > 6
    assert begins(0) == begins(0) != begins(1)
    assert all(0 <= begin < 50 for begin in begins(0))
    assert len(set(begins(0, count=1001))) > 6  # also where windows from the first token on would leave nothing over


def test_targets_of_ones_own_stand_beside_their_steps():
    x, y = np.random.default_rng(1).normal(size=(60, 2)).astype("float32"), np.arange(60, dtype=np.int16)
    source = Streams(x, batch=3, length=5, targets=y)
    batch = source.take()
    assert (batch.x.dtype, batch.targets.dtype, batch.x.shape) == ("float32", "int64", (3, 5, 2))
    for b in range(3):
        for t in range(5):
            assert (batch.x[b, t] == x[batch.targets[b, t]]).all()
    assert (np.diff(batch.targets[:, 0]) == (60 - batch.targets[0, 0]) // 3).all()
    assert Streams([5, 6, 7], batch=1, length=3, targets=[8, 9, 1]).take().targets.tolist() == [[8, 9, 1]]


def test_weights_stand_beside_what_is_told():
    """Own targets beside their steps, the next token beside itself; each number is its own place."""
    places, weights = np.arange(60), np.arange(60) / 4
    for source in (
        Streams(places, 3, 4, seed=2, weights=weights),
        Streams(places, 3, 4, 2, targets=places, weights=weights),
    ):
        for _ in range(source.steps_per_epoch + 2):
            batch = source.take()
            assert batch.weights.shape == batch.targets.shape == (3, 4)
            assert (batch.weights == batch.targets / 4).all()
    assert Streams(places).take().weights is None


def test_features_without_targets_tell_the_next_step():
    x = np.random.default_rng(1).normal(size=(40, 2))
    batch = Streams(x, batch=2, length=6).take()
    for b in range(2):
        place = int(np.flatnonzero((x == batch.x[b, 0]).all(1))[0])
        assert (batch.x[b] == x[place : place + 6]).all()
        assert (batch.targets[b] == x[place + 1 : place + 7]).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int64", ">u2"])
def test_any_integers_mapped_or_not_give_the_same_batches(tmp_path, dtype):
    tokens = np.random.default_rng(3).integers(0, 256, 999)
    np.save(tmp_path / "tokens.npy", tokens.astype(dtype))
    mapped, plain = Streams(np.load(tmp_path / "tokens.npy", mmap_mode="r"), 4, 7), Streams(tokens, 4, 7)
    assert mapped.position() == plain.position()
    for _ in range(2 * plain.steps_per_epoch + 1):
        one, other = mapped.take(), plain.take()
        assert type(one.x) is np.ndarray
        assert one.x.dtype == np.int64
        assert same(one, other)


def test_of_a_file_only_batches_are_in_memory(tmp_path):
    tokens = np.lib.format.open_memmap(tmp_path / "tokens.npy", "w+", "uint8", (200_000_000,))  # a file of holes
    tracemalloc.start()
    source = Streams(tokens, batch=8, length=100)
    for epoch in range(5):
        source.seek(source.position() | {"epoch": epoch, "step": 200_000})
        source.take()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 300_000


def test_a_short_text_makes_fewer_streams():
    source = Streams(np.arange(6), batch=32, length=64)
    assert (source.batch, source.length, source.steps_per_epoch) == (2, 2, 1)
    batch = source.take()
    assert (batch.targets == batch.x + 1).all()
    assert (Streams([4, 5]).take().x.tolist(), Streams([4, 5]).take().targets.tolist()) == ([[4]], [[5]])


# ---------------------------------------------------------------- padded sequences


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 5), st.integers(0, 3))
def test_every_epoch_reads_every_sequence_once(count, batch, buckets, seed):
    x, y = sequences(count, seed)
    source = Padded(x, y, batch, seed, buckets)
    by_first = {float(steps[0, 0]): place for place, steps in enumerate(x)}
    orders = []
    for epoch in range(2):
        seen = []
        for _ in range(source.steps_per_epoch):
            assert source.epoch == epoch
            taken = source.take()
            assert taken.anew
            assert taken.symbols == taken.lengths.sum()
            assert taken.x.shape[1] == taken.lengths.max()
            assert len(taken.x) <= batch
            for row, targets, length in zip(taken.x, taken.targets, taken.lengths, strict=True):
                place = by_first[float(row[0, 0])]
                assert (row[:length] == x[place]).all()
                assert (targets[:length] == y[place]).all()
                assert not row[length:].any()
                assert not targets[length:].any()
                seen.append(place)
        assert sorted(seen) == list(range(count))
        orders.append(seen)
    assert count < 20 or orders[0] != orders[1]


def padding(source) -> float:
    """The share of an epoch's steps that is padding."""
    batches = [source.take() for _ in range(source.steps_per_epoch)]
    return 1 - sum(batch.symbols for batch in batches) / sum(batch.x[..., 0].size for batch in batches)


def test_similar_lengths_stand_together_and_batches_are_shuffled():
    x, y = sequences(640, longest=100)
    sorted_share, shuffled_share = padding(Padded(x, y, batch=32)), padding(Padded(x, y, batch=32, buckets=1))
    assert shuffled_share > 0.4
    assert sorted_share < 0.1
    source = Padded(x[:512], y[:512], batch=32)  # one pool
    longest = [source.take().x.shape[1] for _ in range(source.steps_per_epoch)]
    assert longest not in (sorted(longest), sorted(longest)[::-1])


def test_sequences_of_one_length_change_their_company():
    x = np.arange(40)[:, None] + np.zeros((40, 5), int)
    source = Padded(x, np.arange(40), batch=4)
    companies = [frozenset(source.take().targets.tolist()) for _ in range(2 * source.steps_per_epoch)]
    assert len(set(companies)) > 15


def test_targets_once_a_sequence_go_with_it():
    x = [np.full(n, n) for n in (1, 4, 2, 3, 5)]
    for targets, shape in (([10, 40, 20, 30, 50], ()), (np.array([[n / 10, -n] for n in (1, 4, 2, 3, 5)]), (2,))):
        source, seen = Padded(x, targets, batch=2), set()
        for _ in range(source.steps_per_epoch):
            batch = source.take()
            assert batch.targets.shape == (len(batch.x), *shape)
            for length, target in zip(batch.lengths, batch.targets, strict=True):
                assert (target == (10 * length if shape == () else [length / 10, -length])).all()
                seen.add(int(length))
        assert seen == {1, 2, 3, 4, 5}


def test_a_target_as_long_as_its_sequence_is_of_steps_unless_told():
    x, y = np.zeros((4, 3), int), np.arange(12).reshape(4, 3)
    steps, once = Padded(x, y, 4), Padded(x, y, 4, once=True)
    assert steps.take().targets.shape == once.take().targets.shape == (4, 3)
    assert not steps._once
    assert once._once
    ragged = [[0, 0], [0, 0, 0]]
    assert sorted(Padded(ragged, [[1, 2], [3, 4]]).take().targets.tolist()) == [[1, 2], [3, 4]]
    with pytest.raises(ShapeError, match=r"sequence 1 has 3 steps, its targets are \(2\); one a step is wanted"):
        Padded(ragged, [[1, 2], [3, 4]], once=False)


def test_weights_go_with_their_sequences():
    """Once a sequence, one number for all of its steps, and one for each, padded with 0."""
    x = [np.arange(10 * k, 10 * k + 1 + k % 4) for k in range(9)]
    for weights in (np.arange(9.0), [np.full(len(each), float(k)) for k, each in enumerate(x)]):
        source = Padded(x, x, batch=4, weights=weights)
        for batch in (source.take() for _ in range(source.steps_per_epoch)):
            live = np.arange(batch.x.shape[1]) < batch.lengths[:, None]
            assert (batch.weights == np.where(live, batch.x // 10, 0)).all()
    source = Padded(x, np.arange(9), batch=4, weights=np.arange(9) / 2, once=True)
    assert all((batch.weights == batch.targets / 2).all() for batch in (source.take() for _ in range(3)))
    source = Padded(x[1:4], batch=2, weights=[each / 4 for each in x[1:4]])
    assert all((batch.weights == batch.targets / 4).all() for batch in (source.take() for _ in range(2)))
    assert Padded(x, x).take().weights is None


def test_without_targets_each_step_tells_the_next():
    batch = Padded([[7, 8, 9, 6], [4, 5]], batch=2).take()
    assert batch.x.tolist() == [[4, 0, 0], [7, 8, 9]]
    assert batch.targets.tolist() == [[5, 0, 0], [8, 9, 6]]
    assert batch.lengths.tolist() == [1, 3]


def test_whole_numbers_that_are_features_become_floats():
    batch = Padded([np.arange(4, dtype=np.uint8).reshape(2, 2)], [[0.5]]).take()
    assert (batch.x.dtype, batch.x.tolist(), batch.targets.tolist()) == ("float32", [[[0, 1], [2, 3]]], [[0.5]])


# ---------------------------------------------------------------- pairs


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 5), st.integers(0, 3), st.booleans())
def test_every_epoch_reads_every_pair_once(count, batch, buckets, seed, tokens):
    """Both sides keep their steps, whatever stands beside them; some targets have none."""
    x, _ = sequences(count, seed)
    rng = np.random.default_rng(seed + 1)
    y = [rng.integers(1, 9, n) if tokens else rng.normal(size=(n, 2)) for n in rng.integers(0, 6, count)]
    source, by_first, orders = Pairs(x, y, batch, seed, buckets), {float(x[at][0, 0]): at for at in range(count)}, []
    for epoch in range(2):
        seen = []
        for _ in range(source.steps_per_epoch):
            assert source.epoch == epoch
            taken = source.take()
            assert taken.anew
            assert taken.symbols == taken.target_lengths.sum()
            assert taken.x.shape[1] == taken.lengths.max()
            assert taken.targets.shape[1] == max(1, taken.target_lengths.max())
            for row, targets, n, u in zip(taken.x, taken.targets, taken.lengths, taken.target_lengths, strict=True):
                place = by_first[float(row[0, 0])]
                assert (n, u) == (len(x[place]), len(y[place]))
                assert (row[:n] == x[place]).all()
                assert (targets[:u] == y[place]).all()
                assert not row[n:].any()
                assert not targets[u:].any()
                seen.append(place)
        assert sorted(seen) == list(range(count))
        orders.append(seen)
    assert count < 20 or orders[0] != orders[1]


def test_pairs_stand_together_by_both_lengths():
    """One bucket for all: the batches of an epoch are those of the sorted pairs."""
    rng = np.random.default_rng(2)
    lengths = [(int(n), int(u)) for n, u in zip(rng.integers(1, 4, 60), rng.integers(0, 4, 60), strict=True)]
    source = Pairs([np.zeros(n, int) for n, _ in lengths], [np.zeros(u, int) for _, u in lengths], batch=5, buckets=12)
    found = [
        list(zip(b.lengths.tolist(), b.target_lengths.tolist(), strict=True)) for b in (source.take() for _ in range(12))
    ]
    wanted = [sorted(lengths)[at : at + 5] for at in range(0, 60, 5)]
    assert sorted(found) == sorted(wanted)
    assert found != wanted


def test_targets_without_a_step_are_tokens_or_as_the_others():
    batch = Pairs([[1], [2, 3]], [[], []]).take()
    assert (batch.targets.dtype, batch.targets.tolist(), batch.target_lengths.tolist()) == ("int64", [[0], [0]], [0, 0])
    batch = Pairs([[1], [2, 3]], [[], [[0.5, 1.5]]]).take()
    assert (batch.targets.tolist(), batch.target_lengths.tolist()) == ([[[0, 0]], [[0.5, 1.5]]], [0, 1])


def test_other_pairs_are_known():
    x, y = sequences(30)
    here = repr(Pairs(x, y))
    assert here.startswith("Pairs(30 sequences, batch=32, seed=0, buckets=16; data ")
    assert here == repr(Pairs(x, y))
    assert here != repr(Pairs([*x[:-1], x[-1] + 1], y))
    assert here != repr(Pairs(x, [*y[:-1], y[-1] + 1]))
    assert here != repr(Pairs(x, [*y[:-1], y[-1][:-1]]))


# ---------------------------------------------------------------- positions


def streams() -> Source:
    return Streams(np.random.default_rng(0).integers(0, 9, 400), batch=3, length=8, seed=4)


def padded() -> Source:
    x, y = sequences(41)
    return Padded(x, y, batch=4, seed=4, buckets=3)


def pairs() -> Source:
    x, y = sequences(41)
    return Pairs(x, [targets[: at % 5] for at, targets in enumerate(y)], batch=4, seed=4, buckets=3)


each_source = pytest.mark.parametrize("make", [streams, padded, pairs])


@each_source
@given(st.data())
def test_a_position_brings_back_the_same_batches(make, data):
    source, again = make(), make()
    steps = source.steps_per_epoch
    for _ in range(data.draw(st.integers(0, 3 * steps))):
        source.take()
    position = json.loads(json.dumps(source.position()))
    for _ in range(data.draw(st.integers(0, 2 * steps))):
        again.take()
    again.seek(position)
    assert again.epoch == source.epoch
    assert again.position() == source.position() == position
    for _ in range(steps + 2):
        assert same(source.take(), again.take())


@each_source
def test_a_position_counts_epochs_and_steps(make):
    source = make()
    for _ in range(source.steps_per_epoch + 2):
        source.take()
    position = source.position()
    assert (position["epoch"], position["step"]) == (1, 2)
    assert source.epoch == 1
    assert len(json.dumps(position)) < 200


@pytest.mark.parametrize("make", [streams, padded])
def test_training_goes_on_to_the_same_bits(make):
    """Half of a run, its model and source's position in files, the other half: as one run."""

    def started():
        layers = {"input": 9 if make is streams else 3, "hidden": 5}
        model = elman.Model.from_layers(elman.RNN(elman.cells.gru, **layers), outputs=9, tokens=make is streams)
        return model, None, Adam().memory(model.parameters)

    def learn(model, state, memory, source, updates):
        for _ in range(updates):
            batch = source.take()
            _, gradients, state = model.gradients(batch.x, batch.targets, None if batch.anew else state, batch.lengths)
            parameters, memory = Adam().update(model.parameters, gradients, memory, 0.01)
            model.update(parameters)
        return model, state, memory

    updates = make().steps_per_epoch - 2
    whole, _, _ = learn(*started(), make(), 2 * updates)
    source = make()
    half = learn(*started(), source, updates)
    again = make()
    again.seek(source.position())
    resumed, _, _ = learn(*half, again, updates)
    for name, value in whole.parameters.items():
        assert value.tobytes() == resumed.parameters[name].tobytes(), name


def test_a_position_of_another_source_is_refused():
    tokens = np.arange(100) % 7
    here = Streams(tokens, 2, 5)
    told = "Streams(100 steps, batch=2, length=5, seed=0; data "
    assert repr(here).startswith(told)
    others = (
        Streams(tokens[:99], 2, 5), Streams(tokens, 3, 5), Streams(tokens, 2, 6), Streams(tokens, 2, 5, 1),
        Streams(tokens + 1, 2, 5), Streams(tokens, 2, 5, targets=tokens), Padded([tokens], [0]),
        Streams(tokens, 2, 5, weights=tokens),
    )  # fmt: skip
    for other in others:
        message = (
            f"Streams: the position is one of {other!r}, this is {here!r}; go on with the data and the settings of that run"
        )
        with raises(DataError, message):
            here.seek(other.position())
    assert here.position()["step"] == 0


def test_other_padded_data_are_known():
    x, y = sequences(30)
    here = repr(Padded(x, y))
    assert here == repr(Padded(x, y))
    assert here != repr(Padded([*x[:-1], x[-1] + 1], y))
    assert here != repr(Padded(x, [*y[:-1], y[-1] + 1]))
    assert here != repr(Padded(x, y, buckets=2))
    weighed = repr(Padded(x, y, weights=np.arange(30)))
    assert weighed == repr(Padded(x, y, weights=np.arange(30)))
    assert len({here, weighed, repr(Padded(x, y, weights=np.arange(30)[::-1]))}) == 3


def test_what_is_no_position_is_refused():
    source = Streams(np.arange(100), 2, 5)
    position = source.position()
    with raises(DataError, "Streams: seek takes what position() gave, not {'epoch': 0}"):
        source.seek({"epoch": 0})
    with raises(DataError, "Streams: seek takes what position() gave, not 3"):
        source.seek(3)
    steps = source.steps_per_epoch
    for change, place in (
        ({"step": steps}, f"0, step {steps}"),
        ({"epoch": -1}, "-1, step 0"),
        ({"step": 0.5}, "0, step 0.5"),
    ):
        with raises(DataError, f"Streams: there is no epoch {place}; an epoch has {steps} steps"):
            source.seek(position | change)
    assert source.position() == position


# ---------------------------------------------------------------- what does not fit


WANTED = "tokens (integers [T]) or features (numbers [T, I]) are wanted"

WRONG = {
    "Streams: the sequence has 1 step; without targets each tells the next, so 2 are wanted":
        (DataError, lambda: Streams([3])),
    "Streams: the sequence has no step, (0); at least one is wanted": (DataError, lambda: Streams([])),
    f"Streams: the sequence is float64 (4); {WANTED}; a single feature is [T, 1]": (ShapeError, lambda: Streams(np.ones(4))),
    f"Streams: the sequence is <U4 (); {WANTED}": (ShapeError, lambda: Streams("text")),
    "Streams: the sequence has rows of different lengths; every step has as many numbers":
        (ShapeError, lambda: Streams([[1, 2], [3]])),
    "Streams: 3 steps, and targets (2); one a step is wanted": (ShapeError, lambda: Streams([1, 2, 3], targets=[1, 2])),
    "Streams: targets: numbers are wanted, this is <U1": (DataError, lambda: Streams([1, 2], targets=["a", "b"])),
    "Streams: batch=0 must be an integer, 1 or more": (SettingError, lambda: Streams([1, 2], batch=0)),
    "Streams: length=2.5 must be an integer, 1 or more": (SettingError, lambda: Streams([1, 2], length=2.5)),
    "seed=-1 must be an integer, 0 or more": (SettingError, lambda: Streams([1, 2], seed=-1)),
    "Padded: there is no sequence; one or more are wanted": (DataError, lambda: Padded([], [])),
    "Padded: sequence 1 has no step, (0); at least one is wanted": (DataError, lambda: Padded([[1], []], [0, 0])),
    f"Padded: sequence 1 is float64 (1); {WANTED}; a single feature is [T, 1]":
        (ShapeError, lambda: Padded([[1], [1.5]], [0, 0])),
    "Padded: sequence 1 is (4, 2), sequence 0 is (2, 3); steps of one shape are wanted":
        (ShapeError, lambda: Padded([np.ones((2, 3)), np.ones((4, 2))], [0, 0])),
    "Padded: 2 sequences and 1 targets; as many are wanted": (ShapeError, lambda: Padded([[1], [2]], [0])),
    "Padded: sequence 1 has 3 steps, its targets are (4); one a step is wanted, or one of the same shape for each sequence":
        (ShapeError, lambda: Padded([[1, 2], [2, 3, 4]], [[1, 2], [1, 2, 3, 4]])),
    "Padded: sequence 0 has 2 steps, its targets are (); one a step is wanted, or one of the same shape for each sequence":
        (ShapeError, lambda: Padded([[1, 2], [2, 3]], [5, 6], once=False)),
    "Padded: target 1 is (2), target 0 is (2, 1); steps of one shape are wanted":
        (ShapeError, lambda: Padded([[1, 2], [2, 3]], [[[1.0], [2.0]], [1, 2]])),
    "Padded: target 1 is (1), target 0 is (); one shape is wanted":
        (ShapeError, lambda: Padded([[1, 2], [2, 3]], [1, [2]], once=True)),
    "Padded: target 1: numbers are wanted, this is <U1": (DataError, lambda: Padded([[1], [2]], [1, "a"])),
    "Padded: sequence 1 has 1 step; without targets each tells the next, so 2 are wanted":
        (DataError, lambda: Padded([[1, 2], [3]])),
    "Streams: 3 steps, and weights (2); one a step is wanted": (ShapeError, lambda: Streams([1, 2, 3], weights=[1, 2])),
    "Streams: weights are (2, 1); one number a step is wanted": (ShapeError, lambda: Streams([1, 2], weights=[[1], [2]])),
    "Streams: weights: numbers are wanted, this is <U1": (DataError, lambda: Streams([1, 2], weights=["a", "b"])),
    "Padded: 2 sequences and 1 weights; as many are wanted": (ShapeError, lambda: Padded([[1], [2]], [0, 1], weights=[1])),
    "Padded: weight 1 is (1); one number a sequence is wanted":
        (ShapeError, lambda: Padded([[1], [2]], [0, 1], weights=[1, [2]])),
    "Padded: sequence 1 has 2 steps, its weights are (3); one number, or one a step is wanted":
        (ShapeError, lambda: Padded([[1], [2, 3]], [[1], [2, 3]], weights=[1, [2, 3, 4]])),
    "Padded: weight 0: numbers are wanted, this is <U1": (DataError, lambda: Padded([[1]], [0], weights=["a"])),
    "Padded: buckets=0 must be an integer, 1 or more": (SettingError, lambda: Padded([[1, 2]], [1], buckets=0)),
    "Pairs: there is no source; one or more are wanted": (DataError, lambda: Pairs([], [])),
    "Pairs: source 1 has no step, (0); at least one is wanted": (DataError, lambda: Pairs([[1], []], [[1], [2]])),
    "Pairs: 2 sources and 1 targets; as many are wanted": (ShapeError, lambda: Pairs([[1], [2]], [[1]])),
    f"Pairs: target 1 is float64 (1); {WANTED}; a single feature is [T, 1]":
        (ShapeError, lambda: Pairs([[1], [2]], [[1], [1.5]])),
    f"Pairs: target 1 is int64 (); {WANTED}": (ShapeError, lambda: Pairs([[1], [2]], [[1], 5])),
    "Pairs: target 1 is (1, 2), target 0 is (1); steps of one shape are wanted":
        (ShapeError, lambda: Pairs([[1], [2]], [[1], [[1.0, 2.0]]])),
    "Pairs: batch=0 must be an integer, 1 or more": (SettingError, lambda: Pairs([[1]], [[1]], batch=0)),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_errors_say_what_is_wrong(message):
    error, call = WRONG[message]
    with raises(error, message):
        call()
