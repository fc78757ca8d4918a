"""Writes Sources/LLaDA/Text/NormalizationData.swift.

The judge of tokenization is Hugging Face `tokenizers` (pip install tokenizers), whose NFC knows Unicode 9: what it
decomposes is asked of it, and only the single steps are read from Python's `unicodedata`.
"""

import pathlib
import unicodedata

from tokenizers import normalizers

HEADER = """\
/// The canonical decompositions into two scalars, as Unicode 9 has them: decomposed scalar << 43 | first << 22 |
/// second << 1 | whether the two compose again (not so for composition exclusions). Sorted by the decomposed scalar.
/// Hangul is arithmetic, and decompositions into one scalar are asked of the standard library.
/// Written by Tests/Fixtures/text/make_normalization.py.
enum NormalizationData {
    static let pairs: [UInt64] = [
"""


def main():
    nfd, nfc = normalizers.NFD().normalize_str, normalizers.NFC().normalize_str
    words = []
    for code in range(0x110000):
        if 0xD800 <= code <= 0xDFFF or 0xAC00 <= code < 0xAC00 + 11172:
            continue
        scalar = chr(code)
        if nfd(scalar) == scalar:
            continue
        assert nfd(scalar) == unicodedata.normalize("NFD", scalar)
        step = [int(part, 16) for part in unicodedata.decomposition(scalar).split()]
        if len(step) == 2:
            words.append(code << 43 | step[0] << 22 | step[1] << 1 | (nfc(scalar) == scalar))
    text, line = HEADER, "       "
    for word in words:
        item = f" {word:#x},"
        if len(line) + len(item) > 120:
            text, line = text + line + "\n", "       "
        line += item
    target = pathlib.Path(__file__).parents[3] / "Sources/LLaDA/Text/NormalizationData.swift"
    target.write_text(text + line + "\n    ]\n}\n")


main()
