"""Saving while the system fails: at every system call of every save, by every fault, also by a kill. The file that was
there is whole or the new one is, nothing half-written is ever opened, and the next save leaves nothing behind.

`make test-faults` loads the shim before everything else; see shim.c.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from pathlib import Path

import pytest

import llada
from conftest import CONFORMANCE, load

SHIM = ctypes.CDLL(None)
if not hasattr(SHIM, "fault_arm"):
    raise ImportError("the shim is not loaded: run make test-faults")

KILL, SHORT = 1, 2
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EROFS": errno.EROFS, "EACCES": errno.EACCES}
HARMLESS = {"EINTR": errno.EINTR, "short": SHORT}
PROMPT = [1, 2, 3, 4, 5]
LEFTOVER = ".llada-partial-"


class Snapshot:
    """A decoder's snapshot, over one that is there."""

    def __init__(self, folder: Path) -> None:
        self.path, self.model = folder / "snapshot", load("gqa_group")
        self.decoder = self.model.decoder(PROMPT, block_length=8, gen_length=16)
        self.decoder.save(self.path)
        os.chmod(self.path, 0o640)
        self.old = self.path.read_bytes()
        self.decoder.step()
        other = folder / "other"
        self.decoder.save(other)
        self.new = other.read_bytes()
        other.unlink()

    def prepare(self) -> None:
        self.path.write_bytes(self.old)

    def save(self) -> None:
        self.decoder.save(self.path)

    def check(self, failed: bool) -> None:
        found = self.path.read_bytes()
        assert found in ((self.old,) if failed else (self.old, self.new))
        assert os.stat(self.path).st_mode & 0o777 == 0o640
        self.model.restore(self.path).close()

    def is_saved(self) -> bool:
        return self.path.read_bytes() == self.new

    def names(self) -> list[str]:
        return sorted(os.listdir(self.path.parent))


class Cache(Snapshot):
    """A prefix cache's file, over one that is there."""

    def __init__(self, folder: Path) -> None:
        self.path, self.model = folder / "cache", load("gqa_group")
        self.cache = self.model.prefix_cache(1 << 20)
        self.cache.save(self.path)
        os.chmod(self.path, 0o640)
        self.old = self.path.read_bytes()
        with self.model.decoder(PROMPT * 4, block_length=4, gen_length=4, prefix_cache=self.cache) as decoder:
            decoder.run()
        other = folder / "other"
        self.cache.save(other)
        self.new = other.read_bytes()
        assert self.new != self.old
        other.unlink()

    def save(self) -> None:
        self.cache.save(self.path)

    def check(self, failed: bool) -> None:
        found = self.path.read_bytes()
        assert found in ((self.old,) if failed else (self.old, self.new))
        self.model.prefix_cache(1 << 20).load(self.path)


class Packed:
    """A packed model, in a new folder."""

    def __init__(self, folder: Path) -> None:
        self.path, self.model = folder / "packed", load("gqa_group", dtype="int8")
        self.model.save(self.path)
        self.files = {name: (self.path / name).read_bytes() for name in os.listdir(self.path)}
        self.prepare()

    def prepare(self) -> None:
        if self.path.exists():
            for name in os.listdir(self.path):
                (self.path / name).unlink()
            self.path.rmdir()

    def save(self) -> None:
        self.model.save(self.path)

    def check(self, failed: bool) -> None:
        if failed:
            assert not self.path.exists()
        elif (self.path / "config.json").exists():  # the last to get its name
            assert self.is_saved()
            llada.Model.load(self.path, mask_token_id=127, eos_token_id=126).close()
        elif self.path.exists():
            with pytest.raises(llada.Error):
                llada.Model.load(self.path)

    def is_saved(self) -> bool:
        return {n: (self.path / n).read_bytes() for n in self.names() if not n.startswith(LEFTOVER)} == self.files

    def names(self) -> list[str]:
        return sorted(os.listdir(self.path)) if self.path.exists() else []


def count(subject) -> int:
    """How many calls a save makes."""
    subject.prepare()
    SHIM.fault_arm(0, 0)
    subject.save()
    return SHIM.fault_disarm()


@pytest.fixture(params=[Snapshot, Cache, Packed], ids=lambda kind: kind.__name__.lower())
def subject(request, tmp_path):
    return request.param(tmp_path)


@pytest.mark.parametrize("fault", [*ERRORS, *HARMLESS])
def test_a_call_that_fails(subject, fault):
    for place in range(1, count(subject) + 1):
        subject.prepare()
        SHIM.fault_arm(place, {**ERRORS, **HARMLESS}[fault])
        try:
            subject.save()
            failed = False
        except llada.FileError as problem:
            failed = True
            assert os.strerror(ERRORS[fault]) in str(problem) or "not empty" in str(problem), place
        SHIM.fault_disarm()
        assert fault in ERRORS or not failed, f"{fault} at call {place} made the save fail"
        # A fault while the names of a complete file or folder are sent to the disk may be overlooked.
        subject.check(failed)
        assert failed or subject.is_saved(), place
        assert not [name for name in subject.names() if name.startswith(LEFTOVER)] or fault in ERRORS, place


def test_a_kill(subject):
    for place in range(1, count(subject) + 1):
        subject.prepare()
        child = os.fork()
        if child == 0:
            SHIM.fault_arm(place, KILL)
            try:
                subject.save()
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, place
        subject.check(failed=False)
        # Saved again: nothing of the killed one is left, and nothing of it is in the way.
        if isinstance(subject, Packed) and subject.path.exists() and (subject.path / "config.json").exists():
            with pytest.raises(llada.FileError, match="not empty"):
                subject.save()
        else:
            subject.save()
        assert subject.is_saved(), place
        assert not [name for name in subject.names() if name.startswith(LEFTOVER)], place


def test_a_hundred_kills(subject):
    """Whatever is killed, nothing piles up, and saving goes on."""
    places = count(subject)
    for number in range(100):
        child = os.fork()
        if child == 0:
            SHIM.fault_arm(1 + number % places, KILL)
            try:
                subject.save()
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        if isinstance(subject, Packed) and (subject.path / "config.json").exists():
            subject.prepare()
        assert len([name for name in subject.names() if name.startswith(LEFTOVER)]) <= 2
    subject.prepare()
    subject.save()
    assert subject.is_saved() and CONFORMANCE.exists()
    assert not [name for name in subject.names() if name.startswith(LEFTOVER)]
