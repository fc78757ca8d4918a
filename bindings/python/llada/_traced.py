"""Text that remembers which of its characters are content, through what a chat template does with it.

A template mixes markup of its own with what somebody wrote. In the ids of a conversation, control tokens are meant in
the markup alone; so each character has to keep its origin. `Traced` is a str whose characters do, and `environment` is
Jinja's sandbox, set up as Hugging Face sets it up, in which every operation keeps them:

- Cutting and joining (slices, `split`, `strip`, `replace`, `join`, `+`, `~`, blocks, macros) keeps the origin of each
  character.
- Any other function or filter is given plain text, and called a second time with stand-ins for its contents. If its
  result with the contents put back is the real one, the characters keep their origins, as with `%`, `format` and
  `first`; if not, as with `upper` and `tojson`, all of its result is content.

So a character is markup only if the template wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.runtime
import jinja2.sandbox
import jinja2.utils
from jinja2.compiler import CodeGenerator, Frame


class Traced(str):
    """A str with a flag for each character: 1 for content, 0 for markup."""

    __slots__ = ("_flags",)
    _flags: bytes

    def __new__(cls, text: str, flags: bytes | None = None) -> Traced:
        self = super().__new__(cls, text)
        self._flags = b"\1" * len(self) if flags is None else flags
        return self

    def __str__(self) -> str:
        return self

    def __getitem__(self, key: Any) -> Traced:
        flags = self._flags[key]
        return Traced(super().__getitem__(key), flags if isinstance(flags, bytes) else bytes([flags]))

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))

    def __add__(self, other: str) -> str:
        return concat((self, other))

    def __radd__(self, other: str) -> str:
        return concat((other, self))

    def __mul__(self, times: Any) -> Traced:
        return Traced(super().__mul__(times), self._flags * times)

    __rmul__ = __mul__

    def strip(self, characters: str | None = None, /) -> Traced:
        return self.lstrip(characters).rstrip(characters)

    def lstrip(self, characters: str | None = None, /) -> Traced:
        return self[len(self) - len(super().lstrip(characters)) :]

    def rstrip(self, characters: str | None = None, /) -> Traced:
        return self[: len(super().rstrip(characters))]

    def split(self, sep: str | None = None, maxsplit: Any = -1) -> list[Any]:
        return self._located(super().split(sep, maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: Any = -1) -> list[Any]:
        return self._located(super().rsplit(sep, maxsplit), sep)

    def _located(self, parts: list[str], sep: str | None) -> list[Any]:
        """The parts of a split, in order, as cuts."""
        found, place = [], 0
        for part in parts:
            if sep is None:
                place = self.find(part, place)
            found.append(self[place : place + len(part)])
            place += len(part) + len(sep or "")
        return found

    def splitlines(self, keepends: Any = False) -> list[Any]:
        found, place = [], 0
        for line, whole in zip(super().splitlines(), super().splitlines(True)):
            found.append(self[place : place + len(whole if keepends else line)])
            place += len(whole)
        return found

    def partition(self, sep: str, /) -> tuple[Any, Any, Any]:
        before, middle, _ = super().partition(sep)
        end = len(before) + len(middle)
        return self[: len(before)], self[len(before) : end], self[end:]

    def rpartition(self, sep: str, /) -> tuple[Any, Any, Any]:
        before, middle, _ = super().rpartition(sep)
        end = len(before) + len(middle)
        return self[: len(before)], self[len(before) : end], self[end:]

    def removeprefix(self, prefix: str, /) -> Traced:
        return self[len(prefix) :] if self.startswith(prefix) else self

    def removesuffix(self, suffix: str, /) -> Traced:
        return self[: len(self) - len(suffix)] if self.endswith(suffix) else self

    def replace(self, old: str, new: str, count: Any = -1, /) -> Any:
        if not old:
            return Traced(super().replace(old, new, count))
        return _joined(new, self.split(old, count))

    def join(self, parts: Iterable[str], /) -> Any:
        return _joined(self, parts)


def _flags(text: str) -> bytes:
    return text._flags if isinstance(text, Traced) else bytes(len(text))


def concat(parts: Iterable[Any]) -> Traced:
    """The parts as one text; those that are no text as str() has them."""
    texts = [part if isinstance(part, str) else str(finalize(part)) for part in parts]
    return Traced("".join(texts), b"".join(map(_flags, texts)))


def _joined(separator: str, parts: Iterable[str]) -> Traced:
    pieces: list[str] = []
    for part in parts:
        if not isinstance(part, str):
            raise TypeError(f"join: a part is {type(part).__name__}, not str")
        pieces += [separator, part]
    return concat(pieces[1:])


def trace(value: Any) -> Any:
    """A copy of lists, dicts, text and numbers in which all text is content.

    Raises:
        TypeError: There is something else in it.
    """
    if isinstance(value, Mapping):
        return {trace(key): trace(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [trace(item) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return Traced(value.decode("utf-8", "replace"))
    if isinstance(value, str):
        return Traced(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise TypeError(f"a conversation holds text, numbers, lists and dicts, not {type(value).__name__}")


def parts(text: str) -> list[tuple[str, bool]]:
    """The stretches of a text, each with whether it is markup."""
    flags, found, start = _flags(text), [], 0
    plain = "".join(text)
    while start < len(flags):
        end = flags.find(1 - flags[start], start)
        end = len(flags) if end < 0 else end
        found.append((plain[start:end], not flags[start]))
        start = end
    return found


def _rebuilt(value: Any, text: Callable[[str], Any]) -> Any:
    """A value that a template may hold, with every text in it replaced. Views and namespaces become lists and dicts."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, jinja2.utils.Namespace):
        value = object.__getattribute__(value, "_Namespace__attrs")
    if isinstance(value, jinja2.runtime.Context):
        return value  # it looks like a dict, and is what some filters get from Jinja
    if isinstance(value, Mapping):
        return {_rebuilt(key, text): _rebuilt(item, text) for key, item in value.items()}
    if isinstance(value, tuple):
        items = [_rebuilt(item, text) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, (list, KeysView, ValuesView, ItemsView, Iterator)):
        return [_rebuilt(item, text) for item in value]
    return value


