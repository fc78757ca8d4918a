"""A page on which one steps a model by hand: the canvas as it is denoised, and all that can be changed.

python -m llada.play examples/models/tiny-2.1
python -m llada.play examples/models/tiny-2.0 examples/models/tiny-2.1     # two to choose from, side by side
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import webbrowser
from contextlib import ExitStack
from typing import Any

from .._origins import LOOPBACK
from ..commands.shell import exit_status
from ..many import step_many
from ..model import Model
from .session import Session
from .tree import Source


def source(model: Model) -> Source:
    """A model, as the playground asks it."""
    return Source(model._opened(), model.decoder, model.restore, step_many)


def parser(prog: str) -> argparse.ArgumentParser:
    """The command line, under a name."""
    whole = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    whole.add_argument("model", help="a llada2_moe checkpoint: a folder, or a GGUF file")
    whole.add_argument("model2", nargs="?", help="another one, to be compared")
    whole.add_argument("--dtype", default="auto", help="how weights are held: see Model.load; default: %(default)s")
    whole.add_argument("--threads", type=int, help="default: as many as the process may use")
    whole.add_argument("--port", type=int, default=0, help="default: any that is free")
    whole.add_argument(
        "--host",
        default="127.0.0.1",
        help="where it listens; default: %(default)s, for this machine alone. Whoever reaches another address, and "
        "has the token, has the session; nothing is encrypted",
    )
    whole.add_argument(
        "--memory", type=float, default=1.0, metavar="GB", help="for the states that are kept; default: %(default)s"
    )
    whole.add_argument("--no-browser", action="store_true", help="only prints the address")
    return whole


def main(arguments: list[str] | None = None, prog: str = "python -m llada.play") -> int:
    """The command; returns its exit status."""
    options = parser(prog).parse_args(arguments)
    return exit_status(prog, lambda: _serve(options))


def _serve(options: argparse.Namespace) -> int:
    try:
        import uvicorn

        from .server import application, new_token
    except ImportError as problem:
        raise ImportError(f"{problem}: pip install starlette uvicorn") from None
    with ExitStack() as stack:
        given = {"dtype": options.dtype, "threads": options.threads}
        paths = [path for path in (options.model, options.model2) if path is not None]
        models = [stack.enter_context(Model.load(path, **given)) for path in paths]
        session = Session([source(model) for model in models], int(options.memory * 1e9))
        listening = stack.enter_context(_listen(options.host, options.port))
        port, token = listening.getsockname()[1], new_token()
        name = f"[{options.host}]" if ":" in options.host else options.host
        app = application(session, token, _names(options.host))
        address = f"http://{name}:{port}/{token}/"
        print(f"The playground is at {address}\nCtrl-C ends it.", flush=True)
        if not options.no_browser and (sys.platform != "linux" or os.environ.get("DISPLAY")):
            webbrowser.open(address)
        quiet: dict[str, Any] = {"log_level": "error", "access_log": False, "server_header": False}
        config = uvicorn.Config(app, ws="none", timeout_graceful_shutdown=2, **quiet)
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def _names(host: str) -> frozenset[str] | None:
    """What the server may be called that listens at an address: where it listens at all of them, anything."""
    if host in LOOPBACK:
        return LOOPBACK
    return None if host in ("0.0.0.0", "::", "") else frozenset({host.lower()})


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()  # before the address is told
    except OSError as problem:
        listening.close()
        raise OSError(f"cannot listen at {host}:{port}: {problem.strerror}") from None
    return listening


if __name__ == "__main__":
    sys.exit(main())
