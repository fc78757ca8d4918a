"""What requests ask for, in OpenAI's words and a few of ours."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._convert import Tokens
from ..errors import Error
from ..model import Model
from ..policy import _FIELDS, PRESETS, Policy
from .answering import Order
from .fields import Fields
from .limits import Limits
from .refusal import Refusal
from .structured import Tools, check_form, form_of, tools_of

_SAMPLING = ("temperature", "top_p", "seed")
_WITHOUT_EFFECT = (
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
    "verbosity",
)


@dataclass(frozen=True)
class Asked:
    """A request, understood.

    Attributes:
        prompts: Their tokens.
        orders: Of the answers, those of a prompt behind each other.
        n: Answers to a prompt.
        stream: Whether pieces are sent as they come.
        usage: Whether a stream ends with what it took.
        drafts: Whether drafts and edits are sent as well.
        top: None, or how many of the most likely tokens to tell beside each.
        tools: Whether calls of tools are looked for.
        echo: What stands before each prompt's answers.
        user: Who asks, as the client says.
    """

    prompts: list[Tokens]
    orders: list[Order]
    n: int
    stream: bool
    usage: bool
    drafts: bool
    top: int | None
    tools: bool
    echo: list[str]
    user: str


class Reader:
    """Makes `Asked` of requests' fields: tokens, checked numbers, policies. Its methods raise Refusal."""

    def __init__(self, model: Model, name: str, limits: Limits, policy: Policy | None) -> None:
        self._model, self._name, self._limits = model, name, limits
        self._policy = policy or model.default_policy

    def chat(self, fields: Fields) -> Asked:
        """Of /v1/chat/completions."""
        messages = fields.array("messages")
        if not messages:
            raise Refusal("'messages' must be an array of messages", param="messages")
        tools = tools_of(fields)
        top = fields.integer("top_logprobs", 0, 20)
        top = top or 0 if fields.flag("logprobs") else fields.refuse("top_logprobs", "needs logprobs") if top else None
        fields.only("modalities", (["text"],), "answers are text")
        ours = fields.object("llada")
        thinking = ours.flag("thinking")
        longest = self._longest(fields, "max_completion_tokens", "max_tokens")
        ids = self._tokens("messages", lambda: self._chat_tokens(messages, tools.offered, thinking))
        return self._asked(fields, ours, [ids], [""], longest, top, tools)

    def completion(self, fields: Fields) -> Asked:
        """Of /v1/completions."""
        prompt = fields.any("prompt")
        prompts = prompt if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else [prompt]
        if len(prompts) > self._limits.choices:
            fields.refuse("prompt", f"are {len(prompts)}; expected at most {self._limits.choices}")
        if any(not isinstance(each, (str, list)) or not each for each in prompts):
            fields.refuse("prompt", "must be a text or token ids, or an array of such")
        top = fields.integer("logprobs", 0, 20)
        echo = fields.flag("echo")
        if echo and top is not None:
            fields.refuse("echo", "cannot be had with logprobs: prompts are not scored")
        best = fields.integer("best_of", 1, self._limits.choices)
        if best not in (None, fields.peek("n") or 1):
            fields.refuse("best_of", "must be n: all answers are returned")
        fields.only("suffix", ("",), "nothing can be put behind an answer")
        ours = fields.object("llada")
        longest = self._longest(fields, "max_tokens")
        ids = [
            self._tokens("prompt", lambda each=each: self._model.encode_prompt(each, chat=False)) for each in prompts
        ]
        shown = [each if isinstance(each, str) else self._text(each) for each in prompts] if echo else []
        return self._asked(fields, ours, ids, shown or [""] * len(ids), longest, top, Tools())

    def _asked(
        self,
        fields: Fields,
        ours: Fields,
        prompts: list[Tokens],
        echo: list[str],
        longest: int | None,
        top: int | None,
        tools: Tools,
    ) -> Asked:
        model = fields.text("model")
        if model != self._name:
            raise Refusal(f"there is no model {model!r} here, but {self._name!r}", 404, "model", "model_not_found")
        n = fields.integer("n", 1, self._limits.choices) or 1
        if n * len(prompts) > self._limits.choices:
            fields.refuse("n", f"makes {n * len(prompts)} answers; expected at most {self._limits.choices}")
        stream = fields.flag("stream")
        streaming = fields.object("stream_options")
        usage = streaming.flag("include_usage")
        streaming.ignore("include_obfuscation")
        streaming.end()
        for name in ("frequency_penalty", "presence_penalty"):
            fields.only(name, (0,), "what stands there already is not counted")
        drafts = ours.flag("draft")
        if drafts and not stream:
            ours.refuse("draft", "needs stream")
        block_length = ours.integer("block_length", 1, 1024) or 32
        policy = self._chosen(fields, ours)
        stop = _stop(fields)
        bias = self._bias(fields)
        user = fields.text("user") or fields.text("safety_identifier") or ""
        form = form_of(fields, tools)
        fields.ignore(*_WITHOUT_EFFECT)
        ours.end()
        fields.end()
        orders = [
            Order(
                ids,
                policy.replace(seed=(policy.seed + index) % 2**64),
                block_length,
                self._room(ids, longest, block_length),
                stop,
                top,
                drafts,
                bias,
                None if form is None else form.rule,
            )
            for ids in prompts
            for index in range(n)
        ]
        if form is not None:
            for order in orders[::n]:
                check_form(self._model, order, form)
        return Asked(prompts, orders, n, stream, usage, drafts, top, tools.offered is not None, echo, user)

    def _longest(self, fields: Fields, *names: str) -> int | None:
        """How long answers may be; the first name that is there says it."""
        found = [fields.integer(name, 1, self._limits.max_tokens) for name in names]
        return next((each for each in found if each is not None), None)

    def _room(self, ids: Tokens, longest: int | None, block_length: int) -> int:
        """Tokens that an answer may have. The canvas consists of whole blocks, and must not be longer than the model's
        context."""
        context = self._model.info.max_position_embeddings // block_length * block_length
        most = min(self._limits.prompt_tokens, context - (longest or 1))
        if len(ids) > most:
            raise Refusal(
                f"the prompt has {len(ids)} tokens; expected at most {most}"
                + (f" before an answer of up to {longest}" if longest and most < self._limits.prompt_tokens else ""),
                code="context_length_exceeded",
            )
        return longest or min(self._limits.max_tokens, context - len(ids))

    def _chosen(self, fields: Fields, ours: Fields) -> Policy:
        name = ours.text("policy")
        if name is not None and name not in PRESETS:
            ours.refuse("policy", f"is {name!r}; expected one of {', '.join(PRESETS)}")
        policy = self._policy if name is None else PRESETS[name]()
        changes: dict[str, Any] = {
            "temperature": fields.number("temperature", 0, 2),
            "top_p": fields.number("top_p", 0, 1),
        }
        seed = fields.integer("seed", -(2**63), 2**64 - 1)
        changes["seed"] = secrets.randbits(64) if seed is None else seed % 2**64
        for each in _FIELDS[policy.kind]:
            if each not in _SAMPLING:
                changes[each] = ours.any(each)
        try:
            policy = policy.replace(**{each: value for each, value in changes.items() if value is not None})
            policy._as_struct()
        except (TypeError, ValueError) as problem:
            raise Refusal(str(problem), param="llada") from None
        return policy

    def _bias(self, fields: Fields) -> Mapping[int, float]:
        biases = fields.object("logit_bias")
        found: dict[int, float] = {}
        for name in biases.names:
            value = biases.number(name, -100, 100)
            if not name.isdecimal() or len(name) > 9 or int(name) >= self._model.vocab_size:
                biases.refuse(name, f"is no token: they are 0 to {self._model.vocab_size - 1}")
            if value:
                found[int(name)] = value
        return found

    def _tokens(self, param: str, encode: Any) -> Tokens:
        try:
            ids: Tokens = encode()
        except (Error, TypeError, ValueError) as problem:
            raise Refusal(str(problem), param=param) from None
        if len(ids) and not 0 <= ids.min() <= ids.max() < self._model.vocab_size:
            raise Refusal(f"a token is outside the vocabulary of {self._model.vocab_size}", param=param)
        return ids

    def _chat_tokens(self, messages: list[Any], tools: list[Any] | None, thinking: bool) -> Tokens:
        tokenizer = self._model.tokenizer
        assert tokenizer is not None
        return tokenizer.chat([_message(each) for each in messages], tools=tools, thinking=thinking)

    def _text(self, ids: Any) -> str:
        tokenizer = self._model.tokenizer
        assert tokenizer is not None
        return tokenizer.decode(ids, skip_control=True)


def _message(message: Any) -> Any:
    """A developer is what a system was."""
    if isinstance(message, dict) and message.get("role") == "developer":
        return {**message, "role": "system"}
    return message


def _stop(fields: Fields) -> tuple[str, ...]:
    value = fields.any("stop")
    words = [value] if isinstance(value, str) else value or []
    if not isinstance(words, list) or len(words) > 16:
        fields.refuse("stop", "must be a text, or an array of at most 16")
    for word in words:
        if not isinstance(word, str) or not 0 < len(word) <= 1000:
            fields.refuse("stop", "must consist of texts of 1 to 1000 characters")
    return tuple(words)
