"""Conversations to tokens: by the library's own layout where the checkpoint's template is known to be that, else by the
template, in Jinja's sandbox (the extra `chat`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ctypes import byref
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from . import _abi
from ._convert import Tokens, collect, collect_text
from ._handle import Handle
from .errors import InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    import jinja2

Message = Mapping[str, Any]
"""{"role": "user", "content": "..."}; more in `Tokenizer.chat`."""

_EXTRA = "pip install 'jinja2>=3.1.6' renders any template"


def chat_tokenize(
    model: Handle,
    messages: Iterable[Message],
    add_generation_prompt: bool = True,
    tools: Iterable[Mapping[str, Any]] | None = None,
    thinking: bool = False,
    layout: str | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Tokens:
    """See `Tokenizer.chat`."""
    turns = [_message(message) for message in messages]
    offered = None if tools is None else [_tool(tool) for tool in tools]
    if layout not in (None, "llada2"):
        raise InvalidArgumentError(f'layout is {layout!r}; it must be None or "llada2"')
    if layout or not variables:
        try:
            return _by_layout(model, turns, add_generation_prompt, offered, thinking, layout)
        except UnsupportedError as problem:
            if layout:
                raise
            refusal = problem
    else:
        refusal = UnsupportedError(f"variables of a chat template need Jinja: {_EXTRA}")
    template = checkpoint_template(model, "tool_use") if offered is not None else ""
    template = template or checkpoint_template(model, "default")
    if not template:
        raise refusal
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise refusal from None
    found = version("jinja2")
    if tuple(int(part) for part in found.split(".")[:3] if part.isdigit()) < (3, 1, 6):
        # Templates get out of the sandbox of older ones.
        raise UnsupportedError(f"Jinja2 is {found}; a chat template needs 3.1.6 or newer: {_EXTRA}")
    given = json.loads(collect_text(_abi.lib.llada_chat_variables, model, guess=1024))
    pieces = rendered(template, turns, add_generation_prompt, offered, thinking, {**given, **(variables or {})}, given)
    return _by_parts(model, pieces)


def _by_layout(
    model: Handle,
    messages: list[dict[str, Any]],
    add_generation_prompt: bool,
    tools: list[dict[str, Any]] | None,
    thinking: bool,
    layout: str | None,
) -> Tokens:
    options = _abi.ChatOptions()
    options.add_generation_prompt = bool(add_generation_prompt)
    options.thinking = bool(thinking)
    options.layout = _abi.CHAT_LAYOUTS.index(layout or "known")
    if tools is not None:
        options.tools = _json(tools)
    text = _json(messages)
    function = _abi.lib.llada_chat_tokenize_json
    return collect(function, model, text, len(text), byref(options), guess=len(text) + 64 * (len(messages) + 1))


def _by_parts(model: Handle, pieces: list[tuple[str, bool]]) -> Tokens:
    texts = [_utf8(text) for text, _ in pieces]
    array = (_abi.TextPart * len(texts))(
        *(_abi.TextPart(text, len(text), markup) for text, (_, markup) in zip(texts, pieces))
    )
    guess = sum(map(len, texts)) + 16
    return collect(_abi.lib.llada_tokenize_parts, model, array, len(texts), guess=guess)


def rendered(
    template: str,
    messages: list[dict[str, Any]],
    add_generation_prompt: bool,
    tools: list[dict[str, Any]] | None,
    thinking: bool,
    variables: Mapping[str, Any],
    trusted: Mapping[str, Any] | None = None,
) -> list[tuple[str, bool]]:
    """A conversation by a template, as stretches of text, each with whether it is the template's markup.

    Args:
        variables: What the template is given besides.
        trusted: Their names, of those whose text is markup: the special tokens.

    Raises:
        InvalidArgumentError: The template refuses, or fails.
        UnsupportedError: It is no template.
    """
    import jinja2

    from . import _traced

    try:
        program = _traced.compiled(template)
    except jinja2.TemplateSyntaxError as problem:
        raise UnsupportedError(f"chat_template: line {problem.lineno}: {problem.message}") from None
    if any(isinstance(message.get("content"), list) for message in messages) and not _knows_parts(program):
        messages = [_flattened(message) for message in messages]
    given = {
        "enable_thinking": bool(thinking),
        "thinking": bool(thinking),
        "thinking_option": "on" if thinking else "off",
        **{name: value if name in (trusted or {}) else _traced.trace(value) for name, value in variables.items()},
    }
    turns = [_traced_message(message) for message in messages]
    offered = _traced.trace(tools)
    try:
        text = program.render(
            **{
                **given,
                "messages": turns,
                "tools": offered,
                "documents": given.get("documents"),
                "add_generation_prompt": bool(add_generation_prompt),
            }
        )
    except _traced.Refusal as problem:
        raise InvalidArgumentError(f"the chat template refuses the conversation: {problem.message}") from None
    except (
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        jinja2.TemplateError,
    ) as problem:
        raise InvalidArgumentError(f"the chat template fails: {type(problem).__name__}: {problem}") from problem
    return _traced.parts(text)


def writes_known_layout(template: str) -> bool:
    """Whether a chat template renders probe conversations, which the package has on record, as the layout of LLaDA2 and
    Ling 2.0 has them. The library knows that layout without Jinja, but knows only some templates by their text.

    Raises:
        ImportError: There is no Jinja: the extra `chat`.
    """
    import jinja2  # noqa: F401

    for probe in json.loads((files(__package__) / "chat_probes.json").read_text("utf-8")):
        try:
            pieces = rendered(template, probe["messages"], probe["add_generation_prompt"], probe["tools"], False, {})
        except (InvalidArgumentError, UnsupportedError):
            return False
        if "".join(text for text, _ in pieces) != probe["text"]:
            return False
    return True


def _knows_parts(program: jinja2.Template) -> bool:
    """Whether a template takes content as a list of parts, tried out."""
    word = "\U0010fffd"
    message = {"role": "user", "content": [{"type": "text", "text": word}]}
    try:
        text = program.render(messages=[message], tools=None, documents=None, add_generation_prompt=False)
    except Exception:
        return False
    # Not as the repr of the list, in which the key stands as well.
    return word in text and "'text'" not in text


def _flattened(message: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(message.get("content"), list):
        return message
    for part in message["content"]:
        if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise InvalidArgumentError(f'a part of a content is {{"type": "text", "text": ...}}, not {part!r}')
    return {**message, "content": "".join(part["text"] for part in message["content"])}


def _traced_message(message: dict[str, Any]) -> dict[Any, Any]:
    from . import _traced

    traced: dict[Any, Any] = _traced.trace(message)
    # A role is a word of the template's own, which some put into a marker: "<|" + role + "|>".
    if isinstance(message["role"], str) and message["role"].replace("_", "").isalnum():
        traced["role"] = message["role"]
    return traced


def _message(message: Message) -> dict[str, Any]:
    """As Hugging Face: without what is None, and reasoning under the name that templates read."""
    if not isinstance(message, Mapping) or "role" not in message:
        raise InvalidArgumentError(f'a message is {{"role": ..., "content": ...}}, not {message!r}')
    made = {name: value for name, value in message.items() if value is not None}
    reasoning = next((made[name] for name in ("reasoning_content", "thinking", "reasoning") if name in made), None)
    if reasoning is not None:
        made = {"thinking": reasoning, **made, "reasoning_content": reasoning}
    if isinstance(made.get("content"), (bytes, bytearray)):
        made["content"] = bytes(made["content"]).decode("utf-8", "replace")
    return made


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise TypeError(f"a tool is a JSON schema, a dict, not {tool!r}")
    return dict(tool)


def checkpoint_template(model: Handle, name: str) -> str:
    """The one of that name that the checkpoint has; "" if it has none."""
    return collect_text(_abi.lib.llada_chat_template, model, name.encode(), guess=8192)


def _json(value: Any) -> bytes:
    return _utf8(json.dumps(value, ensure_ascii=False, default=_mapping))


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a conversation holds text, numbers, lists and dicts, not {type(value).__name__}")


def _utf8(text: str) -> bytes:
    # Halves of surrogate pairs, which are no UTF-8, become U+FFFD.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8")
