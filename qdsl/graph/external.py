"""Constants in files beside the model: found, bounded and kept inside the model's directory."""

from __future__ import annotations

import stat
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto

from qdsl.diag import Span
from qdsl.graph.constants import External
from qdsl.graph.dtypes import byte_count
from qdsl.graph.problems import problem


def external_value(tensor: TensorProto, directory: Path | None, span: Span | None = None) -> External:
    """Where the value of an external tensor lies; nothing is read. `span` is the place that names the model.

    Raises `model-external-path` when its location leaves `directory` (absolute, `..`, a symbolic link to elsewhere),
    `model-external-missing` when there is no such file, `model-external-size` when offset and length do not fit the
    file or the tensor. The tensor's type and dims were checked before.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _inside(tensor.name, entries.get("location", ""), directory, span)
    offset = _number(tensor.name, "offset", entries.get("offset", "0"), span)
    size = path.stat().st_size
    shape = tuple(tensor.dims)
    wanted = byte_count(tensor.data_type, prod(shape))
    if wanted is None:
        raise problem(
            span, "model-external-size", f"tensor `{tensor.name[:80]}` holds strings in an external file: not supported"
        )
    length = _number(tensor.name, "length", entries.get("length", str(wanted)), span)
    if length != wanted:
        raise problem(
            span,
            "model-external-size",
            f"external tensor `{tensor.name[:80]}` declares {length} bytes, its type and shape need {wanted}",
        )
    if offset + wanted > size:
        raise problem(
            span,
            "model-external-size",
            f"external tensor `{tensor.name[:80]}` ends at byte {offset + wanted} of `{path.name}`, which has {size}",
            "the file may be cut short or belong to another model",
        )
    return External(tensor.data_type, shape, path, offset, wanted)


def _inside(name: str, location: str, directory: Path | None, span: Span | None) -> Path:
    help_text = "external data must stand beside the model file or below it; copy it there"
    if directory is None:
        raise problem(
            span,
            "model-external-missing",
            f"tensor `{name[:80]}` has external data, but the model was not read from a file",
        )
    windows = PureWindowsPath(location)
    foreign = "\\" in location or windows.drive or "\0" in location
    if not location or foreign or PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts:
        raise problem(
            span,
            "model-external-path",
            f"tensor `{name[:80]}` points outside the model's directory: `{location[:80]}`",
            help_text,
        )
    try:
        base = directory.resolve(strict=True)
        path = (base / location).resolve(strict=True)
        regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError):
        raise problem(
            span,
            "model-external-missing",
            f"external data `{location[:80]}` of tensor `{name[:80]}` is missing",
            "put the file beside the model, as the exporter wrote it",
        ) from None
    if not path.is_relative_to(base):
        raise problem(
            span,
            "model-external-path",
            f"external data `{location[:80]}` of tensor `{name[:80]}` is a link out of the model's directory",
            help_text,
        )
    if not regular:
        raise problem(
            span, "model-external-missing", f"external data `{location[:80]}` of tensor `{name[:80]}` is not a file"
        )
    return path


def _number(name: str, key: str, text: str, span: Span | None) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise problem(
            span,
            "model-external-size",
            f"external tensor `{name[:80]}` has {key} `{text[:40]}`, which is not a number of bytes",
        )
    return int(text)
