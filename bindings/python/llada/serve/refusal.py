"""Requests that are not answered, and what their clients are told."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """A request is refused, or given up. Its client is told so in the shape that OpenAI's clients know.

    Attributes:
        message: The reason.
        status: Of HTTP.
        param: The field of the request that is to blame, if one is.
        code: A word for programs.
        retry_after: After how many seconds it may be tried again.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        kind = "server_error" if self.status >= 500 else "requests" if self.status == 429 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Those of its answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
