"""What a server answers, asked by OpenAI's own client, against what the model answers to its host."""

from __future__ import annotations

import json
import random
import re
import threading
import time

import jsonschema
import numpy as np
import openai
import pytest

import llada
from conftest import ROOT
from llada.serve.fair import FairQueue
from llada.serve.fields import Fields
from llada.serve.stops import Stops
from llada.serve.structured import form_of, tools_of
from llada.serve.tool_calls import ToolCalls
from serving import ADDITION, CARRY, TINY, endless, served

QUALITY, SPEEDY = llada.Policy.quality(), llada.Policy.speedy()


def tool(name, parameters):
    return {"type": "function", "function": {"name": name, "description": "Does it", "parameters": parameters}}


TOOL = tool("now", {"type": "object", "properties": {}})


@pytest.fixture(scope="module")
def server():
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def model():
    with llada.Model.load(TINY, threads=1) as model:
        yield model


def test_models(server):
    client = server.client()
    assert [each.id for each in client.models.list()] == ["tiny-2.1"]
    assert client.models.retrieve("tiny-2.1").owned_by == "llada"
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.models.retrieve("gpt-4")


def test_an_answer_is_the_models(server, model):
    answer, own = server.chat(), model.generate(ADDITION, QUALITY)
    assert answer.object == "chat.completion" and answer.model == "tiny-2.1"
    assert answer.choices[0].message.content == own.text and answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop" and own.finish_reason == "eos"
    usage = answer.usage
    assert usage.completion_tokens == len(own.tokens) and usage.prompt_tokens == len(model.encode_prompt(ADDITION))
    assert usage.total_tokens == usage.completion_tokens + usage.prompt_tokens
    assert (usage.forwards, usage.edits, usage.tpf) == (own.forwards, own.edits, own.tpf)


def test_a_conversation(server, model):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is 2 plus 3?"}]},
        {"role": "assistant", "content": "Answer: 5"},
        {"role": "user", "content": ADDITION},
    ]
    answer = server.client().chat.completions.create(model="tiny-2.1", messages=messages)
    messages[0]["role"] = "system"
    ids = model.tokenizer.chat(messages)
    assert answer.usage.prompt_tokens == len(ids)
    assert answer.choices[0].message.content == model.generate(ids, QUALITY).text
    again = server.client().chat.completions.create(model="tiny-2.1", messages=messages)
    assert again.usage.prompt_tokens_details.cached_tokens == len(ids) // 32 * 32 > 0
    assert again.choices[0].message.content == answer.choices[0].message.content


def test_thinking_is_said_in_the_prompt(server, model):
    answer = server.chat(extra_body={"llada": {"thinking": True}})
    messages = [{"role": "user", "content": ADDITION}]
    ids = model.tokenizer.chat(messages, thinking=True)
    assert list(ids) != list(model.tokenizer.chat(messages))
    assert answer.choices[0].message.content == model.generate(ids, QUALITY).text


@pytest.mark.parametrize(
    "ours, policy",
    [
        ({"policy": "speedy"}, SPEEDY),
        ({"policy": "low_confidence", "threshold": 0.8}, llada.Policy.low_confidence(0.8)),
        ({"editing_threshold": 0.9}, QUALITY.replace(editing_threshold=0.9)),
        ({"policy": "quality", "mbe_window": 2}, llada.Policy.quality(mbe_window=2)),
    ],
)
def test_a_policy_of_the_requests_own(server, model, ours, policy):
    answer, own = server.chat(CARRY, extra_body={"llada": ours}), model.generate(CARRY, policy)
    assert answer.choices[0].message.content == own.text
    assert (answer.usage.forwards, answer.usage.edits) == (own.forwards, own.edits)


def test_block_length(server, model):
    answer, own = server.chat(extra_body={"llada": {"block_length": 16}}), model.generate(ADDITION, block_length=16)
    assert (answer.choices[0].message.content, answer.usage.forwards) == (own.text, own.forwards)


