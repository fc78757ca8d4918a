"""A chat that reads its history once: what was said before waits in a prefix cache, keys and values and all. An empty
line begins anew. (The shipped models were taught single questions: with them, begin anew each time.)

    python3 examples/python/chat.py
    printf 'What is 17 plus 25?\\n\\nWhat is 38 plus 46?\\n' | python3 examples/python/chat.py
"""

import argparse
import sys
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python

import llada


def questions():
    """Lines of stdin, until it ends; asked for where somebody is there to answer."""
    if sys.stdin.isatty():
        while True:
            try:
                yield input("> ")
            except EOFError:
                return
    for line in sys.stdin:
        print(f"> {line.rstrip()}")
        yield line


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument(
        "--model", default=checkout / "examples" / "models" / "tiny-2.1", help="a llada2_moe checkpoint"
    )
    options.add_argument("--system", help="a system prompt")
    options.add_argument("--thinking", action="store_true", help="tell the model to think before it answers")
    options.add_argument("--gen-length", type=int, default=128, help="tokens an answer may have")
    options.add_argument("--cache", type=int, default=1 << 30, help="bytes of keys and values to keep")
    choice = options.parse_args()

    beginning = [{"role": "system", "content": choice.system}] if choice.system else []
    history = list(beginning)
    with llada.Model.load(choice.model) as model, model.prefix_cache(choice.cache) as cache:
        for question in questions():
            if not question.strip():
                history = list(beginning)
                continue
            history.append({"role": "user", "content": question.strip()})
            prompt = model.tokenizer.chat(history, thinking=choice.thinking)
            with model.decoder(prompt, llada.Policy.speedy(), gen_length=choice.gen_length, prefix_cache=cache) as dec:
                shown = ""
                for _ in dec:
                    print(dec.text[len(shown) :], end="", flush=True)  # what is settled stays, so text only grows
                    shown = dec.text
                print(f"\n  [{dec.reused_positions} of {dec.prompt_length} tokens read before]")
            history.append({"role": "assistant", "content": shown})


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
