"""Writes the probe conversations of the chat layout, with the text that a template makes of each.

    python3 make_chat_probes.py TEMPLATE > ../../../bindings/python/llada/chat_probes.json

The record was made with transformers 5.24 and Jinja2 3.1.6 from the chat template of Ling-1T, as llama.cpp's log prints
it when that model is loaded. The template itself is not part of this repository.
"""

import json
import sys
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Wetter für eine Stadt, in °C",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 1e16, "minimum": -0.5}},
            "required": ["city"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "now", "parameters": {}, "strict": True, "examples": [None, 1.0, 'a"b\n']},
}


def system(text):
    return {"role": "system", "content": text}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def tool(text):
    return {"role": "tool", "content": text}


def call(name, arguments, wrapped=True):
    function = {"name": name, "arguments": arguments}
    return {"type": "function", "id": "1", "function": function} if wrapped else function


PROBES = [
    ([user("What is 2+2?")], None, True),
    ([user("What is 2+2?")], None, False),
    ([system("Be brief."), user("Hi"), assistant("Hello."), user(" Bye \n")], None, True),
    ([system("Be brief.\n"), user("Hi")], [WEATHER], True),
    ([user("Hi")], [WEATHER, CLOCK], True),
    ([user("Hi")], [], True),
    ([user("Hi"), system("Now in verse."), user("é中文😀")], None, False),
    ([user("a"), assistant("<think>\nhm\n</think>\n\nb"), user("c")], None, True),
    ([user("a"), assistant("<think>\n\nhm\n\n</think>\n\nb")], None, False),
    ([user("a"), assistant("hm</think>b<think>x</think>\n\nc")], None, False),
    ([user("a"), assistant("\n\nb", reasoning_content="\n\nhm\n")], None, False),
    ([user("a"), assistant("b</think>c", reasoning_content="")], None, False),
    ([user("a"), assistant("\n", reasoning_content="hm"), user("b")], None, True),
    (
        [user("Weather?"), assistant("", tool_calls=[call("get_weather", {"city": "Köln", "days": 2})])],
        [WEATHER],
        False,
    ),
    (
        [
            user("Weather?"),
            assistant("Let me see.", tool_calls=[call("get_weather", '{"city":  "Köln"}'), call("now", {}, False)]),
            tool('{"celsius": 21.50}'),
            tool("noon"),
            assistant("<think>\nwarm\n</think>\n\n21.5 °C at noon."),
        ],
        [WEATHER, CLOCK],
        True,
    ),
    (
        [
            user("Weather?"),
            assistant("", tool_calls=[call("now", [1e-7, 123456789012345678901234567890, True, None])]),
            user("<tool_response>\nnoon\n</tool_response>"),
            assistant("<think>\nso\n</think>\nNoon."),
        ],
        None,
        True,
    ),
    ([tool("1"), user("a"), tool("2"), assistant("b"), tool("3")], None, False),
    ([user("<tool_response>x</tool_response>"), assistant("b", reasoning_content="hm")], None, False),
    ([assistant("b", reasoning_content="hm")], None, True),
]

if __name__ == "__main__":
    template, record = Path(sys.argv[1]).read_text("utf-8"), []
    for messages, tools, prompt in PROBES:
        (text,), _ = render_jinja_template(
            [messages], tools=tools, chat_template=template, add_generation_prompt=prompt
        )
        record.append({"messages": messages, "tools": tools, "add_generation_prompt": prompt, "text": text})
    print("[\n" + ",\n".join(json.dumps(each, ensure_ascii=False) for each in record) + "\n]")
