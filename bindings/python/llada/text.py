"""Text to tokens and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from . import _abi
from ._convert import Tokens, collect, collect_text, token_pointer, tokens
from ._handle import Handle
from .errors import InvalidArgumentError
from .info import OpenedModel

Message = Mapping[str, str]
"""{"role": "system" | "user" | "assistant" | "tool", "content": "..."}"""


def tokenize(model: Handle, text: str | bytes, control: bool) -> Tokens:
    """See `Tokenizer.encode`."""
    data = _utf8(text)
    flags = _abi.TEXT_CONTROL if control else 0
    # A token is at least a byte, or stands for one broken byte.
    return collect(_abi.lib.llada_tokenize, model, data, len(data), flags, guess=len(data) + 16)


def detokenize(model: Handle, ids: Tokens, skip_control: bool, hold_back: bool) -> str:
    """See `Tokenizer.decode`."""
    flags = (_abi.TEXT_SKIP_CONTROL if skip_control else 0) | (_abi.TEXT_HOLD_BACK if hold_back else 0)
    arguments = model, token_pointer(ids), len(ids), flags
    return collect_text(_abi.lib.llada_detokenize, *arguments, guess=16 * len(ids) + 64)


def chat_tokenize(model: Handle, messages: Iterable[Message], add_generation_prompt: bool) -> Tokens:
    """See `Tokenizer.chat`."""
    turns = [(_field(message, "role"), _field(message, "content")) for message in messages]
    array = (_abi.ChatMessage * len(turns))(*(_abi.ChatMessage(role, content) for role, content in turns))
    guess = sum(len(content) for _, content in turns) + 64 * (len(turns) + 1)
    return collect(_abi.lib.llada_chat_tokenize, model, array, len(turns), add_generation_prompt, guess=guess)


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, str):
        # Half a surrogate pair is no UTF-8; the library makes it U+FFFD like any broken byte.
        return text.encode("utf-8", "surrogatepass")
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"text must be str or bytes, not {type(text).__name__}")


def _field(message: Message, name: str) -> bytes:
    try:
        value = message[name]
    except (KeyError, TypeError):
        raise InvalidArgumentError(f'a message is {{"role": ..., "content": ...}}, not {message!r}') from None
    data = _utf8(value)
    if b"\0" in data:
        raise InvalidArgumentError(f"the {name} of a message cannot hold a NUL character")
    return data


def encode_prompt(model: OpenedModel, prompt: Any, chat: bool | None) -> Tokens:
    """See `Model.encode_prompt`. Where there is no tokenizer, the library says so."""
    if isinstance(prompt, str):
        if chat or (chat is None and model.info.has_chat_template):
            return chat_tokenize(model.handle, [{"role": "user", "content": prompt}], True)
        return tokenize(model.handle, prompt, False)
    if isinstance(prompt, (list, tuple)) and prompt and isinstance(prompt[0], Mapping):
        return chat_tokenize(model.handle, prompt, True)
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

    def decode(self, ids: Any, skip_control: bool = False, hold_back: bool = False) -> str:
        """Tokens to text.

        Args:
            ids: Token ids.
            skip_control: Whether control tokens are left out.
            hold_back: Whether a last character that is not complete yet is left out, instead of writing U+FFFD: for
                streaming, where the text of a growing list of tokens then only grows.

        Raises:
            InvalidArgumentError: An id is outside the vocabulary.
        """
        return detokenize(self._model(), tokens(ids), skip_control, hold_back)

    def chat(self, messages: Iterable[Message], add_generation_prompt: bool = True) -> Tokens:
        """A conversation in the layout the model was trained on.

        Args:
            messages: Control tokens in the contents are plain characters.
            add_generation_prompt: Whether to open the assistant's turn.

        Returns:
            np.int32.

        Raises:
            InvalidArgumentError: A message is none, or of a role that the layout does not know.
        """
        return chat_tokenize(self._model(), messages, add_generation_prompt)
