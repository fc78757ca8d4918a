"""lm-evaluation-harness, without a network: tasks in a folder, questions in a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    PYTHONPATH=str(ROOT / "bindings" / "python"),
)
for folder in ("bindings/python", "examples/evaluation", "examples/training"):
    sys.path.insert(0, str(ROOT / folder))

MODEL = ROOT / "examples" / "models" / "tiny-2.1"
