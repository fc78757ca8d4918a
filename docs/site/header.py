"""Pages of the C header for Sphinx: one for each of its sections, and one for the rules at its top.

The header's comments are plain ones, and its enumerations have no names, as befits C99 with types of fixed size. What
hawkmoth reads is a copy with the marks and names that it looks for; in comments, names become links, and lists are set
apart.
"""

import re
from pathlib import Path

SECTION = re.compile(r"^/\* ---- (.+?) -+ \*/$", re.M)
NAME = re.compile(r"\b(?:llada|LLADA)_\w+")


def write_pages(header: Path, folder: Path, root: Path) -> None:
    """Writes the pages to `folder`; Sphinx finds what they name by paths from `root`."""
    text = header.read_text(encoding="utf-8")
    names = roles(text)
    top, *parts = SECTION.split(text)
    previous = "\n".join(line for line in top.splitlines() if line.startswith("#include"))
    pages = []
    for number, (title, body) in enumerate(zip(parts[::2], parts[1::2])):
        short = re.split(r"[:.]", title)[0]
        page = short.lower().replace(" ", "-")
        source = folder / f"{number:02}-{page}.h"
        source.write_text(f"{previous}\n{readable(body, names)}", encoding="utf-8")
        previous = f'#include "{source.name}"'  # each builds on those before
        title = title.rstrip(".")
        (folder / f"{page}.rst").write_text(
            f"{title}\n{'=' * len(title)}\n\n.. c:autodoc:: {source.relative_to(root)}\n", encoding="utf-8"
        )
        pages.append(f"{short} <{page}>")
    (folder / "index.rst").write_text(front_page(top, names, pages), encoding="utf-8")


def roles(text: str) -> dict[str, str]:
    """The public names, and what each is in Sphinx's domain for C."""
    kinds = {
        "func": r"LLADA_API [\w *]+?\b(llada_\w+)\(",
        "macro": r"#define (LLADA_\w+)",
        "enumerator": r"^    (LLADA_\w+) =",
        "type": r"typedef (?:int \(\*|struct \w+ )(llada_\w+)\)?[;(]",
        "struct": r"^(?:typedef )?struct (llada_\w+) \{",
        "enum": r"typedef \w+ (llada_\w+);\nenum",
    }
    return {name: role for role, pattern in kinds.items() for name in re.findall(pattern, text, flags=re.M)}


def readable(body: str, names: dict[str, str]) -> str:
    """A section as hawkmoth reads it."""
    body = re.sub(r"^#(?:ifdef|endif).*$|^extern \"C\" \{$|^\}$|LLADA_API ", "", body, flags=re.M)
    # A declaration ahead of a definition is for the compiler alone.
    ahead = [name for name in re.findall(r"typedef struct (\w+) \1;", body) if names[name] == "struct"]
    for name in ahead:
        body = re.sub(rf"typedef struct {name} {name};.*\n", "", body)
    # What has no comment would be left out.
    declaration = r"(?:llada_status|void|const char \*|uint32_t) ?llada_\w+\(|(?:typedef )?struct|typedef int32_t"
    body = re.sub(rf"(?m)(?<!\*/\n)^(?={declaration})", "/* \\\\ */\n", body)
    body = commented_members(body)
    # An enumeration of int32_t has its name from the typedef before it.
    typedefs = re.findall(r"(typedef \w+ \w+;)\nenum \{", body) + [f"typedef struct {name} {name};" for name in ahead]
    body = re.sub(r"typedef \w+ (\w+);\nenum \{", r"enum \1 {", body)
    comment = re.compile(r"^([^\n]*?)/\* ?(.*?)\s*\*/", re.S | re.M)
    return "\n".join(typedefs) + comment.sub(lambda match: marked(match[1], match[2], names), body)


def commented_members(body: str) -> str:
    """A comment that says nothing for each field and enumerator that has none, for the same reason."""
    lines: list[str] = []
    has_comment = False  # in lines of its own, before this one
    for line in body.splitlines():
        if re.fullmatch(r" {4}[\w *\[\]]+(?: = -?\d+)?[;,]?", line) and not has_comment:
            line += " /* \\ */"
        has_comment = line.rstrip().endswith("*/") and not re.match(r".*[;,] +/\*|.*= -?\d+ +/\*", line)
        lines.append(line)
    return "\n".join(lines)


def marked(code: str, text: str, names: dict[str, str]) -> str:
    """A comment as hawkmoth takes it, before the code that it is about: in the header it may stand behind."""
    text = "\n".join(re.sub(r"^\s*\*? ?", "", line, count=1) for line in text.splitlines())
    comment = "\n * ".join(["/**", *prose(text, names).splitlines()]) + "\n */"
    return f"{comment}\n{code.rstrip()}" if code.strip() else comment


def prose(text: str, names: dict[str, str]) -> str:
    """Plain text as reStructuredText: names become links, but not those between backticks; lists are set apart."""
    text = re.sub(
        rf"`[^`]*`|{NAME.pattern}|[*|]|_\b",
        lambda match: (
            f":c:{names[match[0]]}:`{match[0]}`"
            if match[0] in names
            else match[0]
            if len(match[0]) > 1
            else "\\" + match[0]
        ),
        text,
    )
    lines: list[str] = []
    in_list = False
    for line in text.splitlines():
        is_item, is_more = re.match(r"\s*- ", line), in_list and line.startswith("    ")
        if bool(is_item or is_more) != in_list:
            lines.append("")
        in_list = bool(is_item or is_more)
        lines.append(line)
    return "\n".join(lines)


def front_page(top: str, names: dict[str, str], pages: list[str]) -> str:
    """The comment at the top: its examples, and each rule as a term with its definition."""
    comment = top[: top.index("*/")]
    lines = [re.sub(r"^ \* ?", "", line) for line in comment.splitlines()[2:]]
    examples, _, rest = "\n".join(lines).partition("THE RULES OF THIS INTERFACE")
    # Term.  What it means, in lines that begin where the first one does.
    rest = re.sub(
        r"(?m)^(\w+)\.( +)(.*\n(?: {4,}.*\n)*)",
        lambda match: definition(match[1], match[3], " " * (len(match[1] + match[2]) + 1), names),
        rest,
    )
    return "\n".join(
        [
            "The C interface\n===============\n",
            "``include/llada.h``, section by section.\n",
            re.sub(r":\n\n(?= {4})", "::\n\n", examples),
            "The rules\n---------\n",
            rest,
            "\n.. toctree::\n   :hidden:\n",
            *(f"   {page}" for page in pages),
            "",
        ]
    )


def definition(term: str, text: str, indent: str, names: dict[str, str]) -> str:
    lines = prose(text.replace(f"\n{indent}", "\n"), names).splitlines()
    return f"\n{term}\n" + "".join(f"    {line}\n" for line in lines)
