"""The playground as a widget of a notebook."""

from __future__ import annotations

from typing import Any

from ..errors import Error
from . import parts
from .session import Session

try:
    import anywidget
except ImportError as problem:
    raise ImportError(f"{problem}: the playground in a notebook needs pip install anywidget") from None


class Playground(anywidget.AnyWidget):
    """What `Decoder.play` shows. Its end is that of the notebook's output, or `close()`."""

    _esm = parts.whole("widget.js")
    _css = parts.part("style.css")

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.on_msg(self._called)

    def _called(self, _: Any, message: Any, buffers: Any) -> None:
        answer = {"number": message.get("number")}
        try:
            answer["told"] = self.session.call(message.get("call"), message.get("arguments"))
        except (Error, ValueError, TypeError) as problem:
            answer["error"] = str(problem)
        except Exception as problem:
            answer["error"] = f"the playground failed: {problem!r}"
        self.send(answer)

    def close(self) -> None:
        """Gives the decoders back."""
        self.session.close()
        super().close()
