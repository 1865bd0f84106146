"""Files of ``aedetect.save`` taken apart and put together again, with a checksum that holds."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

NO_DIGITS = "0" * 64


class Parts(NamedTuple):
    document: dict[str, Any]
    table: dict[str, Any]
    body: bytes


def take_apart(data: bytes) -> Parts:
    end = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:end])
    document = json.loads(table.pop("__metadata__")["aedetect"])
    return Parts(document, table, data[end:])


def put_together(parts: Parts) -> bytes:
    """Return a file with these parts; whatever was changed, its checksum holds."""
    text = json.dumps({**parts.document, "sha256": NO_DIGITS})
    return sign(with_header({"__metadata__": {"aedetect": text}, **parts.table}, parts.body))


def with_header(header: Any, body: bytes) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + body


def sign(data: bytes) -> bytes:
    digits = hashlib.sha256(data).hexdigest()
    return data.replace(NO_DIGITS.encode(), digits.encode(), 1)
