"""Who is next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Waiting = TypeVar("Waiting")


class FairQueue(Generic[Waiting]):
    """Clients in turn, whatever each has asked for. Next is the client of whom the least is at work, of equals who has
    waited longest to be served; what one client has asked for comes in its order."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Waiting]] = {}

    def add(self, client: str, waiting: Waiting) -> None:
        """At the end of a client's line."""
        self._lines.setdefault(client, deque()).append(waiting)

    def take(self, at_work: Callable[[str], int]) -> Waiting:
        """The next one.

        Args:
            at_work: How much of a client is at work.

        Raises:
            IndexError: Nobody waits.
        """
        if not self._lines:
            raise IndexError("nobody waits")
        client = min(self._lines, key=at_work)  # the first of equals
        line = self._lines.pop(client)
        waiting = line.popleft()
        if line:
            self._lines[client] = line  # behind all others
        return waiting

    def remove(self, client: str, waiting: Waiting) -> None:
        """Takes out what nobody waits for any more, if it is there."""
        line = self._lines.get(client)
        if line is not None and waiting in line:
            line.remove(waiting)
            if not line:
                del self._lines[client]

    def __iter__(self) -> Iterator[Waiting]:
        return (waiting for line in list(self._lines.values()) for waiting in list(line))

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))
