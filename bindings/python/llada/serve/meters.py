"""What a server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Meters:
    """Counters, gauges and histograms of one server, in a registry of its own.

    Attributes:
        count: Of the requests that are open.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        named = ["path", "status"]
        self.requests = Counter("llada_requests", "Requests, by what became of them", named, registry=registry)
        self.gone = Counter("llada_clients_gone", "Clients that went away before their answer ended", registry=registry)
        self.running = Gauge("llada_answers_running", "Answers that are denoised", registry=registry)
        self.waiting = Gauge("llada_answers_waiting", "Answers that wait for room", registry=registry)
        self.aside = Counter("llada_answers_put_aside", "Answers that gave their memory to others", registry=registry)
        self.open = Gauge("llada_requests_open", "Requests that are read, wait or are answered", registry=registry)
        self.count = 0
        self.open.set_function(lambda: self.count)
        self.tokens = Counter("llada_tokens", "Tokens of answers that have ended", registry=registry)
        self.prompt = Counter("llada_prompt_tokens", "Tokens of prompts", registry=registry)
        self.cached = Counter("llada_prompt_tokens_cached", "Of them, those found in the cache", registry=registry)
        self.forwards = Counter("llada_forwards", "Forwards of answers that have ended", registry=registry)
        self.edits = Counter("llada_edits", "Tokens of them that replaced others", registry=registry)
        self.step = Histogram("llada_step_seconds", "A step of all that run", registry=registry, buckets=_SECONDS)
        sizes = (1, 2, 4, 8, 16, 32, 64)
        self.batch = Histogram("llada_step_answers", "Answers in a step", registry=registry, buckets=sizes)
        self.first = Histogram(
            "llada_first_text_seconds", "From request to first text", registry=registry, buckets=_SECONDS
        )
        self.whole = Histogram("llada_request_seconds", "From request to end", registry=registry, buckets=_SECONDS)
        self.cache = Gauge("llada_prefix_cache_bytes", "Held by the prefix cache", registry=registry)
        self.evicted = Gauge("llada_prefix_cache_evicted_blocks", "Blocks that had to go", registry=registry)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Around a request, in the thread of the event loop."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
