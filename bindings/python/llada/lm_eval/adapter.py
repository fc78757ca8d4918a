"""The model that lm-evaluation-harness asks."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, cast

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from tqdm import tqdm
except ImportError as problem:
    raise ImportError(
        f"llada.lm_eval needs lm-evaluation-harness: pip install 'lm_eval>=0.4.13': {problem}"
    ) from problem

import numpy as np

from .. import _abi
from .._convert import Tokens, integer
from ..chat import checkpoint_template
from ..decoder import Decoder
from ..errors import InvalidArgumentError
from ..generation import Generation
from ..likelihood import draw_noise, elbos
from ..model import Model
from ..policy import Policy
from ..stopping import STOP, Stop

_LOG = logging.getLogger(__name__)

MODES = {
    "2.0": Policy.low_confidence(),
    "S": Policy.speedy(),
    "Q": Policy.quality(),
    "Q-mbe": Policy.quality(mbe_window=2),
    "L": Policy.levenshtein(),
}
"""Policies by name; "default" is the model's own."""

_NUMBERS = frozenset(Policy.__dataclass_fields__) - {"kind", "temperature", "top_k", "top_p", "seed"}
_LOADING = frozenset(("threads", "mask_token_id", "expert_capacity", "kv_dtype", "memory_limit", "blas", "use_mmap"))
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_WITHOUT_MEANING = frozenset(("do_sample", "until", "num_beams", "num_return_sequences", "use_cache"))


