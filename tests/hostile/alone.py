"""A process of its own that opens files, and tells of each in a line what came of it.

It reads lines of JSON, [kind, path], and writes for each what was raised, its message, the seconds of the processor, and by
how many bytes the process grew at most. A crash ends it, and whoever started it sees at which file; its memory ends at a
gigabyte more.
"""

import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path

from readers import READERS

HARM = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "socket.connect")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


def watch(harm: list[str], folder: str) -> None:
    """Tell of commands, of what is taken away, and of what is opened for writing outside of the folder."""

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
            path = os.path.realpath(str(arguments[0]))
            if not path.startswith(folder) and not str(arguments[0]).isdigit():
                harm.append(f"writes {path}")
        elif event in HARM and not str(arguments[0]).startswith(folder):
            harm.append(f"{event} {arguments!r}"[:200])

    sys.addaudithook(heard)


def status(name: str) -> int:
    """A size of this process in bytes."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


def opened(kind: str, path: Path, harm: list[str]) -> dict[str, object]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    harm.clear()
    before, started, raised, causes = status("VmRSS"), time.process_time(), None, []
    try:
        READERS[kind].read(path)
    except BaseException as error:  # whatever it is: it is looked at elsewhere
        raised, cause = error, error.__cause__ or error.__context__
        while cause is not None:
            causes.append(type(cause).__name__)
            cause = cause.__cause__ or cause.__context__
    told = {"seconds": time.process_time() - started, "bytes": status("VmHWM") - before, "causes": causes}
    ours = raised is not None and any(each.__name__ == "ElmanError" for each in type(raised).__mro__)
    return told | {"raised": raised and type(raised).__name__, "message": raised and str(raised), "ours": ours}


def main() -> None:
    warnings.simplefilter("ignore")
    harm: list[str] = []
    folder = sys.argv[1]
    for kind, good in json.loads(sys.argv[2]).items():  # what is imported by a first file is none of the others'
        READERS[kind].read(Path(good))
    limit = status("VmSize") + 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    watch(harm, folder)
    for line in sys.stdin:
        kind, path = json.loads(line)
        print(json.dumps(opened(kind, Path(path), harm) | {"harm": harm}), flush=True)


if __name__ == "__main__":
    main()
