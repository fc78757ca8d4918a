"""How much a server takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one server takes, and what one request may ask for.

    Attributes:
        running: Answers that are denoised together.
        requests: Requests that are read, wait, or are answered at a time; another one gets a 429.
        choices: Answers that one request may ask for: prompts times n.
        body_bytes: Of a request.
        body_seconds: In which it must have come.
        prompt_tokens: Of a prompt; the model's own limit holds as well.
        max_tokens: Of an answer: the most that can be asked for, and what is taken where nothing is said.
        seconds: From a request's first byte to the last of its answer.
        cache_bytes: Keys and values, those of the answers at work and those kept for prompts to come.
        piece_tokens: So many tokens of new prompts are read in a step, so that those who are being answered go on.
    """

    running: int = 16
    requests: int = 256
    choices: int = 16
    body_bytes: int = 4 << 20
    body_seconds: float = 30.0
    prompt_tokens: int = 1 << 20
    max_tokens: int = 2048
    seconds: float = 600.0
    cache_bytes: int = 1 << 30
    piece_tokens: int = 512
