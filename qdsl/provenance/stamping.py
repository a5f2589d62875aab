"""The provenance in a file's metadata: written behind what is there, read back strictly."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qdsl.provenance.records import FORMAT, KEY, MOST_TEXT, Provenance
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data, require_version
from qdsl.spec.plan_json import to_data

if TYPE_CHECKING:
    from onnx import ModelProto

_TAG, _KEY, _VALUE = b"\x72", b"\x0a", b"\x12"  # metadata_props of a ModelProto; key and value of an entry


def stamp(path: Path, proto: ModelProto, provenance: Provenance) -> None:
    """Write `provenance` into the model file at `path`, of which `proto` is what it holds, with the hashes of that.

    The entry is appended: fields that repeat may stand anywhere in a protobuf message, so nothing is written anew.
    Raises OSError.
    """
    from qdsl.provenance.content import content_of

    whole = replace(provenance, content=content_of(proto, path.parent))
    with path.open("ab") as file:
        file.write(stamp_bytes(whole))
        file.flush()
        os.fsync(file.fileno())


def stamp_bytes(provenance: Provenance) -> bytes:
    """The entry of `metadata_props` as it stands in the file."""
    key, value = KEY.encode(), text_of(provenance).encode("ascii")
    entry = _KEY + _length(key) + key + _VALUE + _length(value) + value
    return _TAG + _length(entry) + entry


def text_of(provenance: Provenance) -> str:
    """The provenance as JSON on one line, in ASCII, with sorted keys: the same text for the same facts."""
    data = {"format": FORMAT, **to_data(provenance)}
    return json.dumps(data, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def read(text: str) -> Provenance:
    """The provenance in a text that anybody may have written. Raises UnfitError with what does not fit."""
    return decode(Provenance, require_version(json_data(text, MOST_TEXT), "format", FORMAT))


def carried(proto: ModelProto) -> Provenance | None:
    """The provenance that a model carries; None where it has none. Raises UnfitError."""
    found = [entry.value for entry in proto.metadata_props if entry.key == KEY]
    if len(found) > 1:
        raise UnfitError(f"`{KEY}` stands there {len(found)} times")
    return read(found[0]) if found else None


def _length(data: bytes) -> bytes:
    """The length of a field, seven bits a byte, the lowest first."""
    left, found = len(data), bytearray()
    while left > 127:
        found.append(left & 127 | 128)
        left >>= 7
    return bytes([*found, left])
