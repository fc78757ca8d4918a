#!/usr/bin/env python3
"""Dead links. Prints them and exits 1 if there are any.

Of every Markdown file the script checks relative links and images, their anchors, and in shell blocks the paths of
the repository and the targets of `make`. Of every source it checks citations of documents, whose file, sections and
headings must exist. Addresses on the network are left alone.
"""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLANTED = ROOT / "Tests/lint"  # dead links, for this script to see
SOURCES = {".swift", ".c", ".h", ".inc", ".py", ".sh", ".toml", ".yml", ".cmake"}

LINK = re.compile(r"!?\[[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*\]\(\s*<?([^\s)>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s+<?(\S+?)>?\s*$")
SOURCE_OF_IMAGE = re.compile(r"<(?:img|a)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*(\w*)")
# A citation: "spec: <name>.md, sections 1 to 3 and 7", or "docs/<name>.md", with headings in quotation marks behind a
# comma. It may go on in the next line of a comment.
GAP = r"(?: +|[ \t]*\n[ \t]*(?://+|\*|#)?[ \t]*)"
NUMBERS = rf"[\d.]*\d(?:(?:,|{GAP}and|{GAP}to){GAP}[\d.]*\d)*"
QUOTED = rf"\"[^\"\n]+\"(?:,{GAP}\"[^\"\n]+\")*"
CITATION = re.compile(
    rf"(?:(?:\bspec:{GAP}|(?<![\w./-])(?:docs/)?spec/)(?P<spec>[\w-]+\.md)"
    rf"|(?<![\w./-])docs/(?P<document>(?:[\w-]+/)*[\w-]+\.md))"
    rf"(?:,?{GAP}sections?{GAP}(?P<sections>{NUMBERS})|,{GAP}(?P<headings>{QUOTED}))?"
)
REPOSITORY_PATH = re.compile(
    r"(?<![\w./$}~-])(?:Sources|Tests|bindings|docs|examples|include)(?:/[\w.+-]+)+|(?<![\w./$}~-])\.ci/[\w.-]+"
)
MAKE = re.compile(r"(?:^|[;&|] *)(?:\w+=\S+ +)*make((?: +[^;&|#]*)?)")


def files(suffixes):
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(
            name for name in folders if name not in ("node_modules", "__pycache__", "dist") and not name.startswith(".")
        )
        if Path(folder) == ROOT:
            folders.append(".ci")
        for name in sorted(names):
            if Path(name).suffix in suffixes:
                yield Path(folder, name)


class Document:
    """A Markdown file: its headings, its prose, and its shell blocks."""

    def __init__(self, path):
        self.headings = []  # as they are written
        self.anchors = set()
        self.prose = []  # (number of the line, line without code)
        self.shell = []  # (number of the line, line)
        fence, language = None, ""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            mark = FENCE.match(line)
            if fence:
                if mark and mark[1].startswith(fence) and not mark[2]:
                    fence = None
                elif language in ("sh", "bash", "shell"):
                    self.shell.append((number, line))
                continue
            if mark:
                fence, language = mark[1], mark[2]
                continue
            self.prose.append((number, re.sub(r"`[^`]*`", "``", line)))
            heading = HEADING.match(line)
            if heading:
                self.headings.append(heading[2])
                self.add_anchor(heading[2])
            self.anchors.update(re.findall(r"<a\s+(?:id|name)=\"([^\"]+)\"", line))

    def add_anchor(self, heading):
        """As GitHub makes them."""
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = "".join(c for c in text if c.isalnum() or c in " -_").replace(" ", "-")
        anchor, again = slug, 0
        while anchor in self.anchors:
            again += 1
            anchor = f"{slug}-{again}"
        self.anchors.add(anchor)

    def has_section(self, number):
        return any(re.match(rf"(?:Section )?{re.escape(number)}(?:\.? |\.?$)", heading) for heading in self.headings)

    def has_heading(self, text):
        return any(text.lower() in heading.lower() for heading in self.headings)


documents = {}


def document(path):
    path = path.resolve()
    if path not in documents:
        documents[path] = Document(path)
    return documents[path]


def check_link(path, target):
    """What is wrong with a link, or None."""
    if re.match(r"[a-z][a-z0-9+.-]*:|//", target):
        return None
    name, _, anchor = target.partition("#")
    there = (path.parent / name) if name else path
    if not there.exists():
        return f"{target}: there is no such file"
    if ROOT not in (there.resolve(), *there.resolve().parents):
        return f"{target}: is outside the repository"
    if anchor and there.suffix == ".md" and anchor not in document(there).anchors:
        return f"{target}: there is no such heading"
    return None


def targets_of_make():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    names = set()
    for line in text.splitlines():
        rule = re.match(r"([\w./ -]+?)\s*:(?!=)", line)
        if rule:
            names.update(rule[1].split())
    return names


def check_shell(path, number, line, targets):
    for match in REPOSITORY_PATH.finditer(line):
        name = match[0].rstrip(".")
        if not (ROOT / name).exists() and not (path.parent / name).exists():
            yield number, f"{name}: there is no such file"
    for match in MAKE.finditer(line):
        for word in match[1].split():
            if re.fullmatch(r"[a-z][a-z-]*", word) and word not in targets:
                yield number, f"make {word}: there is no such target"


def check_document(path, targets):
    for number, line in document(path).prose:
        for pattern in (LINK, REFERENCE, SOURCE_OF_IMAGE):
            for target in pattern.findall(line):
                if wrong := check_link(path, target):
                    yield number, wrong
    for number, line in document(path).shell:
        yield from check_shell(path, number, line, targets)


def sections(text):
    """The sections that "1 to 3, 5 and 7.1" names."""
    found = []
    for joint, number in re.findall(r"(?:[^\d.]*\b(to)\b)?[^\d.]*([\d.]*\d)", text):
        if joint and found and found[-1].isdigit() and number.isdigit():
            found.extend(str(between) for between in range(int(found[-1]) + 1, int(number)))
        found.append(number)
    return found


def check_citations(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    for match in CITATION.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        name = match["document"] or f"spec/{match['spec']}"
        there = ROOT / "docs" / name
        if not there.exists():
            yield number, f"docs/{name}: there is no such file"
            continue
        for section in sections(match["sections"] or ""):
            if not document(there).has_section(section):
                yield number, f"docs/{name}, section {section}: there is no such section"
        for heading in re.findall(r"\"([^\"]+)\"", match["headings"] or ""):
            if not document(there).has_heading(heading):
                yield number, f'docs/{name}, "{heading}": there is no such heading'


def main():
    targets = targets_of_make()
    dead = []
    checked = 0
    for path in files({".md"}):
        checked += 1
        dead += [(path, *wrong) for wrong in check_document(path, targets)]
    for path in files(SOURCES):
        if PLANTED in path.parents:
            continue
        dead += [(path, *wrong) for wrong in check_citations(path)]
    for path, number, wrong in sorted(dead):
        print(f"{path.relative_to(ROOT)}:{number}: {wrong}")
    print(f"{checked} documents, {len(dead)} dead links", file=sys.stderr)
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
