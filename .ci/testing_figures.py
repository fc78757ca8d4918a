"""testing_figures.py   Counts what docs/testing.md gives figures of, and writes them into it. What was not measured
here (no log of a suite, no coverage) stays as it is there, and is named.

Logs are those of `make test`, and of `make test TEST_SUITES="faults oom asan tsan valgrind"`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "testing.md"
LOGS = ROOT / ".build" / "test-logs"


def count(pattern: str, *globs: str) -> int:
    """Matches in all files of these patterns, comments of whole lines left out."""
    texts = (path.read_text("utf-8") for glob in globs for path in sorted(ROOT.glob(glob)))
    lines = (line for text in texts for line in text.splitlines() if not re.match(r"\s*(//|/?\*|# )", line))
    return sum(len(re.findall(pattern, line)) for line in lines)


def passed(suite: str) -> int | None:
    """What the last line of a log says: Swift's, pytest's, or "N passed, N failed"."""
    log = LOGS / f"{suite}.log"
    if not log.is_file():
        return None
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text("utf-8", "replace"))
    found = re.findall(r"Test run with (\d+) tests?|^(\d+) passed, 0 failed$|(\d+) passed.* in [\d.]+s", text, re.M)
    return int(next(filter(None, found[-1]))) if found and not re.search(r"[1-9]\d* failed", text) else None


def blocks() -> int:
    """Code blocks of documents that are run, or compiled."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return sum(len(re.findall(r"^```(?:c|python|swift|sh)\n", page.read_text("utf-8"), re.M)) for page in pages)


def figure(number: int | None) -> str:
    return "—" if number is None else f"{number:,}"


def tests() -> str:
    """A table of the kinds of tests."""
    checks = r"\b(?:CHECK\w*|NEED|EXPECT|REFUSES|TELLS|STOPS)\("

    def swift(*globs: str) -> tuple[int, int]:
        return count(r"@Test\b", *globs), count(r"#(?:expect|require)\b", *globs)

    def c(glob: str) -> tuple[int, int]:
        return count(r'^\s*\{"', glob), count(checks, glob)

    def python(folder: str) -> tuple[int, int]:
        glob = f"Tests/{folder}/*.py"
        return count(r"^def test_", glob), count(r"\bassert\b|pytest\.raises", glob)

    kinds: list[tuple[str, str, tuple[int | None, int | None]]] = [
        ("swift", "rooms of the engine", swift("Tests/*Tests/*.swift", "Tests/Support/*.swift")),
        ("abi", "the library, from C", c("Tests/c/*_tests.c")),
        ("python", "the package", python("python")),
        ("docs", "code blocks of documents", (blocks(), None)),
        ("lint", "violations that lint must see", python("lint")),
        ("install", "what `make install` puts where", (None, None)),
        ("aarch64", "kernels that compile for another processor", (None, None)),
        ("faults", "saves and reads while the system fails", python("faults")),
        ("oom", "allocations that fail", (None, count(checks, "Tests/oom/*.c") or None)),
    ]
    lines = ["| `make test-…` | what | tests written | assertions written | tests run |", "|---|---|--:|--:|--:|"]
    missing = []
    for suite, what, (written, assertions) in kinds:
        ran = passed(suite)
        if ran is None:
            missing.append(suite)
        lines.append(f"| {suite} | {what} | {figure(written)} | {figure(assertions)} | {figure(ran)} |")
    if missing:
        print("no log of a good run, so — stands for:", ", ".join(missing))
    return "\n".join(lines)


def sanitizers() -> str | None:
    """What ran under which of them."""
    found = [(suite, passed(suite)) for suite in ("asan", "tsan", "valgrind")]
    if any(number is None for _, number in found):
        return None
    names = {"asan": "AddressSanitizer, with leaks", "tsan": "ThreadSanitizer", "valgrind": "valgrind"}
    return "\n".join(["| | tests run |", "|---|--:|", *(f"| {names[suite]} | {figure(n)} |" for suite, n in found)])


def fuzzing() -> str | None:
    """The runs that are noted in Tests/fuzz/RUNS.tsv, added up by target."""
    runs = ROOT / "Tests" / "fuzz" / "RUNS.tsv"
    if not runs.is_file():
        return None
    sums: dict[str, list[int]] = {}
    for line in runs.read_text("utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        _, target, *numbers = line.split("\t")
        sums[target] = [a + int(b) for a, b in zip(sums.get(target, [0, 0, 0]), numbers)]
    total = [sum(column) for column in zip(*sums.values())]
    rows = [
        f"| {target} | {seconds / 3600:.1f} | {executions:,} |"
        for target, (seconds, executions, _) in sorted(sums.items())
    ]
    rows.append(f"| all | {total[0] / 3600:.1f} | {total[1]:,} |")
    return "\n".join(["| target | hours of CPU | executions |", "|---|--:|--:|", *rows])


def coverage() -> str | None:
    """Of the library's sources, by folder."""
    summary = ROOT / ".build" / "coverage" / "summary.json"
    if not summary.is_file():
        return None
    folders: dict[str, list[int]] = {}
    for file in json.loads(summary.read_text("utf-8"))["data"][0]["files"]:
        folder = re.sub(r".*?/Sources/", "", file["filename"])
        folder = "/".join(folder.split("/")[: 2 if folder.startswith("LLaDA/") else 1])
        values = [
            file["summary"][kind][part] for kind in ("lines", "regions", "branches") for part in ("covered", "count")
        ]
        folders[folder] = [a + b for a, b in zip(folders.get(folder, [0] * 6), values)]

    def row(name: str, numbers: list[int]) -> str:
        shares = [f"{100 * a / b:.1f} %" if b else "—" for a, b in zip(numbers[::2], numbers[1::2])]
        return f"| {name} | {numbers[1]:,} | {' | '.join(shares)} |"

    total = [sum(column) for column in zip(*folders.values())]
    head = ["| | lines | of them reached | regions reached | branches reached |", "|---|--:|--:|--:|--:|"]
    return "\n".join(
        [*head, *(row(f"`{name}`", numbers) for name, numbers in sorted(folders.items())), row("all", total)]
    )


def main() -> None:
    page = PAGE.read_text("utf-8")
    for name, make in {"tests": tests, "sanitizers": sanitizers, "fuzzing": fuzzing, "coverage": coverage}.items():
        table = make()
        if table is None:
            print(f"not measured here, left as it is: {name}")
            continue
        before, mark, rest = page.partition(f"<!-- figures: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not mark or not end:
            sys.exit(f"docs/testing.md has no figures named {name}")
        page = f"{before}{mark}{table}\n{end}{after}"
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
