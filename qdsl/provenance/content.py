"""Hashes of what a model file holds: the same however it is laid out on disk, other ones for any edit of it.

A model's own `metadata_props` are left out, since the hashes stand among them. Values of constants are taken as their
bytes, wherever they lie: moving them into a file beside the model or back changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnx import GraphProto, ModelProto, TensorProto

from qdsl.graph.external import external_value
from qdsl.provenance.records import Content


def content_of(proto: ModelProto, folder: Path | None) -> Content:
    """The hashes of a model that lies in `folder`. One constant at a time is in memory beside it. Raises QdslError
    model-external-* and OSError where external data cannot be read."""
    return Content(_nodes(proto), _constants(proto.graph, folder), _declarations(proto))


class _Digest:
    """A hash of pieces, each with its length before it: no two rows of pieces run into one another."""

    def __init__(self) -> None:
        self.sha = hashlib.sha256()

    def piece(self, data: bytes) -> None:
        self.sha.update(len(data).to_bytes(8, "little"))
        self.sha.update(data)

    def hex(self) -> str:
        return self.sha.hexdigest()


def _nodes(proto: ModelProto) -> str:
    digest = _Digest()
    for node in proto.graph.node:
        digest.piece(_bytes(node))
    digest.piece(b"")
    for function in proto.functions:
        digest.piece(_bytes(function))
    return digest.hex()


def _constants(graph: GraphProto, folder: Path | None) -> str:
    digest = _Digest()
    for tensor in graph.initializer:
        digest.piece(f"{tensor.name}\0{tensor.data_type}\0{list(tensor.dims)}".encode("utf-8", "surrogatepass"))
        value = hashlib.sha256()
        for piece in _value(tensor, folder):
            value.update(piece)
        digest.piece(value.digest())
    digest.piece(b"")
    for sparse in graph.sparse_initializer:
        digest.piece(_bytes(sparse))
    return digest.hex()


def _value(tensor: TensorProto, folder: Path | None) -> Iterator[bytes]:
    if tensor.data_location == TensorProto.EXTERNAL:
        yield from external_value(tensor, folder).chunks()
    elif tensor.HasField("raw_data"):
        yield tensor.raw_data
    else:
        bare = TensorProto()
        bare.CopyFrom(tensor)
        for field in ("name", "doc_string", "metadata_props"):
            bare.ClearField(field)
        yield _bytes(bare)


def _declarations(proto: ModelProto) -> str:
    """Everything else: fields by name, so that one that a later version of the format adds counts, too."""
    digest = _Digest()
    for message, left_out in (
        (proto, ("graph", "functions", "metadata_props")),
        (proto.graph, ("node", "initializer", "sparse_initializer")),
    ):
        for field, value in message.ListFields():
            if field.name in left_out:
                continue
            digest.piece(field.name.encode())
            for each in value if _many(value) else (value,):
                digest.piece(_bytes(each) if hasattr(each, "SerializeToString") else str(each).encode())
    return digest.hex()


def _many(value: Any) -> bool:
    return not isinstance(value, str | bytes | int | float) and not hasattr(value, "SerializeToString")


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))
