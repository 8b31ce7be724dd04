"""Encode server-sent events (WHATWG HTML standard, section 9.2); the decoder is `models.sse`.

What is encoded here any decoder of the standard gives back, whichever way the bytes are cut.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["encode", "encode_json"]

_LINE_END = re.compile(r"\r\n|\r|\n")


def encode(data: str, name: str | None = None) -> bytes:
    r"""One event: its data (line ends become `\n`), its name where it has one."""
    if name is not None and _LINE_END.search(name):
        raise ValueError(f"the event's name {name!r} holds a line end")
    head = f"event: {name}\n" if name is not None else ""
    if "\n" in data or "\r" in data:
        data = "\ndata: ".join(_LINE_END.split(data))
    return f"{head}data: {data}\n\n".encode("utf-8", errors="replace")


def encode_json(value: Any, name: str | None = None) -> bytes:
    """One event that carries a JSON value; lone surrogates become JSON escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, separators=(",", ":"))
    return encode(text, name)
