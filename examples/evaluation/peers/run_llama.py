"""Times llama.cpp, by the low-level interface of llama-cpp-python, on a GGUF file of write_gguf.py.

A step decodes a block on a prefix that is in the cache, not causally, with the logits of all its rows; a token is
decoded alone on the same prefix, as autoregressive decoding does. Weights are in
memory and repacked where llama.cpp knows how to, attention is flash attention: its fastest ways.
"""

from __future__ import annotations

import ctypes
import sys
import time

import llama_cpp as ll
import shape

ERROR = 4  # GGML_LOG_LEVEL_ERROR, which the package does not name


@ll.llama_log_callback
def errors_only(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    if level == ERROR:
        print(text.decode(), end="", file=sys.stderr)


def batch(tokens: list[int], first: int, all_logits: bool) -> ll.llama_batch:
    made = ll.llama_batch_init(len(tokens), 0, 1)
    made.n_tokens = len(tokens)
    for index, token in enumerate(tokens):
        made.token[index] = token
        made.pos[index] = first + index
        made.n_seq_id[index] = 1
        made.seq_id[index][0] = 0
        made.logits[index] = all_logits or index == len(tokens) - 1
    return made


class Context:
    def __init__(self, path: str, threads: int, length: int, prefix: int) -> None:
        ll.llama_log_set(errors_only, None)
        ll.llama_backend_init()
        weights = ll.llama_model_default_params()
        weights.n_gpu_layers = 0
        weights.load_mode = ll.LLAMA_LOAD_MODE_NONE
        weights.use_extra_bufts = True
        model = ll.llama_model_load_from_file(path.encode(), weights)
        if not model:
            sys.exit(f"llama.cpp does not load {path}")
        options = ll.llama_context_default_params()
        options.n_ctx = length
        options.n_batch = prefix
        options.n_ubatch = 512
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = ll.LLAMA_FLASH_ATTN_TYPE_ENABLED
        self.context = ll.llama_init_from_model(model, options)
        if not self.context:
            sys.exit(f"llama.cpp makes no context of {length} tokens")
        self.memory = ll.llama_get_memory(self.context)

    def forget(self, first: int) -> None:
        ll.llama_memory_seq_rm(self.memory, 0, first, -1)

    def decode(self, what: ll.llama_batch) -> float:
        """Seconds until the logits are there."""
        start = time.perf_counter()
        if status := ll.llama_decode(self.context, what):
            sys.exit(f"llama_decode: {status}")
        ll.llama_get_logits(self.context)[0]
        return time.perf_counter() - start


def main() -> None:
    options = shape.arguments(__doc__.split("\n\n")[0])
    options.add_argument("file")
    choice = options.parse_args()
    context = Context(choice.file, choice.threads, choice.prefix + 8 * choice.block, choice.prefix)
    drawn = shape.tokens(choice.prefix + choice.block)
    prompt = batch(drawn[: choice.prefix], 0, all_logits=False)
    block = batch(drawn[choice.prefix :], choice.prefix, all_logits=True)

    prefill, step = [], []
    for _ in range(1 + choice.timings):  # the first warms up
        context.forget(0)
        prefill.append(context.decode(prompt))
    ll.llama_set_causal_attn(context.context, False)
    for _ in range(1 + choice.timings):
        context.forget(choice.prefix)
        step.append(context.decode(block))
    ll.llama_set_causal_attn(context.context, True)
    one = batch(drawn[choice.prefix : choice.prefix + 1], choice.prefix, all_logits=True)
    token = []
    for _ in range(1 + 4 * choice.timings):
        context.forget(choice.prefix)
        token.append(context.decode(one))
    shape.report(step[1:], prefill[1:], token=token[1:])


if __name__ == "__main__":
    main()
