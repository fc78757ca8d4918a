"""Whom a server answers that only its own machine is meant to reach.

Any page in a browser can send requests to this machine, by a name of its own that it lets stand for 127.0.0.1. It
cannot choose what the browser says of them in `Host`, `Origin` and `Sec-Fetch-Site`. A port is no part of a server's
name: a tunnel has another one at its other end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""What clients call this machine, and where it listens for itself alone."""

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/]+))(?::[0-9]*)?")


def turned_away(headers: Iterable[tuple[bytes, bytes]], names: frozenset[str] | None) -> tuple[int, str] | None:
    """Why a request is not answered: it names another host, or a page of another origin sent it.

    Args:
        headers: Of the request, names in lower case, as ASGI has them.
        names: What clients may call the server; None: anything. Addresses of IPv6 without brackets.

    Returns:
        HTTP's status and a sentence; None if it is answered.
    """
    said: dict[bytes, list[str]] = {b"host": [], b"origin": [], b"sec-fetch-site": []}
    for name, value in headers:
        if name in said:
            said[name].append(value.decode("latin-1").lower())
    host = said[b"host"][0] if len(said[b"host"]) == 1 else ""
    found = _HOST.fullmatch(host)
    if names is not None and (found is None or (found[1] or found[2]) not in names):
        return 421, f"this server is not known as {host!r}"
    if any(origin != f"http://{host}" for origin in said[b"origin"]):
        return 403, "a page of another origin asked"
    if any(site not in ("none", "same-origin") for site in said[b"sec-fetch-site"]):
        return 403, "a page of another origin asked"
    return None
