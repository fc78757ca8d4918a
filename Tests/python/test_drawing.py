"""A canvas for terminals and notebooks."""

from __future__ import annotations

from llada import drawing


def test_drawing():
    parts = drawing.spans([1, 2, 3, 4], ["prompt", "token", "mask", "mask"], lambda ids: "x" * len(ids))
    assert parts == [("prompt", "x"), ("token", "x"), ("mask", "░░")]
    assert drawing.lines([drawing.Span("token", "ab\ncd")], 80, False) == ["ab", "cd"]
    assert drawing.lines([drawing.Span("token", "日本語")], 4, False) == ["日本", "語"]
    assert drawing.lines([drawing.Span("token", "e\u0301" * 3)], 3, False) == ["e\u0301" * 3]
    # A terminal must not obey what a model writes.
    assert "\x1b" not in "".join(drawing.lines([drawing.Span("token", "\x1b[2J\x07")], 80, True))
    assert "<script>" not in drawing.html([drawing.Span("token", "<script>")], "&")
