"""A path of the tree as a Python script that does the same."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from textwrap import indent
from typing import Any

from ..policy import Policy
from .actions import Action, code, policy_code
from .tree import Node

SNAPSHOT = ""
"""The code of a decoder that is made of a snapshot: the trace has it."""

_WHOLE = '''"""What was done in the playground, by itself."""

import sys

{imports}import llada

with llada.Model.load(sys.argv[1] if len(sys.argv) > 1 else {name}) as model:
    {beginning}
{body}    print(dec.text if model.tokenizer else dec.tokens)
    print(f"{{dec.forwards}} forwards, {{dec.edits}} edits, {{dec.finish_reason}}")
'''


def beginning(name: str, prompt: Any, policy: Policy, options: Mapping[str, Any], chat: bool | None = None) -> str:
    """The code that makes a decoder."""
    text = json.dumps(prompt, ensure_ascii=False) if isinstance(prompt, str) else repr([int(each) for each in prompt])
    given = {**options, **({} if chat is None else {"chat": chat})}
    rest = "".join(f"        {key}={value!r},\n" for key, value in given.items())
    return f"dec = model.decoder(\n        {text},\n        llada.Policy.{policy_code(policy)},\n{rest}    )"


def script(node: Node) -> str:
    """The code that leads to a state. The model's folder is its argument."""
    start, imports = node.recorder.recording.start, ""
    actions: list[Action] = [each.action for each in node.path[1:]]
    body = code(actions, node.source.read)
    first = node.code
    if first == SNAPSHOT and start.snapshot is not None:
        imports = "import base64\n"
        first = f'dec = model.restore(base64.b64decode("{base64.b64encode(start.snapshot).decode()}"))'
    if "math." in body:
        imports += "import math\n"
    imports += "\n" if imports else ""
    name = json.dumps(node.source.model.name, ensure_ascii=False)
    return _WHOLE.format(imports=imports, name=name, beginning=first, body=indent(body, "    "))
