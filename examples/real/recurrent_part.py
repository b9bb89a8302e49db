"""The LSTM of Silero VAD, from the safetensors file of its package (MIT), beside PyTorch's LSTMCell.

The file holds the whole detector in PyTorch's arrangement; the convolutions around the LSTM are left out, and features that
are drawn stand for what they give. Needs `pip install torch` and `pip install --no-deps silero-vad`.
"""

import argparse

import numpy as np
import torch
from beside import Compared, difference, file_of, in_turn

import elman

FILE, PART = "silero_vad_16k.safetensors", "lstm_cell."


def main(steps: int = 250) -> list[Compared]:
    """Compare, show, and return what was found; 250 steps are 8 s of sound."""
    arrays = elman.io.safetensors.read_arrays(file_of("silero-vad", FILE))
    part = {name.removeprefix(PART): array for name, array in arrays.items() if name.startswith(PART)}
    rnn = elman.io.pytorch.load(part).rnn
    hidden, inputs = rnn.parameters["ui"].shape[0], rnn.parameters["wi"].shape[1]
    cell = torch.nn.LSTMCell(inputs, hidden)
    cell.load_state_dict({name: torch.from_numpy(array) for name, array in part.items()})
    torch.set_num_threads(1)
    x = np.maximum(np.random.default_rng(0).normal(size=(steps, inputs)), 0).astype(np.float32)  # a relu stands below

    def theirs() -> np.ndarray:
        state, ys = None, []
        for x_t in torch.from_numpy(x)[:, None]:
            state = cell(x_t, state)
            ys.append(state[0])
        return torch.cat(ys).numpy()

    with torch.inference_mode():
        found = difference(rnn(x)[0], theirs())
        taken = in_turn(lambda: rnn(x), theirs, samples=30)
    compared = Compared(f"{FILE}, {PART[:-1]}, {steps} steps", *found, *taken, repr(rnn))
    print(compared)
    return [compared]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=250)
    main(parser.parse_args().steps)
