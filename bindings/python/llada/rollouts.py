"""Many samples for one prompt, with all that a trainer by reinforcement wants to know of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from ._convert import integer, number
from .errors import InvalidArgumentError
from .many import step_many
from .policy import Policy
from .records import Generation
from .scoring import Noised, mask_of

if TYPE_CHECKING:
    from .model import Model


@dataclass(frozen=True)
class Rollouts:
    """N samples for one prompt; arrays are [N, L], L being that of the longest canvas up to where it was written.

    tokens         np.int32, prompt first. Behind an answer's end the rest of its last block, as the model wrote it, then masks
    lengths        np.int32 [N]: where the answers end, with their end-of-sequence token
    step_maps      np.int32: after how many forwards a token was written last; 0 in the prompt and where none was
    log_probs      float32: the log of the probability with which a token was drawn, or taken, when it was written last:
                   under the behaviour policy, temperature and top-k/p applied. NaN where none was
    rewards        float64 [N]; zeros without a reward function
    generations    N of Generation
    prompt_length, block_length, mask_token_id
    """

    tokens: np.ndarray
    lengths: np.ndarray
    step_maps: np.ndarray
    log_probs: np.ndarray
    rewards: np.ndarray
    generations: list[Generation]
    prompt_length: int
    block_length: int
    mask_token_id: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def advantages(self) -> np.ndarray:
        """(reward - mean) / standard deviation over the N, float64 [N]; zeros where all rewards are the same."""
        spread = self.rewards.std()
        return (self.rewards - self.rewards.mean()) / spread if spread > 0 else np.zeros(len(self))

    @property
    def block_steps(self) -> np.ndarray:
        """`step_maps` counted in each block from its first token on, as 1; 0 where no token was written. np.int32 [N, L]"""
        count, length = self.step_maps.shape
        blocks = self.step_maps.reshape(count, length // self.block_length, self.block_length)
        first = np.where(blocks > 0, blocks, np.iinfo(np.int32).max).min(axis=2, keepdims=True)
        return np.where(blocks > 0, blocks - first + 1, 0).astype(np.int32).reshape(count, length)

    def noisy_at(self, step: int) -> np.ndarray:
        """The canvases with each block as it was before its `step`-th step, 1 being the first that wrote: tokens written
        earlier, masks for those to come. A token that was edited stands from its last writing on. np.int32 [N, L]"""
        step = integer(step, "step", low=1)
        written = self.block_steps
        waiting = (written == 0) | (written >= step)
        waiting[:, : self.prompt_length] = False
        return np.where(waiting, np.int32(self.mask_token_id), self.tokens)

    def noised(self, steps: Any) -> list[Noised]:
        """z_n for time steps n, as `llada.ebpo` takes them: N of Noised whose versions are `noisy_at` the steps.

        steps  [versions] for all rollouts, or [N, versions]

        Only tokens up to an answer's end count: what stands behind it is masked in both, so that no version is scored there."""
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
        return (
            f"<llada.Rollouts: {len(self)} of {self.prompt_length} prompt tokens and up to "
            f"{int(self.lengths.max(initial=self.prompt_length)) - self.prompt_length} more, rewards {self.rewards.mean():.3f}>"
        )


def _finite(value: Any) -> float:
    """A reward. One that is not finite would leave no advantages."""
    reward = number(value, "reward")
    if not math.isfinite(reward):
        raise InvalidArgumentError(f"reward is {reward}; expected a finite number")
    return reward


def rollouts(
    model: Model,
    prompt: Any,
    n: int,
    policy: Policy | None,
    seeds: Sequence[int] | None,
    reward: Callable[[Generation], float] | None,
    block_length: int,
    gen_length: int,
    eos_early_stop: bool,
    chat: bool | None,
) -> Rollouts:
    """See `Model.rollouts`."""
    mask = mask_of(model)
    seeds = range(integer(n, "n", low=1)) if seeds is None else [integer(seed, "seed", 0, 2**64 - 1) for seed in seeds]
    if not len(seeds):
        raise InvalidArgumentError("there are no seeds")
    policy = Policy._checked(policy)
    ids = model.encode_prompt(prompt, chat)
    decoders = []
    # The prompt is computed once, by the first: the cache has no other bound than what the decoders themselves take.
    with model.prefix_cache(2**62) as cache:
        try:
            for seed in seeds:
                decoders.append(
                    model.decoder(
                        ids, policy.replace(seed=seed), block_length, gen_length, eos_early_stop, prefix_cache=cache
                    )
                )
            log_probs = [np.full(len(decoder.canvas), np.nan, np.float32) for decoder in decoders]

            def advance(working: list) -> None:
                for index, step in zip(working, step_many([decoders[index] for index in working])):
                    for event in step.events:
                        value = np.nan if event.kind == "remask" else np.log(np.float32(event.confidence))
                        log_probs[index][event.position] = value

            advance([0])
            while working := [index for index, decoder in enumerate(decoders) if not decoder.finished]:
                advance(working)
            generations = [decoder.result for decoder in decoders]
            tokens = np.stack([decoder.canvas for decoder in decoders])
            step_maps = np.stack([decoder.step_map for decoder in decoders])
            written = -(-max(decoder.settled_length for decoder in decoders) // block_length) * block_length
        finally:
            for decoder in decoders:
                decoder.close()
    lengths = np.array([len(ids) + len(generation.tokens) for generation in generations], np.int32)
    rewards = np.array([0.0 if reward is None else _finite(reward(generation)) for generation in generations])
    return Rollouts(
        tokens[:, :written],
        lengths,
        step_maps[:, :written],
        np.stack(log_probs)[:, :written],
        rewards,
        generations,
        len(ids),
        block_length,
        mask,
    )
