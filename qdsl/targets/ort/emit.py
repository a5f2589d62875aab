"""Write the artifact for ONNX Runtime: the quantized model, its external data if it needs any, and the manifest."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import ModelProto

from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostic, QdslError
from qdsl.graph import Model, save
from qdsl.graph.collector import collector_paused
from qdsl.graph.edit_qdq import set_model_metadata
from qdsl.graph.validity import complete, reason
from qdsl.lang.recipe import InputSpec
from qdsl.passes.index import make
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.passes.keep_operators import KeepOperators
from qdsl.passes.quantize_dynamic import QuantizeDynamic
from qdsl.passes.store_float16 import StoreFloat16
from qdsl.rewrite import Trace, run
from qdsl.spec.aside import folder_aside
from qdsl.spec.plan import AS_IT_IS, Plan
from qdsl.spec.plan_json import plan_hash
from qdsl.targets.ort.manifest import manifest
from qdsl.targets.results import Emitted, EmittedFile
from qdsl.version import __version__

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
# What the runtime computes faster, or as planned, only in another form: on nodes that the plan leaves in float, but for
# `concat_integers` and `hard_activations`, which the plan knows of. They keep their names.
LOWERINGS = ("weights_only", "softmax_last", "channels_last", "keep_weights", "concat_integers", "hard_activations")
_DATA_FILE = re.compile(re.escape(MODEL_FILE) + r"\.[0-9a-f]{12}\.data")


def emit(model: Model, plan: Plan, ranges: Ranges, out_dir: Path, *, inputs: Iterable[InputSpec] = ()) -> Emitted:
    """Carry out `plan` on a copy of `model` (canonical, float) and write `<out_dir>/ort/`; `model` stays as it is.

    `inputs` are the recipe's `input` blocks, for the manifest. Everything is written and checked aside, then renamed,
    the manifest last: a directory whose manifest matches its files is whole.
    Raises QdslError: what the inserter and the graph raise, `artifact-invalid`, `artifact-write`.
    """
    as_it_is = plan.mode == AS_IT_IS
    quantized, trace = (model, Trace()) if as_it_is else quantize(model, plan, ranges)
    directory = out_dir / plan.target
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with folder_aside(directory / MODEL_FILE) as aside:
            written = copied(model, aside) if as_it_is else save(quantized, aside / MODEL_FILE)
            return _publish(written, trace, plan, inputs, aside, directory)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise QdslError([Diagnostic("artifact-write", f"`{directory}` cannot be written: {reason}")]) from None


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
            raise QdslError([Diagnostic("not-yet", headline, help=(cure,))])
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
        reason = error.strerror or type(error).__name__
        raise QdslError([Diagnostic("artifact-write", f"`{directory}` cannot be written: {reason}")]) from None
    return replace(emitted, directory=directory, model=directory / MODEL_FILE, manifest=directory / MANIFEST_FILE)


@collector_paused()
def quantize(model: Model, plan: Plan, ranges: Ranges) -> tuple[Model, Trace]:
    """A quantized copy of `model`, ready to save, and what was done to it: the pass that inserts, then the
    lowerings."""
    quantized = model.copy()
    trace = run([QuantizeDynamic(plan) if plan.mode == "dynamic" else InsertQDQ(plan, ranges)], quantized)
    lowered = run([KeepOperators(plan), StoreFloat16(plan), *(make(name) for name in LOWERINGS)], quantized)
    quantized.sweep()
    stamp = {"qdsl.recipe": plan.recipe, "qdsl.plan_sha256": plan_hash(plan), "qdsl.version": __version__}
    set_model_metadata(quantized, stamp)
    return quantized, Trace((*trace.steps, *lowered.steps))


def _publish(
    written: Sequence[Path], trace: Trace, plan: Plan, inputs: Iterable[InputSpec], aside: Path, directory: Path
) -> Emitted:
    if plan.mode != AS_IT_IS:
        _check(written[0], plan)
    proto = onnx.load(written[0], load_external_data=False)
    files = tuple(_described(path) for path in written)
    (aside / MANIFEST_FILE).write_text(manifest(plan, proto, files, inputs), encoding="utf-8", newline="\n")
    # External data first: it is named after its content, so the model that is still there keeps its own.
    for name in [*(path.name for path in reversed(written)), MANIFEST_FILE]:
        (aside / name).replace(directory / name)
    _forget_older(directory, {path.name for path in written})
    return _emitted(directory, files, plan, proto, trace)


def _emitted(directory: Path, files: tuple[EmittedFile, ...], plan: Plan, proto: ModelProto, trace: Trace) -> Emitted:
    return Emitted(
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


def _check(path: Path, plan: Plan) -> None:
    """onnx's own checker, on the file, so that external data is checked, too. It took the float model before."""
    try:
        onnx.checker.check_model(str(_completed(path)))
    except onnx.checker.ValidationError as error:
        headline = f"quantizing {plan.model} gives a model that ONNX's checker refuses"
        cures = ("it takes the float model: `keep` the node that it names in float32, and report this",)
        raise QdslError([Diagnostic("artifact-invalid", headline, label=reason(error), help=cures)]) from None


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