@register_model("llada")
class LLaDA(TemplateLM):  # type: ignore[misc]  # lm_eval has no types
    """A checkpoint as lm-evaluation-harness asks it.

    Args:
        path: The checkpoint.
        policy: "S", "Q", "Q-mbe", "2.0", "L", or "default", which is the model's own.
        dtype: As for `Model.load`.
        batch_size: So many answers, or sequences to be judged, are at work at a time; lm_eval's `--batch_size`. Its
            default, 1, is 8 here. Results do not depend on it.
        max_gen_toks: Tokens of an answer at most, where the task does not say.
        block_length: Tokens of a block.
        samples: Of the bounds: complementary pairs.
        seed: Of the bounds, and of what is drawn.
        prefix_cache: Bytes in which answers share what their prompts have in common; 0: they do not.
        **others: Numbers of the policy (threshold, editing_threshold, ...) and arguments of `Model.load` (threads,
            kv_dtype, ...). max_batch_size and device, which lm_eval adds, have no effect.
    """

    def __init__(
        self,
        path: str,
        policy: str = "default",
        dtype: str = "auto",
        batch_size: int | str | None = None,
        max_gen_toks: int = 256,
        block_length: int = 32,
        samples: int = 16,
        seed: int = 0,
        prefix_cache: int = 1 << 30,
        **others: Any,
    ) -> None:
        super().__init__()
        others = {name: value for name, value in others.items() if name not in ("max_batch_size", "device")}
        unknown = sorted(others.keys() - _NUMBERS - _LOADING)
        if unknown:
            known = ", ".join(sorted(_NUMBERS | _LOADING))
            raise InvalidArgumentError(
                f"model_args has {', '.join(unknown)}; expected path, policy, dtype, ..., {known}"
            )
        policy = str(policy)  # 2.0 on a command line is a number
        if policy not in (*MODES, "default"):
            raise InvalidArgumentError(f"policy is {policy!r}; expected one of {', '.join(MODES)}, default")
        loading = {name: value for name, value in others.items() if name in _LOADING}
        self._model = Model.load(path, dtype, **loading)
        numbers = {name: value for name, value in others.items() if name in _NUMBERS}
        self._policy = MODES.get(policy, self._model.default_policy).replace(**numbers)
        if self._model.tokenizer is None:
            raise InvalidArgumentError(f"{path} has no tokenizer, and tasks are texts")
        self._tokenizer = self._model.tokenizer
        self._at_once = (
            8 if batch_size in (None, "auto", 1, "1") else integer(int(batch_size or 0), "batch_size", low=1)
        )
        self._length = integer(max_gen_toks, "max_gen_toks", low=1)
        self._block_length = integer(block_length, "block_length", low=1)
        self._samples, self._seed = integer(samples, "samples", low=1), integer(seed, "seed", low=0)
        self._cache = self._model.prefix_cache(prefix_cache) if prefix_cache else None
        self._laid_out: dict[str, Tokens] = {}  # what a conversation became, by its text
        self._counted: dict[str, _Count] = {}

    # -- Text

    @property
    def eot_token_id(self) -> int:
        """The end of a sequence, which also stands in place of an empty context."""
        end = self._model.eos_token_id
        if end is None:
            raise InvalidArgumentError("the model has no end of sequence")
        return end

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Tokens of a text, in which control tokens are taken for what they stand for.

        Args:
            string: The text.
            add_special_tokens: Without effect: none is added.
        """
        return cast("list[int]", self._tokens(string).tolist())

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation in the layout of the checkpoint. Where its contents write out control tokens, they stay text
        as long as this object is given what it returned.

        Args:
            chat_history: Messages.
            add_generation_prompt: False: the last message is the beginning of the answer.
        """
        begun = "" if add_generation_prompt else chat_history[-1]["content"]
        messages = chat_history if add_generation_prompt else chat_history[:-1]
        ids = self._tokenizer.chat(messages)
        if begun:
            ids = np.concatenate([ids, self._tokenizer.encode(begun)])
        text = self._tokenizer.decode(ids)
        self._laid_out[text] = ids
        return text

    @property
    def tokenizer_name(self) -> str:
        """Under which lm_eval keeps requests that it has laid out."""
        return os.path.abspath(os.fspath(self._model._path)).replace(os.sep, "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The checkpoint's own template, for the record; "" if it has none and the library's layout is used."""
        if not chat_template:
            return None
        name = chat_template if isinstance(chat_template, str) else "default"
        return checkpoint_template(self._model._live(), name)

    def _tokens(self, text: str) -> Tokens:
        known = self._laid_out.get(text)
        return self._tokenizer.encode(text, control=True) if known is None else known

    # -- Answers

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The answers to requests of (context, {"until": ..., "max_gen_toks": ..., "do_sample": ..., ...})."""
        answers = [""] * len(requests)
        alike: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for index, request in enumerate(requests):
            asked = request.args[1]
            alike.setdefault((self._asked_length(asked), _stop_strings(asked)), []).append(index)
        for (length, stops), indices in alike.items():
            stream = self._model.stream_many(
                [self._tokens(requests[index].args[0]) for index in indices],
                [self._asked_policy(requests[index].args[1], index) for index in indices],
                in_flight=self._at_once,
                callback=self._until(stops) if stops else None,
                progress=False if disable_tqdm else None,
                block_length=self._block_length,
                gen_length=length,
                prefix_cache=self._cache,
            )
            for index, answer in zip(indices, stream):
                request = requests[index]
                answers[index] = text = self._cut(answer.tokens, stops)
                self._counted.setdefault(request.task_name or "", _Count()).add(answer)
                if not request.args[1].get("do_sample", False):
                    self.cache_hook.add_partial("generate_until", request.args, text)
        if requests:
            _LOG.info("llada: %s", sum(self._counted.values(), _Count()))
        return answers

    def _asked_length(self, asked: Mapping[str, Any]) -> int:
        given = [asked[name] for name in _LENGTHS if asked.get(name) is not None]
        return integer(int(given[0]) if given else self._length, "max_gen_toks", low=1)

    def _asked_policy(self, asked: Mapping[str, Any], index: int) -> Policy:
        """With `do_sample`, each request draws by a seed of its own."""
        ignored = sorted(asked.keys() - {*_LENGTHS, *_WITHOUT_MEANING, "temperature", "top_k", "top_p"})
        if ignored:
            _LOG.warning("llada: generation_kwargs %s have no effect", ", ".join(ignored))
        temperature = float(asked.get("temperature", 1.0))
        if not asked.get("do_sample", temperature > 0 and "temperature" in asked) or temperature == 0:
            return self._policy
        return self._policy.replace(
            temperature=temperature, top_k=asked.get("top_k"), top_p=asked.get("top_p"), seed=self._seed + index
        )

    def _until(self, stops: tuple[str, ...]) -> Any:
        """A callback that ends an answer whose settled text has a stop string."""
        looked: weakref.WeakKeyDictionary[Decoder, int] = weakref.WeakKeyDictionary()

        def enough(decoder: Decoder) -> Stop | None:
            settled = decoder.settled_length
            if settled == looked.get(decoder, decoder.prompt_length):
                return None
            looked[decoder] = settled
            ids = decoder.tokens
            return STOP if self._cut(ids, stops) != self._tokenizer.decode(ids, skip_control=True) else None

        return enough

    def _cut(self, ids: Tokens, stops: tuple[str, ...]) -> str:
        """The text before the first stop string, which may be one of a control token."""
        for stop in stops:
            control = self._tokenizer.encode(stop, control=True)
            if len(control) == 1 and not self._tokenizer.decode(control, skip_control=True):
                ids = ids[: next(iter(np.flatnonzero(ids == control[0])), len(ids))]
        text = self._tokenizer.decode(ids, skip_control=True)
        return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]

    # -- Likelihoods

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        bounds = self._bounds([(context, answer) for _, context, answer in requests], disable_tqdm)
        greedy = self._greedy(requests, disable_tqdm)
        for request, bound, is_greedy in zip(requests, bounds, greedy):
            if request[0] is not None:
                self.cache_hook.add_partial("loglikelihood", request[0], (bound, is_greedy))
        return list(zip(bounds, greedy))

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Bounds of whole texts, each in one pass, of whatever length."""
        texts = [request.args[0] for request in requests]
        bounds = self._bounds([([], self._tokenizer.encode(text, control=True)) for text in texts], disable_tqdm)
        for request, bound in zip(requests, bounds):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, bound)
        return bounds

    def _bounds(self, pairs: Sequence[tuple[Any, Any]], disable_tqdm: bool) -> list[float]:
        """On the log-probability of the second of each pair behind the first."""
        mask = self._model.mask_token_id
        if mask is None:
            raise InvalidArgumentError("the model has no mask token")
        draws = []
        for context, answer in pairs:
            ids, start = np.concatenate([context, answer]).astype(np.int32), len(context)
            # With one token of a block, what is drawn is the same each time.
            is_exact = all(len(part) < 2 for part in _blocks(start, len(ids), self._block_length))
            samples = 1 if is_exact else self._samples
            draws.append(draw_noise(ids, start, self._block_length, mask, samples, self._seed, True, None))
        bounds: list[float] = []
        with tqdm(total=len(draws), desc="bounding log-likelihoods", disable=disable_tqdm) as bar:
            for first in range(0, len(draws), self._at_once):
                some = elbos(self._model, draws[first : first + self._at_once], self._block_length)
                bounds += [elbo.mean for elbo in some]
                bar.update(len(some))
        return bounds

    def _greedy(self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool) -> list[bool]:
        """Whether what the policy writes behind a context begins with an answer: one generation for each context."""
        longest: dict[tuple[int, ...], int] = {}
        for _, context, answer in requests:
            longest[tuple(context)] = max(longest.get(tuple(context), 1), len(answer))
        written: dict[tuple[int, ...], list[int]] = {}
        for length in sorted(set(longest.values())):
            contexts = [context for context, own in longest.items() if own == length]
            stream = self._model.stream_many(
                [np.array(context, np.int32) for context in contexts],
                self._policy,
                in_flight=self._at_once,
                progress=False if disable_tqdm else None,
                block_length=self._block_length,
                gen_length=length,
                prefix_cache=self._cache,
            )
            written.update((context, answer.tokens.tolist()) for context, answer in zip(contexts, stream))
        return [written[tuple(context)][: len(answer)] == answer for _, context, answer in requests]

    # -- What it has cost

    def get_model_info(self) -> dict[str, Any]:
        """What lm_eval writes under "config" of its results."""
        counted = sum(self._counted.values(), _Count())
        return {
            "llada": {
                "library": _abi.lib.llada_build_info().decode(),
                "model": self._model.name,
                "num_parameters": self._model.info.num_parameters,
                "policy": repr(self._policy),
                "block_length": self._block_length,
                "likelihood": "elbo, complementary pairs; exact where a block has one token",
                "samples": self._samples,
                "seed": self._seed,
                **counted.as_dict(),
                "tasks": {task: count.as_dict() for task, count in sorted(self._counted.items())},
            }
        }


class _Count:
    """Answers, their tokens and their forwards."""

    def __init__(self, answers: int = 0, tokens: int = 0, forwards: int = 0, edits: int = 0) -> None:
        self.answers, self.tokens, self.forwards, self.edits = answers, tokens, forwards, edits

    def add(self, answer: Generation) -> None:
        self.answers += 1
        self.tokens += len(answer.tokens)
        self.forwards += answer.forwards
        self.edits += answer.edits

    def __add__(self, other: _Count) -> _Count:
        return _Count(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values())))

    @property
    def tpf(self) -> float:
        return self.tokens / self.forwards if self.forwards else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "tokens_per_forward": round(self.tpf, 4)}

    def __str__(self) -> str:
        return (
            f"{self.answers} answers, {self.tokens} tokens in {self.forwards} forwards "
            f"({self.tpf:.2f} tokens per forward), {self.edits} edits"
        )


def _stop_strings(asked: Mapping[str, Any]) -> tuple[str, ...]:
    until = asked.get("until") or ()
    return tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop)


def _blocks(start: int, end: int, length: int) -> list[range]:
    """The positions from `start` to `end`, block by block."""
    firsts = range(start // length * length, end, length)
    return [range(max(start, first), min(end, first + length)) for first in firsts]
