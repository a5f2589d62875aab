"""Write the artifact for TensorRT: the quantized model and what has to become of each of its layers."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import onnx

from qdsl.calibrate import Ranges
from qdsl.graph import Model, save
from qdsl.lang.recipe import InputSpec
from qdsl.provenance.records import Provenance
from qdsl.rewrite import Trace
from qdsl.spec.engine import QUANT_MANIFEST
from qdsl.spec.engine_json import manifest_text
from qdsl.spec.plan import AS_IT_IS, Plan
from qdsl.targets import onnx_file
from qdsl.targets.lowerings import lowerings
from qdsl.targets.onnx_file import MODEL_FILE, OnnxEmitted, carried_out, copied, unwritable, written
from qdsl.targets.results import MANIFEST_FILE, Emitted
from qdsl.targets.tensorrt.beside import SOMETIMES
from qdsl.targets.tensorrt.expected import quant_manifest
from qdsl.targets.tensorrt.left import forget
from qdsl.targets.tensorrt.standing import stand
from qdsl.targets.tensorrt.typed import disagreement


def emit(
    model: Model,
    plan: Plan,
    ranges: Ranges,
    out_dir: Path,
    *,
    inputs: Iterable[InputSpec] = (),
    provenance: Provenance | None = None,
) -> OnnxEmitted:
    """Carry out `plan` on a copy of `model` (canonical, float) and write `<out_dir>/tensorrt/`; `model` stays as it is.

    Beside the model stands `quant_manifest.json`: what each node has to compute in, for those who hold an engine
    against it; and what builds, times and verifies one (`qdsl.targets.tensorrt.beside`). Raises QdslError: what the
    inserter and the graph raise, `artifact-invalid`, `artifact-write`, `target-cannot`.
    """
    as_it_is = plan.mode == AS_IT_IS
    quantized, trace = (model, Trace()) if as_it_is else carried_out(model, plan, ranges, lowerings(plan))

    def write(folder: Path) -> Sequence[Path]:
        paths = copied(model, folder) if as_it_is else save(quantized, folder / MODEL_FILE)
        if plan.halves or plan.half_weights:
            _check_types(model, plan, paths[0])
        return paths

    directory = out_dir / plan.target
    emitted = written(directory, model, plan, inputs, {}, write, trace, None if as_it_is else provenance)
    _write_expected(plan, emitted)
    stand(emitted.model, model=None if as_it_is else model, span=emitted.span)
    return emitted


def _check_types(model: Model, plan: Plan, path: Path) -> None:
    """Raises QdslError artifact-invalid: TensorRT would refuse what two types meet in."""
    found = disagreement(onnx.load(path, load_external_data=False))
    if found:
        headline = f"the types in what {plan.model} is quantized to do not agree, which TensorRT refuses"
        cures = ("`keep` the node that is named in float32, and report this",)
        raise model.error("artifact-invalid", headline, label=found, help=cures)


def publish(emitted: Emitted, directory: Path) -> Emitted:
    """Move an artifact that was emitted elsewhere to `directory`, on the same disk, with everything that stands beside
    its model. Raises QdslError artifact-write."""
    own = {*(file.name for file in emitted.files), MANIFEST_FILE}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _clear(directory, {path.name for path in emitted.directory.iterdir()})
        if _differ(emitted.model, directory / emitted.model.name):
            forget(directory)  # an engine of another model
        for path in sorted(emitted.directory.iterdir()):
            if path.name in own:
                continue
            if (directory / path.name).is_dir():
                shutil.rmtree(directory / path.name)
            path.replace(directory / path.name)
    except OSError as error:
        raise unwritable(directory, error) from None
    return onnx_file.publish(emitted, directory)


def _clear(directory: Path, kept: Collection[str]) -> None:
    """Take away what an earlier emission wrote beside its model and this one does not: a version of TensorRT without
    calibration caches leaves none, and golden outputs are of the model that made them. Raises OSError."""
    for path in (directory / name for name in SOMETIMES if name not in kept):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _differ(model: Path, before: Path) -> bool:
    return not before.is_file() or before.read_bytes() != model.read_bytes()


def _write_expected(plan: Plan, emitted: OnnxEmitted) -> None:
    proto = onnx.load(emitted.model, load_external_data=False)
    digest = hashlib.sha256(emitted.model.read_bytes()).hexdigest()
    text = manifest_text(quant_manifest(plan, proto, emitted.directory, digest))
    try:
        (emitted.directory / QUANT_MANIFEST).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise unwritable(emitted.directory, error) from None
