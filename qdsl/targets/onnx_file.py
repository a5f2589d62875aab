"""Artifacts that are one ONNX file, with its external data and the manifest: for every target that writes such."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, ValueInfoProto

from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostic, QdslError
from qdsl.graph import Model
from qdsl.graph.collector import collector_paused
from qdsl.graph.dtypes import type_name
from qdsl.graph.edit_qdq import set_model_metadata
from qdsl.graph.validity import complete, reason
from qdsl.lang.recipe import InputSpec
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.passes.lowering import Lowering
from qdsl.passes.quantize_dynamic import QuantizeDynamic
from qdsl.provenance.records import Provenance
from qdsl.provenance.stamping import stamp
from qdsl.rewrite import Pass, Trace, run
from qdsl.spec.aside import folder_aside
from qdsl.spec.plan import AS_IT_IS, Plan
from qdsl.spec.plan_json import plan_hash
from qdsl.targets.manifest import manifest
from qdsl.targets.results import MANIFEST_FILE, Emitted, EmittedFile
from qdsl.version import __version__

MODEL_FILE = "model.onnx"
_DATA_FILE = re.compile(re.escape(MODEL_FILE) + r"\.[0-9a-f]{12}\.data")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxEmitted(Emitted):
    """An artifact that is an ONNX file; `counts` are its nodes by operator."""

    opset: int
    ir_version: int
    counts: tuple[tuple[str, int], ...]


def written(
    directory: Path,
    model: Model,
    plan: Plan,
    inputs: Iterable[InputSpec],
    own: Mapping[str, Any],
    write: Callable[[Path], Sequence[Path]],
    trace: Trace,
    provenance: Provenance | None = None,
) -> OnnxEmitted:
    """The artifact of `plan` for the float `model` in `directory`: what `write` puts into a folder aside, the file
    `MODEL_FILE` first, and the manifest with what the target has of its `own` to say there. `trace` is what was done to
    the model, the pass that carries the plan out first; `provenance` is written into the file once it is checked.

    Everything is written and checked aside, then renamed, the manifest last: a directory whose manifest matches its
    files is whole. Raises QdslError: `artifact-invalid`, `artifact-write`, and what `write` raises.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with folder_aside(directory / MODEL_FILE) as aside:
            paths = write(aside)
            if plan.mode != AS_IT_IS:
                _check(paths[0], model, plan)
            proto = onnx.load(paths[0], load_external_data=False)
            if provenance is not None:
                stamp(paths[0], proto, provenance)
            return replace(_moved(proto, paths, plan, inputs, own, trace, aside, directory), span=model.span)
    except OSError as error:
        raise unwritable(directory, error) from None


@collector_paused()
def carried_out(model: Model, plan: Plan, ranges: Ranges, lowerings: Sequence[Lowering]) -> tuple[Model, Trace]:
    """A quantized copy of `model` (canonical, float), ready to save, and what was done to it: the pass that carries
    `plan` out, then the target's lowerings. Raises QdslError: what the passes raise."""
    quantized = model.copy()
    dynamic = plan.mode == "dynamic"
    carrying: Pass = QuantizeDynamic(plan) if dynamic else InsertQDQ(plan, ranges, ranges.rounded)
    passes: list[Pass] = [carrying, *lowerings]
    trace = run(passes, quantized, plan=None if dynamic else plan)
    quantized.sweep()
    stamp = {"qdsl.recipe": plan.recipe, "qdsl.plan_sha256": plan_hash(plan), "qdsl.version": __version__}
    set_model_metadata(quantized, stamp)
    return quantized, trace


def copied(model: Model, folder: Path) -> list[Path]:
    """The file of `model` and those of its external data, byte for byte. Raises QdslError `not-yet` for external data
    in folders of its own."""
    assert model.path is not None, "a recipe's model is a file"
    proto = onnx.load(model.path, load_external_data=False)
    entries = (entry for tensor in proto.graph.initializer for entry in tensor.external_data)
    names = sorted({entry.value for entry in entries if entry.key == "location"})
    written = []
    for name, source in [(MODEL_FILE, model.path), *((name, model.path.parent / name) for name in names)]:
        if Path(name).name != name or name == MANIFEST_FILE:
            headline = f"external data at `{name[:80]}` is not carried out yet"
            cure = "store it beside the model: onnx.save_model(model, path, save_as_external_data=True)"
            raise model.error("not-yet", headline, help=[cure])
        written.append(Path(shutil.copyfile(source, folder / name)))
    return written


