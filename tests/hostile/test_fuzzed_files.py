"""Valid files of every kind, changed at random: each opens, or is refused in a line; nothing else comes of any.

ELMAN_FUZZ says how many seconds are spent on every kind; what has found something stands in `FOUND`, and is tried each time.
"""

import os
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("h5py")
pytest.importorskip("pyarrow")

from readers import READERS, valid

from elman.errors import ElmanError

SECONDS = float(os.environ.get("ELMAN_FUZZ", "0.5"))

NUMBERS = [
    (1 << bits) - less
    for bits in (0, 7, 8, 15, 16, 31, 32, 40, 62, 63, 64)
    for less in (0, 1)
    if (1 << bits) - less < 1 << 64
]
"""What lengths and sizes are changed to."""

PLACE = st.floats(0, 1, exclude_max=True)
"""Where in a file, as a share of its length: so a seed means the same where a file is longer by some bytes."""

CHANGES = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(st.just("byte"), PLACE, st.integers(0, 255)),
    st.tuples(
        st.just("number"), PLACE, st.sampled_from(NUMBERS), st.sampled_from([2, 4, 8]), st.sampled_from(["little", "big"])
    ),
    st.tuples(st.just("cut"), PLACE, st.sampled_from([1, 2, 4, 8, 100])),
    st.tuples(st.just("splice"), PLACE, PLACE, st.sampled_from([1, 4, 8, 64, 512])),
    st.tuples(st.just("digits"), PLACE, st.sampled_from([b"9" * 30, b"-1", b"1e999", b"[" * 2000, b'"', b"null", b"0"])),
)


def changed(data, changes):
    """A file after some changes."""
    made = bytearray(data)
    for what, place, *more in changes:
        at = int(place * len(made))
        match what:
            case "flip" if made:
                made[at] ^= 1 << more[0]
            case "byte" if made:
                made[at] = more[0]
            case "number":
                made[at : at + more[1]] = (more[0] & ((1 << 8 * more[1]) - 1)).to_bytes(more[1], more[2])
            case "cut":
                del made[at : at + more[0]]
            case "splice":
                begin = int(more[0] * len(made))
                made[at:at] = made[begin : begin + more[1]]
            case "digits":
                while at < len(made) and not made[at : at + 1].isdigit():
                    at += 1
                made[at : at + 1] = more[0]
    return bytes(made)


def tried(kind, path):
    """Open a file; whatever is raised is an error of ours, told in a line."""
    started, message = time.process_time(), ""
    try:
        READERS[kind].read(path)
    except ElmanError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
    assert len(message) < 3000
    assert time.process_time() - started < 5


@pytest.mark.filterwarnings("ignore")  # of numbers that are not finite, names that stand twice, and the like
@pytest.mark.parametrize("kind", READERS)
def test_changed_files_open_or_are_refused(tmp_path, kind):
    path = valid(kind, tmp_path)
    whole, ends, found = path.read_bytes(), time.monotonic() + SECONDS, []

    # No shrinking, which would go on beyond the time, and past what was found to where the time is over.
    @settings(
        max_examples=10**7, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(st.lists(CHANGES, min_size=1, max_size=5))
    def fuzzed(changes):
        if time.monotonic() > ends and not found:
            raise Enough
        path.write_bytes(changed(whole, changes))
        found.append(changes)
        tried(kind, path)
        found.clear()

    with suppress(Enough):
        fuzzed()


FOUND = {
    "an archive of another version of zip": ("npz", [("flip", 0.80859375, 0)]),
    "an entry that is packed by no method": ("npz", [("flip", 0.8046875, 5)]),
    "an entry that is a patch": ("npz", [("flip", 0.8046875, 6)]),
    "a header whose bracket is never closed": ("npy", [("flip", 0.19921875, 0)]),
    "a header that is cut": ("tokens", [("cut", 0.5, 1)]),
    "an output of a branch that nothing gives": ("onnx", [("flip", 0.328125, 0)]),
}
"""What has come to another error once. A crash and a hang that were found are among the hostile files: `astray`, `heap`."""


@pytest.mark.parametrize("case", FOUND)
def test_what_was_found_once(tmp_path, case):
    kind, changes = FOUND[case]
    path = valid(kind, tmp_path)
    path.write_bytes(changed(path.read_bytes(), changes))
    tried(kind, path)


@pytest.mark.parametrize("error", [KeyError("a"), SyntaxError("b"), MemoryError(), ElmanError("two\nlines")])
def test_another_error_is_noticed(tmp_path, monkeypatch, error):
    def read(path):
        raise error

    monkeypatch.setitem(READERS, "npy", READERS["npy"]._replace(read=read))
    with pytest.raises((type(error), AssertionError)):
        tried("npy", tmp_path)


class Enough(BaseException):
    """The time is over; nothing that hypothesis would look into."""
