"""The policies: how confidences become edits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from ctypes import c_float
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from . import _abi
from ._convert import choice, integer, number

_SAMPLING = ("temperature", "top_k", "top_p", "seed", "refresh")
_FIELDS = {
    "low_confidence": ("threshold", "steps", "minimal_topk", *_SAMPLING),
    "joint_threshold": (
        "threshold",
        "editing_threshold",
        "max_post_steps",
        "num_to_transfer",
        "penalty_lambda",
        "mbe_window",
        "mbe_rounds",
        *_SAMPLING,
    ),
    "levenshtein": (
        "threshold",
        "editing_threshold",
        "steps",
        "max_post_steps",
        "max_steps_per_block",
        "variant",
        *_SAMPLING,
    ),
}


@dataclass(frozen=True)
class Refresh:
    """Which rows a step runs through the model: masks, rows whose token has changed, and drafts of little confidence,
    or all if that is none. The first step of a block runs all. A row that does not run keeps its keys and values, and
    its prediction and confidence: steps cost less, and what comes out may differ. Equal inputs give equal bits all the
    same.

    `Policy.low_confidence(refresh=True)` has numbers that were measured, and so have the other presets but
    `levenshtein`.

    Attributes:
        changed: A row runs in so many steps after its token has changed; at least 1.
        below: A draft runs if its last confidence is below this.
        every: All rows run every so many steps of a block; None: in the first alone.
        exact: Whether a block that is done gets the keys and values of a forward over all its rows, which run in the
            first forward of the next block; else it keeps what it has. A prefix cache takes exact ones alone.
    """

    changed: int = 1
    below: float = 0.0
    every: int | None = None
    exact: bool = True


_REFRESH = {"low_confidence": Refresh(), "joint_threshold": Refresh(below=0.99, exact=False)}


def _refresh(value: Refresh | bool | None, kind: str) -> Refresh | None:
    """True is the preset of a kind."""
    if value is True and kind in _REFRESH:
        return _REFRESH[kind]
    if isinstance(value, Refresh):
        return value
    if value is None or value is False:
        return None
    expected = "a llada.Refresh, True or None" if kind in _REFRESH else "a llada.Refresh or None"
    raise TypeError(f"Policy.refresh must be {expected}, not {value!r}")


@dataclass(frozen=True, repr=False)
class Policy:
    """Which edits a step proposes. Make one with a preset; change it with `replace`.

    Attributes:
        kind: "low_confidence", "joint_threshold" or "levenshtein".
        threshold: A mask is filled where confidence > threshold.
        steps: low_confidence: at most this many steps a block. levenshtein: the masks with which a block begins are to
            be filled in so many steps, as many in each.
        minimal_topk: low_confidence: steps <= gen_length / minimal_topk.
        editing_threshold: joint_threshold, levenshtein: a written token is replaced where confidence > this; >= 1
            switches it off.
        max_post_steps: joint_threshold: at most this many steps of a block without a mask. levenshtein: in a row
            without a mask of the block's beginning; the last of them may not delete or insert.
        num_to_transfer: joint_threshold: at least this many masks are filled a step.
        penalty_lambda: joint_threshold: taken off the logit of the token that stands to the left, against repetition.
        mbe_window: Multi-block editing: when a block is done, this many blocks are revisited; 1 switches it off.
        mbe_rounds: They are revisited this many times, or until nothing changes.
        temperature: 0: the most likely token; else it is sampled, after top_k and top_p.
        top_k: Sampled among so many tokens; None: among all.
        top_p: Sampled among tokens of so much probability; None: among all.
        seed: Equal seeds draw equal tokens.
        max_steps_per_block: levenshtein, "reference": at most this many steps a block; one more if masks are left.
        variant: levenshtein: "reference", the rule of LLaDA2.2's own generate, or "indel", SGLang's
            JointThresholdInDel.
        refresh: Which rows a step runs, a Refresh; None: all. The constructors take True for what suits the kind.
    """

    kind: str = "joint_threshold"
    threshold: float = 0.7
    steps: int = 32
    minimal_topk: int = 1
    editing_threshold: float = 0.5
    max_post_steps: int = 16
    num_to_transfer: int = 1
    penalty_lambda: float = 0.0
    mbe_window: int = 1
    mbe_rounds: int = 1
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    max_steps_per_block: int = 1000
    variant: str = "reference"
    refresh: Refresh | None = None

    @classmethod
    def low_confidence(
        cls,
        threshold: float = 0.95,
        steps: int = 32,
        minimal_topk: int = 1,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        refresh: Refresh | bool | None = None,
    ) -> Policy:
        """LLaDA2.0: masks are filled where the model is sure, or by quota; what is written stays.

        Args:
            threshold, steps, minimal_topk, temperature, top_k, top_p, seed, refresh: As the attributes of Policy.
        """
        return cls(
            "low_confidence",
            threshold=threshold,
            steps=steps,
            minimal_topk=minimal_topk,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            refresh=_refresh(refresh, "low_confidence"),
        )

    @classmethod
    def joint_threshold(
        cls,
        threshold: float = 0.7,
        editing_threshold: float = 0.5,
        max_post_steps: int = 16,
        num_to_transfer: int = 1,
        penalty_lambda: float = 0.0,
        *,
        mbe_window: int = 1,
        mbe_rounds: int = 1,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        refresh: Refresh | bool | None = None,
    ) -> Policy:
        """LLaDA2.1: masks are filled, and tokens already written are replaced when the model changes its mind.

        Args:
            threshold, editing_threshold, max_post_steps, num_to_transfer, penalty_lambda: As the attributes of Policy.
            mbe_window, mbe_rounds, temperature, top_k, top_p, seed, refresh: As the attributes of Policy.
        """
        return cls(
            "joint_threshold",
            threshold=threshold,
            editing_threshold=editing_threshold,
            max_post_steps=max_post_steps,
            num_to_transfer=num_to_transfer,
            penalty_lambda=penalty_lambda,
            mbe_window=mbe_window,
            mbe_rounds=mbe_rounds,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            refresh=_refresh(refresh, "joint_threshold"),
        )

    @classmethod
    def levenshtein(
        cls,
        threshold: float = 0.5,
        editing_threshold: float = 0.0,
        steps: int = 32,
        max_post_steps: int = 16,
        max_steps_per_block: int = 1000,
        variant: str = "reference",
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        refresh: Refresh | bool | None = None,
    ) -> Policy:
        """LLaDA2.2: masks are filled, tokens are replaced, and where the model predicts one of two tokens that stand
        for it, a token is deleted, or a mask is inserted before it. What decoders of a LLaDA2.2 model use if they are
        given no policy; others lack the two tokens, and raise SpecialTokenError. With a temperature only masks are
        drawn, and confidences are those of temperature 1.

        Args:
            threshold, editing_threshold, steps, max_post_steps: As the attributes of Policy.
            max_steps_per_block, variant, temperature, top_k, top_p, seed, refresh: As the attributes of Policy.
        """
        return cls(
            "levenshtein",
            threshold=threshold,
            steps=steps,
            editing_threshold=editing_threshold,
            max_post_steps=max_post_steps,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            refresh=_refresh(refresh, "levenshtein"),
            max_steps_per_block=max_steps_per_block,
            variant=variant,
        )

    @classmethod
    def speedy(cls, **changes: Any) -> Policy:
        """LLaDA2.1's S mode: write early (threshold 0.5), revise freely (editing_threshold 0.0).

        Args:
            **changes: Other arguments of `joint_threshold`.
        """
        return cls.joint_threshold(**{"threshold": 0.5, "editing_threshold": 0.0, **changes})

    @classmethod
    def quality(cls, **changes: Any) -> Policy:
        """LLaDA2.1's Q mode: threshold 0.7, editing_threshold 0.5. `mbe_window=2` adds multi-block editing.

        Args:
            **changes: Other arguments of `joint_threshold`.
        """
        return cls.joint_threshold(**{"threshold": 0.7, "editing_threshold": 0.5, **changes})

    def replace(self, **changes: Any) -> Policy:
        """A copy with some fields changed.

        Args:
            **changes: Attributes of Policy.
        """
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        names = (name for name in _FIELDS.get(self.kind, ()) if name != "refresh" or self.refresh is not None)
        fields = (f"{name}={getattr(self, name)!r}" for name in names)
        return f"Policy.{self.kind}({', '.join(fields)})"

    @classmethod
    def _from_struct(cls, struct: _abi.Policy) -> Policy:
        """Floats as short as they can be written: 0.7, not 0.699999988."""
        values: dict[str, Any] = {
            field[0]: float(str(np.float32(getattr(struct, field[0]))))
            if field[1] is c_float
            else getattr(struct, field[0])
            for field in _abi.Policy._fields_[2:]
        }
        refresh = {name: values.pop(f"refresh_{name}") for name in ("changed", "below", "every", "exact")}
        if refresh["changed"]:
            values["refresh"] = Refresh(
                refresh["changed"], refresh["below"], refresh["every"] or None, bool(refresh["exact"])
            )
        values["variant"] = _abi.LEVENSHTEIN_VARIANTS[values["variant"]]
        values["top_k"] = values["top_k"] or None
        values["top_p"] = None if values["top_p"] == 1.0 else values["top_p"]
        return cls(_abi.POLICY_KINDS[struct.kind], **values)

    def _as_struct(self) -> _abi.Policy:
        """Raises TypeError or InvalidArgumentError for what C could not even hold; the library checks the rest."""
        struct = _abi.Policy()
        struct.kind = choice(self.kind, "Policy.kind", _abi.POLICY_KINDS)
        self._refresh_as_struct(struct)
        for field in _abi.Policy._fields_[2:]:
            name, kind = field[0], field[1]
            if name.startswith("refresh_"):
                continue
            value = getattr(self, name)
            if value is None and name in ("top_k", "top_p"):
                value = {"top_k": 0, "top_p": 1.0}[name]
            if kind is c_float:
                value = number(value, f"Policy.{name}")
            elif name == "variant":
                value = choice(value, "Policy.variant", _abi.LEVENSHTEIN_VARIANTS)
            elif name == "seed":
                value = integer(value, "Policy.seed", 0, 2**64 - 1)
            else:
                value = integer(value, f"Policy.{name}")
            setattr(struct, name, value)
        return struct

    def _refresh_as_struct(self, struct: _abi.Policy) -> None:
        refresh = _refresh(self.refresh, self.kind)
        if refresh is None:
            return
        struct.refresh_changed = integer(refresh.changed, "Refresh.changed", 1)
        struct.refresh_below = number(refresh.below, "Refresh.below")
        struct.refresh_every = 0 if refresh.every is None else integer(refresh.every, "Refresh.every", 1)
        if not isinstance(refresh.exact, bool):
            raise TypeError(f"Refresh.exact must be True or False, not {refresh.exact!r}")
        struct.refresh_exact = refresh.exact


PRESETS: Mapping[str, Callable[..., Policy]] = {
    "speedy": Policy.speedy,
    "quality": Policy.quality,
    "low_confidence": Policy.low_confidence,
    "levenshtein": Policy.levenshtein,
}
"""The presets, by the names that commands and servers have for them."""


def checked_policy(policy: Policy | None) -> Policy | None:
    """`policy`, which may be None: the model's own. Raises TypeError for what is none."""
    if policy is not None and not isinstance(policy, Policy):
        raise TypeError(f"policy must be a llada.Policy, not {policy!r}; a function of your own is a rule=")
    return policy
