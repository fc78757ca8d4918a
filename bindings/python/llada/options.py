"""The arguments of a generation, written once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from .cache import PrefixCache
from .decoder import Rule


class AnswerOptions(TypedDict, total=False):
    """How an answer is denoised: arguments of `Model.rollouts`, and of all that GenerationOptions are for.

    Attributes:
        block_length: Tokens that are denoised together; 32.
        gen_length: Tokens to generate at most; 256.
        eos_early_stop: Whether to stop as soon as the answer is known to have ended; True.
        chat: Whether a text goes through the chat layout: see `Model.encode_prompt`; None.
    """

    block_length: int
    gen_length: int
    eos_early_stop: bool
    chat: bool | None


class GenerationOptions(AnswerOptions, total=False):
    """The arguments, beside prompt and policy, of `Model.generate`, `decoder`, `generate_many` and `stream_many`.

    Attributes:
        block_length: Tokens that are denoised together; 32.
        gen_length: Tokens to generate at most; 256.
        eos_early_stop: Whether to stop as soon as the answer is known to have ended; True.
        chat: Whether a text goes through the chat layout: see `Model.encode_prompt`; None.
        infill: Whether mask ids in the prompt are positions to fill; else they are refused (SpecialTokenError). False.
        use_cache: False recomputes everything at every step, for comparison: same bits. True.
        prefix_cache: A PrefixCache of the model, through which decoders share what they have computed; None.
        rule: A decoding rule of your own: see `Decoder.rule`; None.
        logit_bias: {token: what is added to its logit}, at all positions: see `Decoder.set_logit_bias`; None.
    """

    infill: bool
    use_cache: bool
    prefix_cache: PrefixCache | None
    rule: Rule | None
    logit_bias: Mapping[int, float] | None


def check_names(function: str, given: Mapping[str, Any], options: Any) -> None:
    """Raises TypeError for arguments that are none of a TypedDict's. Python cannot: it takes them as **options."""
    unknown = sorted(given.keys() - options.__optional_keys__)
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise TypeError(
            f"{function}() got an unexpected keyword argument {names}; "
            f"the options are {', '.join(sorted(options.__optional_keys__))}"
        )