def test_a_stream_is_the_same_answer(server):
    chunks = list(server.chat(CARRY, stream=True, stream_options={"include_usage": True}))
    whole = server.chat(CARRY)
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == (
        whole.choices[0].message.content
    )
    assert chunks[0].choices[0].delta.role == "assistant" and {each.id for each in chunks} == {chunks[0].id}
    assert [each.choices[0].finish_reason for each in chunks if each.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.forwards == whole.usage.forwards
    assert len(chunks) > 2 and all(each.usage is None for each in chunks[:-1])
    assert not any(each.usage for each in server.chat(stream=True))


def test_drafts_and_edits_are_events_of_their_own(server, model):
    ours = {"draft": True, "policy": "speedy"}
    seen = []
    settled = ""
    edits = []
    for chunk in server.chat(CARRY, stream=True, extra_body={"llada": ours}):
        if chunk.choices:
            settled += chunk.choices[0].delta.content or ""
        else:
            assert chunk.object == "llada.draft" and chunk.llada["index"] == 0
            edits += chunk.llada["edits"]
            if chunk.llada["draft"] is not None:
                seen.append(settled + chunk.llada["draft"])
    dec = model.decoder(CARRY, SPEEDY)
    shown, expected = "", []
    stream = model.text_stream(mask="░")
    own = []
    while not dec.finished:
        own += [event for event in dec.step().events if event.kind == "replace"]
        text = stream.update(dec)
        shown += text.settled
        expected.append(shown + text.draft)
    assert settled == shown and len(own) == 3
    # A reader who is slow sees fewer of them, in their order.
    places = iter(expected)
    assert len(seen) > 2 and all(any(each == place for place in places) for each in seen)
    decode = model.tokenizer.decode
    assert [(each["kind"], each["position"], each["old"], each["new"]) for each in edits] == [
        ("replace", event.position - dec.prompt_length, decode([event.old]), decode([event.new])) for event in own
    ]


def test_stop_words_cut_settled_text(server):
    whole = server.chat(CARRY)
    text = whole.choices[0].message.content
    word = text[len(text) // 3 :][:7]
    answer = server.chat(CARRY, stop=[word, "never there"])
    assert answer.choices[0].message.content == text.partition(word)[0]
    assert answer.choices[0].finish_reason == "stop" and answer.usage.forwards < whole.usage.forwards
    pieces = [each.choices[0].delta.content or "" for each in server.chat(CARRY, stop=word, stream=True)]
    assert "".join(pieces) == answer.choices[0].message.content
    # What only might have become a stop word comes at the end.
    assert server.chat(CARRY, stop=text[-3:] + "x").choices[0].message.content == text


def test_length(server, model):
    answer = server.chat(max_completion_tokens=7)
    own = model.generate(ADDITION, QUALITY, gen_length=7)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 7
    assert answer.choices[0].message.content == own.text
    assert server.chat(max_tokens=7).choices[0].message.content == own.text


def test_seeds_and_several_answers(server, model):
    answer = server.chat("Count from 3 to 12.", n=3, temperature=1.5, top_p=0.9, seed=11)
    policy = QUALITY.replace(temperature=1.5, top_p=0.9)
    own = [model.generate("Count from 3 to 12.", policy.replace(seed=11 + index)) for index in range(3)]
    assert [each.index for each in answer.choices] == [0, 1, 2]
    assert [each.message.content for each in answer.choices] == [each.text for each in own]
    assert len({each.text for each in own}) > 1
    assert answer.usage.forwards == sum(each.forwards for each in own)
    assert answer.usage.prompt_tokens == len(model.encode_prompt("Count from 3 to 12."))
    texts = {0: "", 1: "", 2: ""}
    for chunk in server.chat("Count from 3 to 12.", n=3, temperature=1.5, top_p=0.9, seed=11, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert list(texts.values()) == [each.text for each in own]
    several = {server.chat("Count from 3 to 12.", temperature=2).choices[0].message.content for _ in range(6)}
    assert len(several) > 1  # without a seed, each time another


def log_softmax(logits):
    logits = logits.astype(np.float64)
    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())


@pytest.mark.parametrize("bias", [{}, {268: -1.5, 220: 2.0}])
def test_log_probabilities(server, model, bias):
    """Of each token, in the forward after which it was written last, by NumPy."""
    dec = model.decoder(CARRY, SPEEDY, logit_bias=bias)
    added = np.zeros(model.vocab_size)
    for token, value in bias.items():
        added[token] = value
    rows = {}
    while not dec.finished:
        dec.forward()
        logits = {position: log_softmax(dec.logits(position) + added) for position in dec.active}
        dec.propose()
        dec.apply()
        rows.update({event.position: logits[event.position] for event in dec.events})
    given = {"extra_body": {"llada": {"policy": "speedy"}}, "logit_bias": {str(k): v for k, v in bias.items()}}
    answer = server.chat(CARRY, logprobs=True, top_logprobs=3, **given)
    told = answer.choices[0].logprobs.content
    tokens = [int(token) for token in dec.tokens if token not in model.eos_token_ids]
    decode = model.tokenizer.decode
    assert [each.token for each in told] == [decode([token]) for token in tokens]
    assert "".join(each.token for each in told) == answer.choices[0].message.content == dec.text
    for place, (token, each) in enumerate(zip(tokens, told)):
        row = rows[dec.prompt_length + place]
        assert each.logprob == pytest.approx(row[token], abs=1e-4) and bytes(each.bytes).decode() == each.token
        best = np.argsort(-row, kind="stable")[:3]
        assert [top.token for top in each.top_logprobs] == [decode([int(token)]) for token in best]
        assert [top.logprob for top in each.top_logprobs] == pytest.approx(row[best], abs=1e-4)
    streamed = [
        entry
        for chunk in server.chat(CARRY, logprobs=True, top_logprobs=3, stream=True, **given)
        if chunk.choices
        for entry in chunk.choices[0].logprobs.content
    ]
    assert streamed == told
    bare = server.chat(CARRY, logprobs=True, **given).choices[0].logprobs.content
    assert [each.logprob for each in bare] == [each.logprob for each in told] and not bare[0].top_logprobs
    cut = server.chat(CARRY, logprobs=True, stop=" then", **given).choices[0]
    assert "".join(each.token for each in cut.logprobs.content) == cut.message.content


def test_log_probabilities_where_tokens_move():
    """LLaDA2.2 inserts and deletes: what is told still belongs to the token that stands there."""
    tiny = TINY.parent / "tiny-2.2"
    question = "Write a program that adds 3, then multiplies by 2. Try it with x = 4."
    with llada.Model.load(tiny, threads=1) as model, served(tiny) as server:
        moved = 0
        for number in range(3, 13):
            asked = question.replace("3", str(number))
            with model.decoder(asked) as dec:
                moved += dec.run().result.deletions + dec.insertions
                answer = server.chat(asked, model="tiny-2.2", logprobs=True).choices[0]
                assert answer.message.content == dec.text
                assert "".join(each.token for each in answer.logprobs.content) == dec.text
                assert all(-20 < each.logprob <= 0 for each in answer.logprobs.content)
        assert moved > 0


def test_completions(server, model):
    client = server.client()
    text = "<role>SYSTEM</role>detailed thinking off<|role_end|><role>HUMAN</role>What is 2 plus 3?"
    ids = [int(token) for token in model.encode_prompt(ADDITION)]
    answer = client.completions.create(model="tiny-2.1", prompt=text, max_tokens=16)
    assert answer.object == "text_completion" and answer.choices[0].text == (
        model.generate(text, QUALITY, chat=False, gen_length=16).text
    )
    answer = client.completions.create(model="tiny-2.1", prompt=ids, logprobs=2, max_tokens=64)
    own = model.generate(ids, QUALITY, gen_length=64)
    (choice,) = answer.choices
    assert choice.text == own.text and choice.finish_reason == "stop"
    assert "".join(choice.logprobs.tokens) == own.text and choice.logprobs.text_offset[:2] == [0, len("First")]
    assert all(len(each) == 2 for each in choice.logprobs.top_logprobs)
    several = client.completions.create(model="tiny-2.1", prompt=["What is", "Count"], n=2, max_tokens=8, echo=True)
    assert [each.index for each in several.choices] == [0, 1, 2, 3]
    assert [each.text for each in several.choices][::2] == [
        text + model.generate(text, QUALITY, chat=False, gen_length=8).text for text in ("What is", "Count")
    ]
    streamed = client.completions.create(model="tiny-2.1", prompt=ids, max_tokens=64, stream=True)
    assert "".join(each.choices[0].text for each in streamed) == own.text


def test_logit_bias(server, model):
    token = int(model.tokenizer.encode("First")[0])
    answer = server.chat(logit_bias={str(token): -100})
    own = model.generate(ADDITION, QUALITY, logit_bias={token: -100.0})
    assert answer.choices[0].message.content == own.text and "First" not in own.text


def test_tools_stand_in_the_prompt(server, model):
    messages = [
        {"role": "user", "content": "What time is it?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "12:00"},
    ]
    create = server.client().chat.completions.create
    answer = create(model="tiny-2.1", messages=messages, tools=[TOOL])
    assert answer.usage.prompt_tokens == len(model.tokenizer.chat(messages, tools=[TOOL]))
    without = create(model="tiny-2.1", messages=messages, tools=[TOOL], tool_choice="none")
    assert without.usage.prompt_tokens == len(model.tokenizer.chat(messages))


def test_text_becomes_calls():
    said = 'It is\n<tool_call>\n{"name": "now", "arguments": {"zone": "</UTC>"}}\n</tool_call>'
    said += '\n<tool_call>\n{"name": "stop"}\n</tool_call>'
    said += '<tool_call>{"name": "say", "arguments": {"text": "\\"</tool_call>\\\\"}}</tool_call>'
    random.seed(4)
    for _ in range(200):
        calls, text, parser = [], "", ToolCalls()
        places = sorted(random.sample(range(len(said) + 1), 6))
        for begin, end in zip([0, *places], [*places, len(said)]):
            more, found = parser.push(said[begin:end])
            text, calls = text + more, calls + found
        assert text + parser.finish() == "It is"
        assert calls[:2] == [("now", '{"zone": "</UTC>"}'), ("stop", "{}")] and len(calls) == 3
        assert calls[2].name == "say" and json.loads(calls[2].arguments) == {"text": '"</tool_call>\\'}
    for broken in (
        '<tool_call>{"name": 7}</tool_call> x',
        "<tool_call>now()</tool_call>",
        '<tool_call>{"name"',
        '<tool_call>\n{"name": "now\n</tool_call> x',
        '<tool_call>{"name": "now</tool_call> x',
        "<tool",
    ):
        parser = ToolCalls()
        text, calls = parser.push(broken)
        assert text + parser.finish() == broken and not calls


def test_calls_are_told_as_calls(monkeypatch):
    """A model that is made to call: the server is in this process."""
    import uvicorn

    from llada.serve.app import application

    text = 'Let me see.\n<tool_call>\n{"name": "now", "arguments": {"zone": "UTC"}}\n</tool_call>'

    class Caller(llada.Model):
        def decoder(self, prompt, policy=None, **options):
            ids = [*self.tokenizer.encode(text).tolist(), self.eos_token_id]

            def rule(dec):
                dec.end_block(True)
                places = [place - dec.prompt_length for place in dec.masked]
                return [(dec.prompt_length + place, ids[min(place, len(ids) - 1)]) for place in places]

            return super().decoder(prompt, policy, **{**options, "rule": rule})

    with Caller.load(TINY, threads=1) as model:
        config = uvicorn.Config(application(model, "caller"), port=0, log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
            ask = {"model": "caller", "messages": [{"role": "user", "content": "What time is it?"}], "tools": [TOOL]}
            (choice,) = client.chat.completions.create(**ask).choices
            assert choice.finish_reason == "tool_calls" and choice.message.content == "Let me see."
            (call,) = choice.message.tool_calls
            assert (call.function.name, json.loads(call.function.arguments)) == ("now", {"zone": "UTC"})
            content, calls, reason = "", [], None
            for chunk in client.chat.completions.create(**ask, stream=True):
                delta, reason = chunk.choices[0].delta, chunk.choices[0].finish_reason
                content, calls = content + (delta.content or ""), calls + (delta.tool_calls or [])
            assert (content, reason) == ("Let me see.", "tool_calls")
            assert [(each.index, each.function.name) for each in calls] == [(0, "now")]
            ask.pop("tools")
            assert client.chat.completions.create(**ask).choices[0].message.content == text
        finally:
            server.should_exit = True
            thread.join()


REFUSED = [
    ({"model": "gpt-4"}, 404, "model"),
    ({"messages": []}, 400, "messages"),
    ({"messages": "hi"}, 400, "messages"),
    ({"messages": [{"role": "wizard", "content": "hi"}]}, 400, "messages"),
    ({"messages": [{"content": "hi"}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "messages"),
    ({"temperature": 2.5}, 400, "temperature"),
    ({"temperature": "hot"}, 400, "temperature"),
    ({"temperature": True}, 400, "temperature"),
    ({"top_p": -1}, 400, "top_p"),
    ({"n": 0}, 400, "n"),
    ({"n": 1.5}, 400, "n"),
    ({"n": 1000}, 400, "n"),
    ({"max_tokens": 0}, 400, "max_tokens"),
    ({"max_tokens": 10**400}, 400, "max_tokens"),
    ({"seed": 2**70}, 400, "seed"),
    ({"stop": [""]}, 400, "stop"),
    ({"stop": 7}, 400, "stop"),
    ({"stop": ["x"] * 17}, 400, "stop"),
    ({"logit_bias": {"1024": 1}}, 400, "logit_bias.1024"),
    ({"logit_bias": {"-1": 1}}, 400, "logit_bias.-1"),
    ({"logit_bias": {"1": 101}}, 400, "logit_bias.1"),
    ({"logit_bias": [1]}, 400, "logit_bias"),
    ({"top_logprobs": 2}, 400, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
    ({"frequency_penalty": 0.5}, 400, "frequency_penalty"),
    ({"tools": [7]}, 400, "messages"),
    ({"tool_choice": "required"}, 400, "tool_choice"),
    ({"tool_choice": "required", "tools": []}, 400, "tool_choice"),
    ({"tool_choice": "often", "tools": [TOOL]}, 400, "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "later"}}, "tools": [TOOL]}, 400, "tool_choice"),
    ({"tool_choice": {"type": "function", "name": "now"}, "tools": [TOOL]}, 400, "tool_choice"),
    ({"tool_choice": {"type": "custom", "custom": {"name": "now"}}, "tools": [TOOL]}, 400, "tool_choice"),
    ({"tool_choice": "required", "tools": [TOOL], "max_tokens": 3}, 400, "tool_choice"),
    ({"tool_choice": "required", "tools": [7]}, 400, "tools[0]"),
    ({"tool_choice": "required", "tools": [TOOL, {"type": "function", "function": {}}]}, 400, "tools[1]"),
    ({"tool_choice": "required", "tools": [tool("now", {"type": "array"})]}, 400, "tools[0]"),
    ({"tool_choice": "required", "tools": [tool("now", ["zone"])]}, 400, "tools[0]"),
    ({"tool_choice": "required", "tools": [tool("now", {"properties": {"x": {"not": {}}}})]}, 400, "tools"),
    ({"parallel_tool_calls": False, "tools": [TOOL]}, 400, "parallel_tool_calls"),
    ({"parallel_tool_calls": "no"}, 400, "parallel_tool_calls"),
    ({"response_format": {"type": "xml"}}, 400, "response_format.type"),
    ({"stream": "yes"}, 400, "stream"),
    ({"functions": []}, 400, "functions"),
    ({"llada": {"policy": "wild"}}, 400, "llada.policy"),
    ({"llada": {"draft": True}}, 400, "llada.draft"),
    ({"llada": {"threshold": "x"}}, 400, "llada"),
    ({"llada": {"steps": 3}}, 400, "llada.steps"),  # of another policy
    ({"llada": {"mbe_window": 0}}, 400, None),  # the library says so
    ({"llada": {"block_length": 4096}}, 400, "llada.block_length"),
    ({"messages": [{"role": "user", "content": "word " * 8000}]}, 400, None),
]


@pytest.mark.parametrize("change, status, param", REFUSED, ids=[json.dumps(each[0])[:60] for each in REFUSED])
def test_refusals_have_openais_shape(server, change, status, param):
    body = {"model": "tiny-2.1", "messages": [{"role": "user", "content": ADDITION}], **change}
    code, headers, answer = server.post(json.dumps(body).encode())
    assert code == status and headers["Content-Type"] == "application/json", answer
    error = answer["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert error["param"] == param and len(error["message"]) > 10


@pytest.mark.parametrize(
    "body, status",
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"\xff"', 400),
        (b"[" * 100_000, 400),
        (b'{"model": NaN}', 400),
        (b'{"messages": "\\ud800", "model": "\\udfff"}', 400),
        (b" " * (4 << 20) + b"{}", 413),
    ],
    ids=["empty", "open", "array", "latin", "deep", "nan", "surrogates", "large"],
)
def test_bodies_that_are_none(server, body, status):
    code, _, answer = server.post(body)
    assert code == status and answer["error"]["message"]


def test_texts_of_halves_of_characters(server):
    body = {"model": "tiny-2.1", "prompt": "\ud800 \udfff", "echo": True, "max_tokens": 2, "user": "\ud800"}
    code, _, answer = server.post(json.dumps(body).encode(), "/v1/completions")
    assert code == 200 and answer["choices"][0]["text"].startswith("\ud800 \udfff")
    status, _, answer = server.post(b'{"model": "\\u2028\\u0085", "prompt": "x"}', "/v1/completions")
    assert status == 404 and "\\u2028" in answer["error"]["message"]


def test_other_places(server):
    assert server.post(b"{}", "/v1/embeddings")[0] == 404
    assert server.post(b"{}", "/v1/models")[0] == 405
    assert server.post(b"{}", Content_Type="text/plain")[0] == 415
    for path in ("/v1/embeddings", "/v1/chat/completions"):
        with pytest.raises(OSError, match="404|405"):
            server.get(path)
    code, _, answer = server.post(b"{}", Host="evil.example")
    assert code == 421 and "evil.example" in answer["error"]["message"]
    here = f"127.0.0.1:{server.port}"
    assert (
        server.post(b"{}", Origin="http://localhost:3000")[0]
        == server.post(b"{}", Sec_Fetch_Site="same-site")[0]
        == 403
    )
    assert server.post(b"{}", Origin=f"http://{here}")[0] == server.post(b"{}", Host="localhost:9000")[0] == 400
    assert json.loads(server.get("/health")) == {"status": "ok", "model": "tiny-2.1"}


def test_a_key():
    with served(TINY, "--name", "mine", LLADA_API_KEY="secret") as server:
        assert [each.id for each in server.client("secret").models.list()] == ["mine"]
        for key in ("", "Secret", "secret2"):
            with pytest.raises((openai.AuthenticationError, openai.APIConnectionError)):
                server.client(key or "x").models.list()
        assert "llada_answers_running" in server.get("/metrics") and server.get("/health")


def test_meters_add_up(server):
    before = server.meters()
    answers = [server.chat(), server.chat(CARRY)]
    after = server.until(lambda meters: meters["llada_requests_open"] == meters["llada_answers_running"] == 0)
    grown = {name: after[name] - before[name] for name in before}
    assert grown["llada_tokens_total"] == sum(each.usage.completion_tokens for each in answers)
    assert grown["llada_forwards_total"] == sum(each.usage.forwards for each in answers)
    assert grown["llada_prompt_tokens_total"] == sum(each.usage.prompt_tokens for each in answers)
    assert grown["llada_request_seconds_count"] == grown["llada_first_text_seconds_count"] == 2
    assert grown['llada_requests_total{path="/v1/chat/completions",status="200"}'] == 2


def test_stops_like_find():
    """Against str.find, however the text comes in."""
    random.seed(9)
    for _ in range(3000):
        text = "".join(random.choices("ab", k=random.randrange(12)))
        words = ["".join(random.choices("ab", k=random.randrange(1, 5))) for _ in range(random.randrange(3))]
        stops, said, place = Stops(words), "", 0
        while place < len(text):
            size = random.randrange(1, 4)
            said += stops.push(text[place : place + size])
            place += size
            # Nothing that might be a part of a word has been told, and all else has.
            assert stops.stopped or said + stops.held == text[:place]
        said += stops.finish()
        ends = [(text.find(word) + len(word), text.find(word)) for word in words if word in text]
        assert said == text[: min(ends, default=(0, len(text)))[1]] and stops.stopped == bool(ends)


def test_clients_take_turns():
    queue = FairQueue()
    for number in range(4):
        queue.add("greedy", f"greedy {number}")
    queue.add("late", "late 0")
    queue.add("busy", "busy 0")
    at_work = {"busy": 1}
    taken = [queue.take(lambda client: at_work.get(client, 0)) for _ in range(3)]
    assert taken == ["greedy 0", "late 0", "greedy 1"]
    queue.remove("greedy", "greedy 2")
    queue.remove("greedy", "never there")
    assert list(queue) == ["busy 0", "greedy 3"] and len(queue) == 2
    at_work["greedy"] = 2
    assert [queue.take(lambda client: at_work.get(client, 0)) for _ in range(2)] == ["busy 0", "greedy 3"]
    with pytest.raises(IndexError):
        queue.take(lambda client: 0)


PETS = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_a_form_is_kept_to(server):
    question = "Ned has a goat and is 34 years old. Write that as JSON with the keys name and age."
    form = {"type": "json_schema", "json_schema": {"name": "pets", "strict": True, "schema": PETS}}
    for choice in server.chat(question, response_format=form, n=4, temperature=1.8, seed=2, max_tokens=100).choices:
        value = json.loads(choice.message.content)
        assert set(value) == {"name", "age"} and isinstance(value["age"], int) and isinstance(value["name"], str)
    text = "".join(
        chunk.choices[0].delta.content or ""
        for chunk in server.chat(question, response_format={"type": "json_object"}, max_tokens=100, stream=True)
    )
    assert isinstance(json.loads(text), dict)
    with pytest.raises(openai.BadRequestError, match="at least"):
        server.chat(question, response_format=form, max_tokens=3)
    form["json_schema"]["schema"] = {"type": "wizard"}
    with pytest.raises(openai.BadRequestError, match="wizard"):
        server.chat(question, response_format=form)


def test_a_form_without_the_package_for_it(tmp_path):
    (tmp_path / "outlines_core.py").write_text("raise ImportError('it is not here')")
    package = ROOT / "bindings" / "python"
    with served(TINY, PYTHONPATH=f"{tmp_path}:{package}") as server:
        for field, asked in (
            ("response_format", {"response_format": {"type": "json_object"}}),
            ("tool_choice", {"tools": [TOOL], "tool_choice": "required"}),
        ):
            with pytest.raises(openai.BadRequestError, match="pip install outlines-core") as refused:
                server.chat(**asked)
            assert refused.value.param == field
        assert server.chat(tools=[TOOL], tool_choice="auto", max_tokens=8).choices


BOOK = tool(
    "book table (2)",
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "people": {"type": "integer", "minimum": 1, "maximum": 20},
            "when": {"enum": ["noon", "evening"]},
        },
        "required": ["name", "people", "when"],
        "additionalProperties": False,
    },
)
DRAWN = {"n": 3, "temperature": 1.8, "seed": 2, "max_tokens": 160}


def booked(call):
    jsonschema.validate(json.loads(call.function.arguments), BOOK["function"]["parameters"])
    return call.function.name == BOOK["function"]["name"] and call.id.startswith("call_")


@pytest.mark.parametrize("policy", ["quality", "low_confidence"])
def test_a_function_is_called_if_it_is_asked_for(server, policy):
    """By a model that has never learnt to."""
    choice = {"type": "function", "function": {"name": BOOK["function"]["name"]}}
    ask = {"tools": [TOOL, BOOK], "tool_choice": choice, "extra_body": {"llada": {"policy": policy}}}
    for answer in server.chat("A table for two at noon.", **ask, **DRAWN).choices:
        (call,) = answer.message.tool_calls
        assert booked(call) and answer.message.content is None and answer.finish_reason == "tool_calls"


def test_functions_are_called_if_that_is_required(server):
    ask = {"tools": [TOOL, BOOK], "tool_choice": "required"}
    names = set()
    for answer in server.chat("What time is it?", **ask, **DRAWN).choices:
        assert answer.message.content is None and answer.message.tool_calls
        for call in answer.message.tool_calls:
            names.add(call.function.name)
            assert call.function.arguments == "{}" if call.function.name == "now" else booked(call)
    assert names <= {"now", BOOK["function"]["name"]}
    alone = server.chat("What time is it?", **ask, **DRAWN, parallel_tool_calls=False)
    assert [len(answer.message.tool_calls) for answer in alone.choices] == [1] * DRAWN["n"]
    # In a stream; and a form of content has nothing to say where there is none.
    form = {"type": "json_schema", "json_schema": {"name": "pets", "schema": PETS}}
    content, calls = "", []
    for chunk in server.chat("Now!", **ask, response_format=form, max_tokens=160, stream=True):
        (choice,) = chunk.choices
        content, calls = content + (choice.delta.content or ""), calls + (choice.delta.tool_calls or [])
    whole = server.chat("Now!", **ask, max_tokens=160).choices[0].message
    assert content == "" and choice.finish_reason == "tool_calls"
    assert [each.index for each in calls] == list(range(len(calls)))
    assert [(each.function.name, each.function.arguments) for each in calls] == [
        (each.function.name, each.function.arguments) for each in whole.tool_calls
    ]


def test_a_form_of_content_leaves_calls_free():
    asked = {"response_format": {"type": "json_object"}, "tools": [TOOL, BOOK]}
    given = '{"name": "book table (2)", "arguments": {"name": "Ann", "people": 2, "when": "noon"}}'
    now = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    texts = [
        '{"a": 1}',
        now,
        f"{now}\n<tool_call>\n{given}\n</tool_call>",
        f"{{}}{now}",
        now.replace("now", "later"),
        "",
    ]

    def matched(more):
        fields = Fields({**asked, **more})
        form = form_of(fields, tools_of(fields))
        fields.end()
        return [re.fullmatch(form.rule.regex, text) is not None for text in texts]

    assert matched({}) == matched({"tool_choice": "auto"}) == [True, True, True, False, False, False]
    assert matched({"tool_choice": "none"}) == [True, False, False, False, False, False]
    assert matched({"tool_choice": "required"}) == [False, True, True, False, False, False]
    assert matched({"tool_choice": "required", "parallel_tool_calls": False}) == [False, True] + [False] * 4


def test_a_call_that_is_asked_for_stands_as_the_layout_has_it(server, model):
    """So that it may be given back as a message, and is read as it was written."""
    parameters = {"type": "object", "properties": {"zone": {"const": 'a "</tool_call>" \\'}}, "required": ["zone"]}
    ask = {"tools": [tool("now", parameters)], "tool_choice": "required", "parallel_tool_calls": False}
    messages = [{"role": "user", "content": "What time is it?"}]
    answer = server.client().chat.completions.create(model="tiny-2.1", messages=messages, **ask, max_tokens=160)
    message = answer.choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments) == {"zone": 'a "</tool_call>" \\'}
    messages += [message.model_dump(), {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "12:00"}]
    again = server.client().chat.completions.create(
        model="tiny-2.1", messages=messages, tools=ask["tools"], max_tokens=8
    )
    ids = model.tokenizer.chat(messages, tools=ask["tools"])
    assert again.usage.prompt_tokens == len(ids)
    written = (
        '<tool_call>\n{"name": "now", "arguments": ' + message.tool_calls[0].function.arguments + "}\n</tool_call>"
    )
    assert written in model.tokenizer.decode(ids)


def test_endless_is_what_it_says(server):
    answer = server.client().chat.completions.create(**endless(max_tokens=200))
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 200
