"""Text to tokens and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from . import _abi
from ._convert import Tokens, collect, collect_text, token_pointer, tokens
from ._handle import Handle
from .chat import Message, chat_tokenize
from .info import OpenedModel


def tokenize(model: Handle, text: str | bytes, control: bool) -> Tokens:
    """See `Tokenizer.encode`."""
    data = _utf8(text)
    flags = _abi.TEXT_CONTROL if control else 0
    # A token is at least a byte, or stands for one broken byte.
    return collect(_abi.lib.llada_tokenize, model, data, len(data), flags, guess=len(data) + 16)


def detokenize(model: Handle, ids: Tokens, skip_control: bool) -> str:
    """See `Tokenizer.decode`."""
    flags = _abi.TEXT_SKIP_CONTROL if skip_control else 0
    arguments = model, token_pointer(ids), len(ids), flags
    return collect_text(_abi.lib.llada_detokenize, *arguments, guess=16 * len(ids) + 64)


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, str):
        # Half a surrogate pair is no UTF-8; the library makes it U+FFFD like any broken byte.
        return text.encode("utf-8", "surrogatepass")
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"text must be str or bytes, not {type(text).__name__}")


def encode_prompt(model: OpenedModel, prompt: Any, chat: bool | None) -> Tokens:
    """See `Model.encode_prompt`. Where there is no tokenizer, the library says so."""
    if isinstance(prompt, str):
        if chat or (chat is None and model.info.has_chat_template):
            return chat_tokenize(model.handle, [{"role": "user", "content": prompt}])
        return tokenize(model.handle, prompt, False)
    if isinstance(prompt, (list, tuple)) and prompt and isinstance(prompt[0], Mapping):
        return chat_tokenize(model.handle, prompt)
    texts = isinstance(prompt, (list, tuple)) and any(isinstance(each, str) for each in prompt)
    if texts or prompt is None or isinstance(prompt, (bytes, Mapping, Set)):
        raise TypeError(
            f'a prompt is a str, a conversation ([{{"role": ..., "content": ...}}, ...]) or token ids, not {prompt!r}; '
            "`generate_many` takes several"
        )
    return tokens(prompt)


class Tokenizer:
    """The tokenizer of a model: `Model.tokenizer`. As usable by many threads as the model; ends with it."""

    def __init__(self, model: Callable[[], Handle]) -> None:
        self._model = model

    def encode(self, text: str | bytes, control: bool = False) -> Tokens:
        """Text to tokens.

        Args:
            text: Broken UTF-8 becomes U+FFFD.
            control: Whether control tokens that are written out in the text, ``<|endoftext|>`` say, are taken for what
                they stand for; else they are plain characters, as befits text that a user typed.

        Returns:
            np.int32.

        Raises:
            TypeError: The text is neither str nor bytes.
        """
        return tokenize(self._model(), text, control)

    def decode(self, ids: Any, skip_control: bool = False) -> str:
        """Tokens to text. Text of tokens that are still to come is `Model.text_stream`'s.

        Args:
            ids: Token ids.
            skip_control: Whether control tokens are left out.

        Raises:
            InvalidArgumentError: An id is outside the vocabulary.
        """
        return detokenize(self._model(), tokens(ids), skip_control)

    def chat(
        self,
        messages: Iterable[Message],
        add_generation_prompt: bool = True,
        tools: Iterable[Mapping[str, Any]] | None = None,
        thinking: bool = False,
        layout: str | None = None,
        **variables: Any,
    ) -> Tokens:
        """A conversation in the layout the model was trained on: that of the checkpoint's chat template.

        If the template is known to be the one of LLaDA2 and Ling 2.0 (`ModelInfo.knows_chat_layout`), or there is none,
        the library lays the conversation out itself. Any other template is rendered by Jinja2 in its sandbox, as
        ``apply_chat_template`` of transformers does it: the extra `chat`.

        Text that somebody wrote stays text. Control tokens, and other added tokens that are written as tags (``<...>``
        or ``[...]``), are meant where the template writes them; in contents, in reasoning, in tools and their calls,
        and in `variables`, they are plain characters. This holds for a template in Jinja too, whatever it does with the
        text: each character keeps its origin where text is cut and joined, and what a filter makes of a content is
        content. Where no content has a marker in it, the ids are those of the rendered text.

        Args:
            messages: ``{"role": "user", "content": "..."}``. Roles are what the template knows: "system", "user",
                "assistant" and "tool". Content is text, or a list of parts ``{"type": "text", "text": ...}``, which are
                joined if the template takes none. An assistant's message may have "reasoning_content" and "tool_calls".
            add_generation_prompt: Whether to open the assistant's turn.
            tools: What the model may call, as JSON schemas. A checkpoint's template "tool_use" is for them.
            thinking: Whether the model is to think before it answers. A template in Jinja gets it as `enable_thinking`
                and `thinking`, and as `thinking_option`, "on" or "off".
            layout: "llada2" insists on the layout of LLaDA2 and Ling 2.0, whatever the template is.
            **variables: More for a template in Jinja. With any, the template is rendered even if it is known.

        Returns:
            np.int32.

        Raises:
            InvalidArgumentError: A message is none, or of a role that the layout does not know; or the template refused
                the conversation (`raise_exception`), or failed.
            UnsupportedError: The template is not known, and there is no Jinja2.
        """
        return chat_tokenize(self._model(), messages, add_generation_prompt, tools, thinking, layout, variables)