def publish(emitted: Emitted, directory: Path) -> Emitted:
    """Move an artifact that was emitted elsewhere to `directory`, on the same disk, in the place of what is there; the
    manifest last, as above. Raises QdslError artifact-write."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # External data first: it is named after its content, so the model that is still there keeps its own.
        for name in [*(file.name for file in reversed(emitted.files)), MANIFEST_FILE]:
            (emitted.directory / name).replace(directory / name)
        _forget_older(directory, {file.name for file in emitted.files})
    except OSError as error:
        raise unwritable(directory, error) from None
    return replace(emitted, directory=directory, model=directory / MODEL_FILE, manifest=directory / MANIFEST_FILE)


def _moved(
    proto: ModelProto,
    paths: Sequence[Path],
    plan: Plan,
    inputs: Iterable[InputSpec],
    own: Mapping[str, Any],
    trace: Trace,
    aside: Path,
    directory: Path,
) -> OnnxEmitted:
    files = tuple(_described(path) for path in paths)
    (aside / MANIFEST_FILE).write_text(
        manifest(plan, files, trace, {**_facts(proto, inputs), **own}), encoding="utf-8", newline="\n"
    )
    # External data first: it is named after its content, so the model that is still there keeps its own.
    for name in [*(path.name for path in reversed(paths)), MANIFEST_FILE]:
        (aside / name).replace(directory / name)
    _forget_older(directory, {path.name for path in paths})
    return OnnxEmitted(
        directory=directory,
        model=directory / MODEL_FILE,
        manifest=directory / MANIFEST_FILE,
        files=files,
        predicted_size=plan.totals.predicted_bytes,
        opset=next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")),
        ir_version=proto.ir_version,
        counts=tuple(sorted(Counter(node.op_type for node in proto.graph.node).items())),
        refused=tuple((refused.node, refused.reason) for step in trace.steps[:1] for refused in step.outcome.refused),
        rewrites=tuple(trace.counts.items()),
        left=tuple((step.name, *refused) for step in trace.steps[1:] for refused in step.outcome.refused),
    )


def _check(path: Path, model: Model, plan: Plan) -> None:
    """onnx's own checker, on the file, so that external data is checked, too. It took the float model before."""
    try:
        onnx.checker.check_model(str(_completed(path)))
    except onnx.checker.ValidationError as error:
        headline = f"quantizing {plan.model} gives a model that ONNX's checker refuses"
        cures = ("it takes the float model: `keep` the node that it names in float32, and report this",)
        raise model.error("artifact-invalid", headline, label=reason(error), help=cures) from None


def _completed(path: Path) -> Path:
    """The file, or a copy beside it in which no graph output lacks what only the checker asks for."""
    proto = onnx.load(path, load_external_data=False)
    if not complete(proto):
        return path
    copy = path.with_name("completed.onnx")
    copy.write_bytes(proto.SerializeToString())
    return copy


def _described(path: Path) -> EmittedFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return EmittedFile(path.name, path.stat().st_size, digest)


def _forget_older(directory: Path, current: set[str]) -> None:
    for path in sorted(directory.iterdir()):
        if _DATA_FILE.fullmatch(path.name) and path.name not in current:
            path.unlink(missing_ok=True)


def unwritable(directory: Path, error: OSError) -> QdslError:
    reason = error.strerror or type(error).__name__
    return QdslError([Diagnostic("artifact-write", f"`{directory}` cannot be written: {reason}")])


def _facts(proto: ModelProto, inputs: Iterable[InputSpec]) -> dict[str, Any]:
    """What the manifest says of an ONNX file."""
    return {
        "opset": {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
        "ir_version": proto.ir_version,
        "nodes": dict(sorted(Counter(node.op_type for node in proto.graph.node).items())),
        "inputs": _inputs(proto, inputs),
        "outputs": [_value(info) for info in proto.graph.output],
    }


def _inputs(proto: ModelProto, specs: Iterable[InputSpec]) -> list[dict[str, Any]]:
    """Graph inputs with the steps that make them; a block without a name speaks of the only input."""
    steps: Mapping[str | None, InputSpec] = {spec.name: spec for spec in specs}
    found = []
    for info in proto.graph.input:
        spec = steps.get(info.name) or (steps.get(None) if len(proto.graph.input) == 1 else None)
        shown = [{"step": step.name, "values": list(step.args)} for step in spec.steps] if spec else []
        found.append({**_value(info), "preprocessing": shown})
    return found


def _value(info: ValueInfoProto) -> dict[str, Any]:
    declared = info.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in declared.shape.dim]
    return {"name": info.name, "dtype": type_name(declared.elem_type), "shape": dims}
