"""llada's commands under one name: `llada COMMAND`, or `python -m llada COMMAND`."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from . import build_info

# Command: its module, and what it does. Modules are imported when they are wanted.
COMMANDS = {
    "run": ("commands.run", "answers one question"),
    "chat": ("commands.chat", "a conversation, with drafts as they change"),
    "play": ("play.__main__", "a page on which a model is stepped by hand"),
    "serve": ("serve.__main__", "a server that speaks OpenAI's protocol"),
    "inspect": ("inspect", "what a checkpoint is, whether it loads, and what to expect of it here"),
    "convert": ("convert", "packs a checkpoint once and for all"),
    "trace": ("trace.__main__", "records, replays and draws what a decoder does"),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the status of the process: 0; 1 after an error; 2 for wrong arguments; 130 after
    Ctrl-C."""
    options = argparse.ArgumentParser(
        prog="llada",
        description="Block-diffusion language models (LLaDA2.x) on the CPU.",
        epilog="\n".join(["commands:", *(f"  {name:9} {what}" for name, (_, what) in COMMANDS.items())])
        + "\n\n`llada COMMAND --help` says what a command takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--version", action="version", version=build_info())
    options.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    options.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    given = options.parse_args(arguments)
    try:
        module = import_module(f".{COMMANDS[given.command][0]}", __package__)
    except ImportError as problem:
        print(f"llada {given.command}: {problem}", file=sys.stderr)
        return 1
    return int(module.main(given.arguments, f"llada {given.command}"))


if __name__ == "__main__":
    sys.exit(main())
