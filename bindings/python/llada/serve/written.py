"""Answers as OpenAI's clients read them."""

from __future__ import annotations

import secrets
import time
from typing import Any

from .asked import Asked
from .likelihoods import listed
from .pieces import End, Likelihood, Piece
from .tool_calls import ToolCall, ToolCalls


class Writer:
    """Makes JSON of the pieces of one request's answers. `ChatWriter` and `CompletionWriter` differ in its shape."""

    prefix = kind = chunk_kind = ""

    def __init__(self, model: str, fingerprint: str, asked: Asked) -> None:
        self._asked = asked
        self._head = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "object": self.kind,
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }
        self._ends: dict[int, End] = {}

    def whole(self, pieces: dict[int, Piece]) -> dict[str, Any]:
        """The answer of a request that is not a stream."""
        choices = []
        for index, piece in sorted(pieces.items()):
            self._note(index, piece)
            choices.append(self._choice(index, piece))
        return {**self._head, "choices": choices, "usage": self._usage()}

    def chunks(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """What is sent of a piece, message by message."""
        self._note(index, piece)
        messages = [self._chunk(choice) for choice in self._deltas(index, piece)]
        if piece.draft is not None or piece.edits:
            said = {"index": index, "draft": piece.draft, "edits": piece.edits, "forwards": piece.forwards}
            messages.append({**self._head, "object": "llada.draft", "choices": [], "llada": said})
        return messages

    def usage_chunk(self) -> dict[str, Any]:
        """The last message of a stream, if asked for."""
        return {**self._chunk(None), "usage": self._usage()}

    def _chunk(self, choice: dict[str, Any] | None) -> dict[str, Any]:
        return {**self._head, "object": self.chunk_kind, "choices": [] if choice is None else [choice]}

    def _note(self, index: int, piece: Piece) -> None:
        if piece.end is not None:
            self._ends[index] = piece.end

    def _usage(self) -> dict[str, Any]:
        asked, ends = self._asked, self._ends
        prompt = sum(map(len, asked.prompts))
        # Of a prompt with several answers, what the first one found.
        cached = sum(end.cached for index, end in ends.items() if index % asked.n == 0)
        tokens = sum(end.tokens for end in ends.values())
        forwards = sum(end.forwards for end in ends.values())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": tokens,
            "total_tokens": prompt + tokens,
            "prompt_tokens_details": {"cached_tokens": min(cached, prompt)},
            "forwards": forwards,
            "tpf": tokens / forwards if forwards else 0.0,
            "edits": sum(end.edits for end in ends.values()),
        }

    def _choice(self, index: int, piece: Piece) -> dict[str, Any]:
        raise NotImplementedError

    def _deltas(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        raise NotImplementedError


class ChatWriter(Writer):
    """Of /v1/chat/completions."""

    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, model: str, fingerprint: str, asked: Asked) -> None:
        super().__init__(model, fingerprint, asked)
        self._calls = {index: ToolCalls() for index in range(len(asked.orders))} if asked.tools else {}
        self._called = dict.fromkeys(self._calls, 0)
        self._greeted: set[int] = set()

    def _choice(self, index: int, piece: Piece) -> dict[str, Any]:
        content, calls = self._divided(index, piece)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if calls:
            message["content"] = content or None
            message["tool_calls"] = [_call(call) for call in calls]
        return self._finished(index, piece, {"index": index, "message": message, "logprobs": self._listed(piece)})

    def _deltas(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        content, calls = self._divided(index, piece)
        delta: dict[str, Any] = {}
        if index not in self._greeted:
            self._greeted.add(index)
            delta["role"] = "assistant"
        if content or (delta and not calls):
            delta["content"] = content
        if calls:
            first = self._called[index] - len(calls)
            delta["tool_calls"] = [{"index": first + place, **_call(call)} for place, call in enumerate(calls)]
        if not delta and not piece.likelihoods and piece.end is None:
            return []
        choice = {"index": index, "delta": delta, "logprobs": self._listed(piece)}
        return [self._finished(index, piece, choice)]

    def _divided(self, index: int, piece: Piece) -> tuple[str, list[ToolCall]]:
        """What is said, and what is called."""
        parser = self._calls.get(index)
        if parser is None:
            return piece.text, []
        said, calls = parser.push(piece.text)
        self._called[index] += len(calls)
        return said + (parser.finish() if piece.end is not None else ""), calls

    def _finished(self, index: int, piece: Piece, choice: dict[str, Any]) -> dict[str, Any]:
        reason = None if piece.end is None else piece.end.reason
        choice["finish_reason"] = "tool_calls" if reason == "stop" and self._called.get(index) else reason
        return choice

    def _listed(self, piece: Piece) -> dict[str, Any] | None:
        return None if self._asked.top is None else {"content": list(map(listed, piece.likelihoods)), "refusal": None}


class CompletionWriter(Writer):
    """Of /v1/completions."""

    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, fingerprint: str, asked: Asked) -> None:
        super().__init__(model, fingerprint, asked)
        self._echo = {index: asked.echo[index // asked.n] for index in range(len(asked.orders))}

    def _choice(self, index: int, piece: Piece) -> dict[str, Any]:
        text = self._echo.pop(index, "") + piece.text
        logprobs = None if self._asked.top is None else _columns(piece.likelihoods)
        reason = None if piece.end is None else piece.end.reason
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _deltas(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        choice = self._choice(index, piece)
        return [choice] if choice["text"] or piece.likelihoods or piece.end is not None else []


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _columns(likelihoods: list[Likelihood]) -> dict[str, Any]:
    return {
        "tokens": [each.text for each in likelihoods],
        "token_logprobs": [each.log_prob for each in likelihoods],
        "top_logprobs": [dict(each.top) for each in likelihoods],
        "text_offset": [each.start for each in likelihoods],
    }
