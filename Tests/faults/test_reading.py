"""Reading while the system fails: at every system call of opening a model, restoring a snapshot and loading a prefix
cache. What fails is an error with the system's words; what is cut short or interrupted is read on.

`make test-faults` loads the shim before everything else; see shim.c.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil

import pytest

import llada
from conftest import CONFORMANCE
from gguf_files import write_gguf

SHIM = ctypes.CDLL(None)
if not hasattr(SHIM, "fault_arm"):
    raise ImportError("the shim is not loaded: run make test-faults")

SHORT = 2
ERRORS = {"EIO": errno.EIO, "EACCES": errno.EACCES, "ESTALE": errno.ESTALE, "ENOMEM": errno.ENOMEM}
HARMLESS = {"EINTR": errno.EINTR, "short": SHORT}
PROMPT = [1, 2, 3, 4, 5]


class Opening:
    """A folder, opened with some options."""

    def __init__(self, folder, **options) -> None:
        shutil.copytree(CONFORMANCE / "gqa_group", folder / "model")
        self.path, self.options = folder / "model", {"threads": 2, **options, "mask_token_id": 127, "eos_token_id": 126}

    def read(self) -> bytes:
        with llada.Model.load(self.path, **self.options) as model:
            SHIM.fault_disarm()
            return model.logits(PROMPT, block_length=4).tobytes()


class GGUF(Opening):
    """A model in a GGUF file."""

    def __init__(self, folder) -> None:
        self.path, self.options = folder / "model.gguf", {"threads": 2}
        write_gguf(self.path)


class Snapshot(Opening):
    """A snapshot with its pages."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.model = llada.Model.load(self.path, **self.options)
        self.file = folder / "snapshot"
        with self.model.decoder(PROMPT, block_length=4, gen_length=8) as decoder:
            decoder.step()
            decoder.save(self.file, pages=True)

    def read(self) -> bytes:
        with self.model.restore(self.file) as decoder:
            SHIM.fault_disarm()
            decoder.run()
            return str(decoder.result.tokens.tolist()).encode()


class Cache(Snapshot):
    """A prefix cache."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        cache = self.model.prefix_cache(1 << 20)
        with self.model.decoder(PROMPT * 3, block_length=4, gen_length=8, prefix_cache=cache) as decoder:
            decoder.run()
        cache.save(self.file)

    def read(self) -> bytes:
        return str(self.model.prefix_cache(1 << 20).load(self.file)).encode()


SUBJECTS = {
    "as stored": Opening,
    "read": lambda folder: Opening(folder, use_mmap=False),
    "int8": lambda folder: Opening(folder, dtype="int8"),
    "gguf": GGUF,
    "snapshot": Snapshot,
    "cache": Cache,
}


@pytest.fixture(params=SUBJECTS.values(), ids=SUBJECTS.keys())
def subject(request, tmp_path):
    return request.param(tmp_path)


@pytest.mark.parametrize("fault", [*ERRORS, *HARMLESS])
def test_a_call_that_fails(subject, fault):
    SHIM.fault_arm(0, 0)
    expected = subject.read()
    places, refused = SHIM.fault_disarm(), 0
    assert places > 3
    for place in range(1, places + 1):
        SHIM.fault_arm(place, {**ERRORS, **HARMLESS}[fault])
        try:
            # What the system says of its processors and file systems may be missing.
            assert subject.read() == expected, place
        except llada.Error as problem:
            refused += 1
            assert fault in ERRORS, f"{fault} at call {place}: {problem}"
            assert os.strerror(ERRORS[fault]) in str(problem), place
        finally:
            SHIM.fault_disarm()
        assert subject.read() == expected
    assert refused > 0 or fault in HARMLESS
