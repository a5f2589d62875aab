"""Names of files for tensors, whose own names come from a file that anybody may have written."""

from __future__ import annotations

import re

_OTHER = re.compile(r"[^A-Za-z0-9.-]+")
_LONGEST = 60


def file_name(number: int, tensor: str) -> str:
    """A name without an ending: the number tells files apart, on every file system; what can be kept of the tensor's
    name helps people."""
    kept = _OTHER.sub("_", tensor).strip("._-")
    shown = kept if len(kept) <= _LONGEST else kept[-_LONGEST:].strip("._-")
    return f"{number:05}-{shown}" if shown else f"{number:05}"
