"""Serves a model by OpenAI's protocol: /v1/chat/completions, /v1/completions, /v1/models; /health and /metrics.

python -m llada.serve MODEL
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys

from .._origins import LOOPBACK
from ..commands.shell import exit_status
from ..model import Model
from ..policy import PRESETS
from .limits import Limits


def parser(prog: str) -> argparse.ArgumentParser:
    """Of the command line."""
    usual = Limits()
    options = argparse.ArgumentParser(
        prog=prog,
        description=(__doc__ or "").partition("\n")[0],
        epilog="SIGTERM lets what runs finish. With LLADA_API_KEY in the environment clients must send that key.",
    )
    options.add_argument("model", help="the folder of a llada2_moe checkpoint, or a GGUF file")
    options.add_argument("--host", default="127.0.0.1", help="the address to listen at; %(default)s, this machine only")
    options.add_argument("--port", type=int, default=8000, help="%(default)s; 0: any that is free")
    options.add_argument("--name", help="what clients call the model; the name of its folder")
    options.add_argument("--dtype", default="auto", help="as stored, or f32, bf16, int8, int4")
    options.add_argument("--threads", type=int, help="as many as the process may use")
    options.add_argument("--policy", choices=PRESETS, help="of answers whose requests name none; the model's own")
    options.add_argument("--running", type=int, default=usual.running, help="answers denoised together; %(default)s")
    options.add_argument("--requests", type=int, default=usual.requests, help="at a time, then 429; %(default)s")
    options.add_argument("--choices", type=int, default=usual.choices, help="answers of one request; %(default)s")
    options.add_argument("--max-tokens", type=int, default=usual.max_tokens, help="of an answer; %(default)s")
    options.add_argument("--max-prompt", type=int, default=usual.prompt_tokens, help="tokens; the model's context")
    options.add_argument("--max-body", type=int, default=usual.body_bytes, metavar="BYTES", help="%(default)s")
    options.add_argument("--seconds", type=float, default=usual.seconds, help="a request may take; %(default)g")
    options.add_argument("--cache", type=int, default=usual.cache_bytes, metavar="BYTES", help="of keys and values")
    return options


def main(arguments: list[str] | None = None, prog: str = "python -m llada.serve") -> int:
    """The command; returns its exit status."""
    options = parser(prog).parse_args(arguments)
    return exit_status(prog, lambda: serve(options))


def serve(options: argparse.Namespace) -> int:
    """Serves until a signal comes."""
    try:
        import uvicorn

        from .app import application
    except ImportError as problem:
        raise ImportError(f"{problem}: pip install starlette uvicorn prometheus-client") from None
    for name in ("running", "requests", "choices", "max_tokens", "max_prompt", "max_body", "seconds", "cache"):
        if not getattr(options, name) > 0:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(options, name)}; expected more than 0")
    limits = Limits(
        running=options.running,
        requests=options.requests,
        choices=options.choices,
        body_bytes=options.max_body,
        prompt_tokens=options.max_prompt,
        max_tokens=options.max_tokens,
        seconds=options.seconds,
        cache_bytes=options.cache,
    )
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((options.host, options.port))  # before the model is opened, which takes long
        with Model.load(options.model, options.dtype, options.threads) as model:
            local = options.host in LOOPBACK
            app = application(
                model,
                options.name,
                limits,
                PRESETS[options.policy]() if options.policy else None,
                os.environ.get("LLADA_API_KEY") or None,
                LOOPBACK if local else None,
            )
            config = uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="on",
                log_level="error",
                access_log=False,
                timeout_graceful_shutdown=int(options.seconds) + 10,
            )
            host = f"[{options.host}]" if ":" in options.host else options.host
            door.listen(config.backlog)  # so that who reads the next line can connect
            print(
                f"{options.name or model.name} at http://{host}:{door.getsockname()[1]}/v1", file=sys.stderr, flush=True
            )
            # uvicorn raises again what has stopped it. After SIGTERM, all has been said.
            signal.signal(signal.SIGTERM, lambda number, frame: None)
            uvicorn.Server(config).run(sockets=[door])
    return 0


if __name__ == "__main__":
    sys.exit(main())
