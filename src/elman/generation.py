"""What a model does that speaks: sampling, generation, beam search, each from a prompt and a state."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from elman import decoding
from elman.checks import checked_seed, checked_token
from elman.decoding import Hypothesis
from elman.errors import SettingError, ShapeError
from elman.gates import Array
from elman.sampling import Sampling
from elman.shapes import Shape, written
from elman.states import State
from elman.text import Vocabulary


class Generates(ABC):
    """A model whose outputs can be its next inputs."""

    vocabulary: Vocabulary | None
    reads_tokens: bool

    def sample(
        self,
        prompt: Any,
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        state: Any = None,
    ) -> Iterator[int]:
        """Draw `length` tokens one by one after a prompt (tokens, or text where there is a vocabulary), from a state.

        Raises `DataError` for an empty prompt and `SettingError` for a setting out of range, before anything is drawn.
        """
        sampling, length = Sampling(temperature, top_k, top_p), decoding.checked_length(length)
        rng, (tokens, first) = np.random.default_rng(checked_seed(seed)), self._spoken(prompt, state)
        return decoding.drawn(self._next, tokens, first, length, sampling, rng, self._banned)

    def generate(
        self,
        prompt: Any,
        length: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        *,
        state: Any = None,
    ) -> Any:
        """Continue a prompt by `length` symbols: text gives text, tokens give tokens `[length]`; same seed, same answer.

        `temperature`, `top_k` and `top_p` as for `Sampling`; `state` is where to start (the initial state). A model of
        features runs free: each output is its next input, and a prompt `[T, I]` gives `[length, I]`.
        """
        if not self.reads_tokens:
            if (temperature, top_k, top_p) != (1.0, None, None):
                raise SettingError("generate: features are not drawn; temperature, top_k and top_p are for tokens")
            length, (x, first) = decoding.checked_length(length), self._prompt(prompt, state)
            return decoding.fed_back(self._advance, x, first, length)
        sampled = self.sample(prompt, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, state=state)
        tokens = np.array(list(sampled), np.int64)
        return self.vocabulary.decode(tokens) if isinstance(prompt, str) and self.vocabulary is not None else tokens

    def beam_search(
        self,
        prompt: Any,
        length: int,
        *,
        width: int = 4,
        end: int | None = None,
        length_penalty: float = 0.0,
        state: Any = None,
    ) -> list[Hypothesis]:
        """The likeliest continuations of a prompt that `width` beams find, best first.

        Each has up to `length` tokens, or ends before the token `end`; they are ranked by ln p / n^length_penalty, n tokens
        long. Raises `SettingError` for a setting out of range, `DataError` for an empty prompt.
        """
        length = decoding.checked_length(length)
        settings = decoding.Beams(width, checked_token("end", end, self.word_dim), length_penalty, self._banned)
        tokens, first = self._spoken(prompt, state)
        return decoding.beams(self._next, tokens, first, length, settings)

    # --- what a model brings ------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _next_shape(self) -> Shape | None:
        """The shape of an output that can be the next input; None where none can."""

    @property
    @abstractmethod
    def word_dim(self) -> int:
        """Number of symbols, or of features."""

    @abstractmethod
    def _check_forward(self) -> None:
        """Raises `SettingError` where a direction reads from the end."""

    @abstractmethod
    def _input(self, x: Any, lengths: Any = None) -> Array: ...

    @abstractmethod
    def _resumed(self, state: Any, batch: int | None) -> State: ...

    @abstractmethod
    def _advance(self, x: Array, state: State, lengths: Any = None) -> tuple[Array, State]: ...

    @abstractmethod
    def _next(self, tokens: Array, state: State) -> tuple[Array, State]: ...

    @property
    def _banned(self) -> int | None:
        """The symbol that is never drawn: the one for what is unknown."""
        return self.vocabulary.unknown if self.vocabulary is not None else None

    def _spoken(self, prompt: Any, state: Any) -> tuple[Array, State]:
        if not self.reads_tokens:
            raise SettingError("this model reads features, so there are no tokens to draw; generate runs it free")
        return self._prompt(prompt, state)

    def _prompt(self, prompt: Any, state: Any) -> tuple[Array, State]:
        """A prompt as a batch of one, and the state before it."""
        self._check_forward()
        if self._next_shape != (self.word_dim,):
            gives = "gives one output a sequence" if self._next_shape is None else f"gives {written(self._next_shape)}"
            raise SettingError(f"generate: this model {gives} and reads ({self.word_dim}): no output can be its next input")
        x = self._input(prompt)
        if x.ndim != (1 if self.reads_tokens else 2):
            raise ShapeError(f"generate: the prompt is {written(x.shape)}; one sequence [T] is wanted")
        if not len(x):
            raise ShapeError("generate: the prompt is empty; at least one step is wanted")
        return x[None], State.stack([self._resumed(state, None)])
