"""Many samples for one prompt, with all that a trainer by reinforcement wants to know of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from ._convert import integer, number
from .decoder import Decoder
from .errors import InvalidArgumentError
from .generation import Generation
from .many import step_many
from .records import Event
from .scoring import Noised


@dataclass(frozen=True)
class Rollouts:
    """N samples for one prompt; arrays are [N, L], L being that of the longest canvas up to where it was written.

    Attributes:
        tokens: np.int32, prompt first. Behind an answer's end the rest of its last block, as the model wrote it, then
            masks.
        lengths: np.int32 [N]: where the answers end, with their end-of-sequence token.
        step_maps: np.int32: after how many forwards a token was written last; 0 in the prompt and where none was.
        log_probs: np.float32: the log of the probability with which a token was drawn, or taken, when it was written
            last: under the behaviour policy, temperature and top-k/p applied. NaN where none was.
        rewards: np.float64 [N]; zeros without a reward function.
        generations: Of each sample.
        prompt_length: Of all.
        block_length: Of all.
        mask_token_id: The model's.
    """

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int32]
    step_maps: NDArray[np.int32]
    log_probs: NDArray[np.float32]
    rewards: NDArray[np.float64]
    generations: list[Generation]
    prompt_length: int
    block_length: int
    mask_token_id: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def advantages(self) -> NDArray[np.float64]:
        """(reward - mean) / standard deviation over the N, float64 [N]; zeros where all rewards are the same."""
        spread = self.rewards.std()
        return (self.rewards - self.rewards.mean()) / spread if spread > 0 else np.zeros(len(self))

    @property
    def block_steps(self) -> NDArray[np.int32]:
        """`step_maps` counted in each block from its first token on, as 1; 0 where no token was written. np.int32 [N,
        L]"""
        count, length = self.step_maps.shape
        blocks = self.step_maps.reshape(count, length // self.block_length, self.block_length)
        first = np.where(blocks > 0, blocks, np.iinfo(np.int32).max).min(axis=2, keepdims=True)
        return np.where(blocks > 0, blocks - first + 1, 0).astype(np.int32).reshape(count, length)

    def noisy_at(self, step: int) -> NDArray[np.int32]:
        """The canvases with each block as it was before one of its steps: tokens written earlier, masks for those to
        come.

        Args:
            step: 1 is the first that wrote.

        Returns:
            np.int32 [N, L]. A token that was edited stands from its last writing on.
        """
        step = integer(step, "step", low=1)
        written = self.block_steps
        waiting = (written == 0) | (written >= step)
        waiting[:, : self.prompt_length] = False
        return np.where(waiting, np.int32(self.mask_token_id), self.tokens)

    def noised(self, steps: Any) -> list[Noised]:
        """z_n for time steps n, as `llada.ebpo` takes them.

        Args:
            steps: [versions] for all rollouts, or [N, versions].

        Returns:
            N of Noised whose versions are `noisy_at` the steps. Only tokens up to an answer's end count: what stands
            behind it is masked in both, so that no version is scored there.

        Raises:
            InvalidArgumentError: The steps are of another shape, or below 1.
        """
        chosen = np.asarray(steps)
        if chosen.ndim == 1:
            chosen = np.broadcast_to(chosen, (len(self), len(chosen)))
        if chosen.ndim != 2 or len(chosen) != len(self):
            raise InvalidArgumentError(
                f"steps are of shape {np.shape(steps)}; expected [versions] or [{len(self)}, versions]"
            )
        states = {int(step): self.noisy_at(int(step)) for step in np.unique(chosen)}
        noised = []
        for index, row in enumerate(chosen):
            tokens = self.tokens[index].copy()
            tokens[self.lengths[index] :] = self.mask_token_id
            noisy = np.stack([states[int(step)][index] for step in row])
            noisy[:, self.lengths[index] :] = self.mask_token_id
            noised.append(Noised(tokens, noisy, self.prompt_length))
        return noised

    def __repr__(self) -> str:
        more = int(self.lengths.max(initial=self.prompt_length)) - self.prompt_length
        return (
            f"<llada.Rollouts: {len(self)} of {self.prompt_length} prompt tokens and up to {more} more, "
            f"rewards {self.rewards.mean():.3f}>"
        )


def _finite(value: Any) -> float:
    """A reward. One that is not finite would leave no advantages."""
    reward = number(value, "reward")
    if not math.isfinite(reward):
        raise InvalidArgumentError(f"reward is {reward}; expected a finite number")
    return reward


class Written:
    """How likely a decoder's tokens were when they were written last.

    Attributes:
        log_probs: np.float32, as long as the canvas: see `Rollouts`.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.log_probs = np.full(len(decoder.canvas), np.nan, np.float32)
        self._mask = decoder.mask_token_id

    def note(self, events: Iterable[Event]) -> None:
        """Notes the events of each step, in their order."""
        for event in events:
            masked = event.kind == "delete" or event.new == self._mask
            value = np.nan if masked else np.log(np.float32(event.confidence))
            if event.moves:
                event.move(self.log_probs, value)
            else:
                self.log_probs[event.position] = value


def roll_out(decoders: Sequence[Decoder], reward: Callable[[Generation], float] | None) -> Rollouts:
    """Steps decoders on one prompt to their ends, the first of them ahead, so that the others find its prompt in their
    cache: see `Model.rollouts`."""
    first = decoders[0]
    written = [Written(decoder) for decoder in decoders]

    def advance(working: list[int]) -> None:
        for index, step in zip(working, step_many([decoders[index] for index in working])):
            written[index].note(step.events)

    advance([0])
    while working := [index for index, decoder in enumerate(decoders) if not decoder.finished]:
        advance(working)
    generations = [decoder.result for decoder in decoders]
    length, blocks = first.prompt_length, -(-max(decoder.settled_length for decoder in decoders) // first.block_length)
    end = blocks * first.block_length
    return Rollouts(
        np.stack([decoder.canvas for decoder in decoders])[:, :end],
        np.array([length + len(generation.tokens) for generation in generations], np.int32),
        np.stack([decoder.step_map for decoder in decoders])[:, :end],
        np.stack([each.log_probs for each in written])[:, :end],
        np.array([0.0 if reward is None else _finite(reward(generation)) for generation in generations]),
        generations,
        length,
        first.block_length,
        first.mask_token_id,
    )
