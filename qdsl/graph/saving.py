"""The only way out: one file, or a file and one data file beside it when the weights are too many for protobuf."""

from __future__ import annotations

import hashlib
import os
import re
from itertools import chain
from pathlib import Path

from onnx import ModelProto, TensorProto

from qdsl.diag import Diagnostic, QdslError
from qdsl.graph.constants import Lazy, lazy_of, outside
from qdsl.graph.constants import to_proto as constant_proto
from qdsl.graph.exporter import export_model
from qdsl.graph.model import Model
from qdsl.spec.aside import file_aside, replace_file

# protobuf ends at 2 GiB; below this everything goes into one file.
LARGEST_INLINE = 1_800_000_000
_SMALL_BYTES = 1024
_ALIGNMENT = 4096


def to_proto(model: Model) -> ModelProto:
    """The whole model in one proto. Raises `model-too-large` when protobuf could not hold it."""
    model.sort()
    if model.constant_bytes > LARGEST_INLINE:
        headline = f"`{model.name}` has too many weights for one proto"
        raise model.error("model-too-large", headline, help=["save it to a file instead"])
    return export_model(model)


def to_bytes(model: Model) -> bytes:
    """The model as one file's bytes; the same model gives the same bytes."""
    return bytes(to_proto(model).SerializeToString(deterministic=True))


def written_bytes(model: Model) -> int:
    """Bytes of the model with its constants as one file, to within a few per constant; no constant is read."""
    shells = export_model(model, lambda name, value: TensorProto(name=name, data_type=value.element_type))
    return int(shells.ByteSize()) + model.constant_bytes


def save(model: Model, path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write the model; returns the files written, the model first.

    Written aside and renamed, so that a reader sees the old model or the new one. Weights beyond 1.8 GB are streamed
    into one data file beside it, named after its content. Raises `model-write`.
    """
    target = Path(path)
    model.sort()
    try:
        if model.constant_bytes <= LARGEST_INLINE:
            replace_file(target, export_model(model).SerializeToString(deterministic=True))
            return (target,)
        return _save_external(model, target)
    except OSError as error:
        reason = error.strerror or str(error)
        # Not at the line that names the model, which has nothing to do with it.
        raise QdslError([Diagnostic("model-write", f"`{target.name}` cannot be written: {reason}")]) from None


def _save_external(model: Model, target: Path) -> tuple[Path, ...]:
    places: dict[str, tuple[int, int]] = {}
    digest = hashlib.sha256()
    with file_aside(target) as aside:
        with aside.open("wb") as file:
            for constant in model.constants():
                value = lazy_of(constant)
                if value.nbytes <= _SMALL_BYTES:
                    continue
                padding = bytes(-file.tell() % _ALIGNMENT)
                for piece in chain((padding,), value.chunks()):
                    file.write(piece)
                    digest.update(piece)
                places[constant.name] = (file.tell() - value.nbytes, value.nbytes)
            file.flush()
            os.fsync(file.fileno())
        data = target.with_name(f"{target.name}.{digest.hexdigest()[:12]}.data")
        aside.replace(data)

    def write(name: str, value: Lazy) -> TensorProto:
        if name not in places:
            return constant_proto(name, value)
        offset, length = places[name]
        tensor = TensorProto(name=name, data_type=value.element_type, dims=value.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in (("location", data.name), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=text)
        return tensor

    replace_file(target, export_model(model, write).SerializeToString(deterministic=True))
    _forget_older(model, target, data)
    return (target, data)


def _forget_older(model: Model, target: Path, data: Path) -> None:
    """Remove data files of earlier saves to the same name, except those that this model still reads."""
    ours = re.compile(re.escape(target.name) + r"\.[0-9a-f]{12}\.data")
    values = [lazy_of(constant) for constant in model.constants()]
    read = {found.path for found in map(outside, values) if found is not None}
    for found in sorted(target.parent.iterdir()):
        if ours.fullmatch(found.name) and found != data and found.resolve() not in read:
            found.unlink(missing_ok=True)
