"""What stands beside one emitted model, by what lies in its folder: its inputs, its manifest, its scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from qdsl.calibrate.cache_file import holds
from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph import Model, save
from qdsl.spec.decode import decode, json_data
from qdsl.spec.engine import QUANT_MANIFEST, QuantManifest
from qdsl.targets.onnx_file import unwritable
from qdsl.targets.tensorrt.beside import Calibrated, beside
from qdsl.targets.tensorrt.building import Input, Shape, UnbuildableError
from qdsl.targets.tensorrt.devices import Device, device_named
from qdsl.targets.tensorrt.golden import GoldenSample
from qdsl.targets.tensorrt.versions import NEWEST, Release, parse_version

# The largest batch that an engine is built for where the model leaves it open; one sample is timed.
_BATCH = 8


def stand(
    path: Path, *, model: Model | None = None, samples: Sequence[GoldenSample] = (), span: Span | None = None
) -> None:
    """Write what stands beside the emitted model at `path`, beside which its manifest stands. Of the canonical float
    `model` a version that knows calibration caches gets one with it. `samples` are some with the outputs of the emitted
    graph: golden files are made of them, and ranges of open dimensions. Raises QdslError artifact-write, and
    target-cannot at `span` for what no build of the version takes."""
    folder = path.parent
    manifest = decode(QuantManifest, json_data((folder / QUANT_MANIFEST).read_text(encoding="utf-8")))
    device = device_named(manifest.device) if manifest.device else None
    release = _release(manifest, device)
    proto = onnx.load(path, load_external_data=False)
    calibrated = _calibrated(model, proto, folder) if model is not None and release.calibration_caches else None
    try:
        inputs = [_input(value, samples) for value in _inputs(proto)]
        beside(folder, manifest, release, device, inputs, samples=samples, calibrated=calibrated)
    except UnbuildableError as error:
        cures = ("name another version, or `keep` in float16 what it does not have",)
        raise QdslError([Diagnostic("target-cannot", str(error), span, help=cures)]) from None
    except OSError as error:
        raise unwritable(folder, error) from None


def _release(manifest: QuantManifest, device: Device | None) -> Release:
    if manifest.version:
        return parse_version(manifest.version)
    return device.usual if device is not None else NEWEST


def _inputs(proto: ModelProto) -> Iterator[ValueInfoProto]:
    constants = {tensor.name for tensor in proto.graph.initializer}
    return (value for value in proto.graph.input if value.name not in constants)


def _input(value: ValueInfoProto, samples: Sequence[GoldenSample]) -> Input:
    kind = value.type.tensor_type
    dtype = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)
    seen = [sample.inputs[value.name].shape for sample in samples if value.name in sample.inputs]
    return Input(value.name, dtype, shape, _range(shape, seen) if None in shape else None)


def _range(shape: tuple[int | None, ...], seen: Sequence[Shape]) -> tuple[Shape, Shape, Shape]:
    """The smallest, the usual and the largest shape: a batch from 1 to _BATCH, other open dimensions as the samples
    have them, 1 without any."""
    fitting = [each for each in seen if len(each) == len(shape)]
    usual = tuple(_first(side, [each[at] for each in fitting]) for at, side in enumerate(shape))
    least = tuple(min([usual[at], *(each[at] for each in fitting)]) for at in range(len(shape)))
    most = tuple(max([usual[at], *(each[at] for each in fitting)]) for at in range(len(shape)))
    if shape and shape[0] is None:
        least, most = (1, *least[1:]), (max(_BATCH, most[0]), *most[1:])
    return least, usual, most


def _first(side: int | None, seen: Sequence[int]) -> int:
    return side if side is not None else seen[0] if seen else 1


def _calibrated(model: Model, proto: ModelProto, folder: Path) -> Calibrated | None:
    """The float model with the scales of its tensors that the emitted one quantizes; None where it quantizes none that
    a cache can name."""
    view = model.view()
    found = _scales(proto, folder).items()
    known = {name: scale for name, scale in found if name in view.inputs or view.producer(name) is not None}
    scales = {name: scale for name, scale in known.items() if holds(name)}
    return Calibrated(lambda path: save(model, path), scales, len(known) - len(scales)) if scales else None


def _scales(proto: ModelProto, folder: Path) -> Mapping[str, float]:
    """Of each tensor that one scale quantizes, by name."""
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants and node.input[1] in constants:
            scale = numpy_helper.to_array(constants[node.input[1]], base_dir=str(folder))
            if scale.size == 1:
                found[node.input[0]] = float(scale.reshape(-1)[0])
    return found
