"""Writes what `make test-oom` opens: a GGUF file with a tokenizer, and a folder with a vocabulary of real size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gguf_files import CONFIG, write_gguf, write_tokenizer
from llada.synthetic import shapes
from llada.synthetic.__main__ import main
from test_synthetic import NARROW

TINY = Path("examples/models/tiny-2.1")


def write_gguf_file(path: Path) -> None:
    tokenizer = json.loads((TINY / "tokenizer.json").read_text())
    template = json.loads((TINY / "tokenizer_config.json").read_text())["chat_template"]
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    end = ids["<|endoftext|>"]
    special = {"eos_token_id": end, "mask_token_id": ids["<|mask|>"], "pad_token_id": end}
    config = CONFIG | {"vocab_size": 1024} | special
    write_gguf(path, config, extra=lambda writer: write_tokenizer(writer, tokenizer, 1024, template))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model.gguf").exists():
        write_gguf_file(folder / "model.gguf")
    shapes._SIZES["mini"] |= NARROW
    if not (folder / "wide" / "config.json").exists() and main([str(folder / "wide"), "--layers", "2"]) != 0:
        sys.exit(1)
