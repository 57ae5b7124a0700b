"""The answer that says what went wrong, as jsoc_info writes it: ``{"status":1,"error":"..."}``.

HTTP knows nothing of it: the code is 200. Reading such an answer is part of ``mirror.wire.answer``.
"""

from __future__ import annotations

from mirror.wire.text import to_wire


def encode_error(message: str, status: int = 1) -> bytes:
    """One line of compact JSON; ``message`` may have several lines (a caret below the query)."""
    return f'{{"status":{status},"error":"{to_wire(message)}"}}\n'.encode("latin-1")