def _holds_content(value: Any) -> bool:
    found = False

    def look(text: str) -> str:
        nonlocal found
        found = found or 1 in _flags(text)
        return text

    # An iterator would be used up; what a filter returns is a list here.
    if not isinstance(value, Iterator):
        _rebuilt(value, look)
    return found


def _plain(text: str) -> str:
    return "".join(text) if isinstance(text, Traced) else text


def finalize(value: Any) -> Any:
    """What `{{ value }}` writes: a list or a dict that holds content is content as a whole."""
    if not isinstance(value, str) and _holds_content(value):
        return Traced(str(value))
    return value


class _StandIns:
    """Texts that hold content, each with a character for it that no text is likely to hold."""

    def __init__(self) -> None:
        self.contents: list[Traced] = []

    def take(self, text: str) -> str:
        if not isinstance(text, Traced) or not _holds_content(text) or len(self.contents) == 0xFFF0:
            return _plain(text)
        self.contents.append(text)
        return chr(0x100000 + len(self.contents) - 1)

    def put_back(self, text: str) -> Traced:
        known = range(0x100000, 0x100000 + len(self.contents))
        return concat(self.contents[ord(each) - 0x100000] if ord(each) in known else each for each in _plain(text))


def _with_origins(result: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a function that knows nothing of origins, which was given plain text, with origins."""
    stand_ins = _StandIns()
    result = _rebuilt(result, _plain)
    try:
        shadow = function(*_rebuilt(args, stand_ins.take), **_rebuilt(kwargs, stand_ins.take))
        kept = _rebuilt(shadow, stand_ins.put_back)
    except Exception:
        return _rebuilt(result, Traced)
    # More contents than stand-ins: some were given as they are.
    whole = len(stand_ins.contents) < 0xFFF0
    return kept if whole and _rebuilt(kept, _plain) == result else _rebuilt(result, Traced)


def _keeping(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that keeps origins. It works on plain text: what it did to traced text could not be trusted."""

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        if not _holds_content(args) and not _holds_content(kwargs):
            result = function(*args, **kwargs)
            return list(result) if isinstance(result, Iterator) else result
        result = function(*_rebuilt(args, _plain), **_rebuilt(kwargs, _plain))
        return _with_origins(result, function, args, kwargs)

    return filtered


def _called(result: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a method or an operator. What is traced or no text comes from those that keep origins."""
    if isinstance(result, (bytes, bytearray)) and _holds_content(args):
        raise jinja2.exceptions.SecurityError("a chat template cannot make bytes of a content")
    if isinstance(result, Traced) or not isinstance(result, (str, list, tuple)):
        return result
    if isinstance(result, (list, tuple)) and all(
        isinstance(each, Traced) or not isinstance(each, str) for each in result
    ):
        return result
    if not _holds_content(args) and not _holds_content(kwargs):
        return result
    return _with_origins(result, function, args, kwargs)


class _Generator(CodeGenerator):
    def visit_Concat(self, node: jinja2.nodes.Concat, frame: Frame) -> None:
        self.write("environment.concat((")
        for each in node.nodes:
            self.visit(each, frame)
            self.write(", ")
        self.write("))")

    def visit_ScopedEvalContextModifier(self, node: jinja2.nodes.ScopedEvalContextModifier, frame: Frame) -> None:
        # Escaping would make text without origins.
        self.fail("autoescape has no place in a chat template", node.lineno)


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    code_generator_class = _Generator
    concat = staticmethod(concat)
    intercepted_binops = frozenset("+%*")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        result = super().call_binop(context, operator, left, right)
        return _called(result, self.binop_table[operator], (left, right), {})

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        result = super().call(__context, __obj, *args, **kwargs)
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            method = getattr(str, __obj.__name__, None)
            if method is not None:
                return _called(result, method, (owner, *args), kwargs)
        return _called(result, __obj, args, kwargs)


class _Namespace(jinja2.utils.Namespace):
    """`namespace()`, without names that begin with an underscore, which Python's internals have."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # noqa: N805
        for name in dict(*args[1:], **kwargs):
            _Namespace._check(name)
        jinja2.utils.Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._check(name)
        super().__setitem__(name, value)

    @staticmethod
    def _check(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace cannot have {name!r}")


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`, with which templates mark what a model learns; it writes what stands in it."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    def _write(self, caller: Callable[[], str]) -> str:
        return caller()


class Refusal(jinja2.TemplateError):
    """The template called `raise_exception`."""


def _raise_exception(message: Any) -> None:
    raise Refusal(str.__str__(message) if isinstance(message, str) else str(message))


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    return Traced(text) if _holds_content(value) else text


def _trim(value: Any, chars: str | None = None) -> Any:
    return concat((value,)).strip(chars)


def _replace(value: Any, old: str, new: str, count: int | None = None) -> Any:
    return concat((value,)).replace(old, new, -1 if count is None else count)


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """Jinja's sandbox as transformers sets it up, with origins kept."""
    made = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, jinja2.ext.loopcontrols],
        finalize=finalize,
    )
    for name, function in list(made.filters.items()):
        made.filters[name] = _keeping(function)
    made.filters.update(tojson=_tojson, trim=_trim, replace=_replace)
    made.globals.update(
        raise_exception=_raise_exception,
        strftime_now=lambda form: datetime.now().strftime(form),
        dict=lambda *args, **kwargs: dict(*args, **kwargs),
        namespace=_Namespace,
    )
    return made


@lru_cache(maxsize=32)
def compiled(text: str) -> jinja2.Template:
    """The template. Raises jinja2.TemplateSyntaxError."""
    return environment().from_string(text)
