"""Write the artifact for STM32: the quantized model, C of it, and what ST's own tool is given."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx

from qdsl.calibrate import Ranges
from qdsl.graph import Model, save
from qdsl.integer.macc import as_converted
from qdsl.lang.recipe import InputSpec
from qdsl.provenance.records import Provenance
from qdsl.rewrite import Trace
from qdsl.spec.plan import AS_IT_IS, Plan
from qdsl.spec.scratch import scratch
from qdsl.targets import onnx_file
from qdsl.targets.lowerings import lowerings
from qdsl.targets.onnx_file import MODEL_FILE, OnnxEmitted, carried_out, copied, unwritable, written
from qdsl.targets.results import Emitted
from qdsl.targets.stm32.asked import asked
from qdsl.targets.stm32.making import integer_graph, make_c
from qdsl.targets.stm32.manifest import about_c
from qdsl.targets.stm32.memory.picture import picture
from qdsl.targets.stm32.st import package as st

C_FOLDER = "c"


def emit(
    model: Model,
    plan: Plan,
    ranges: Ranges,
    out_dir: Path,
    *,
    inputs: Iterable[InputSpec] = (),
    provenance: Provenance | None = None,
) -> OnnxEmitted:
    """Carry out `plan` on a copy of `model` (canonical, float) and write `<out_dir>/stm32/`: the quantized model, and
    in `c/` what a Cortex-M computes of it, in `stedgeai/` what ST's tool is given; `model` stays as it is. A file that
    is measured as it is becomes C, too.

    The manifest comes last: a directory whose manifest matches its files is whole. Raises QdslError: what the inserter
    and the graph raise, `artifact-invalid`, `artifact-write`, `stm32-no-form`.
    """
    as_it_is = plan.mode == AS_IT_IS
    inputs, wanted, directory = tuple(inputs), asked(plan), out_dir / plan.target
    with scratch() as folder:
        if as_it_is:
            trace, paths = Trace(), copied(model, folder)
        else:
            quantized, trace = carried_out(model, plan, ranges, lowerings(plan))
            paths = list(save(quantized, folder / MODEL_FILE))
        graph = integer_graph(onnx.load(paths[0]), plan.recipe, wanted, model.span)
        try:
            made = make_c(graph, wanted, _emptied(directory / C_FOLDER), inputs=inputs, span=model.span)
            package = st.write_package(directory / st.FOLDER, onnx.load(paths[0]), wanted)
        except OSError as error:
            raise unwritable(directory, error) from None

        def write(aside: Path) -> Sequence[Path]:
            return [Path(shutil.move(path, aside / path.name)) for path in paths]

        carried = None if as_it_is else provenance
        about = about_c(wanted, made.files, as_converted(graph), picture(made.graph, made.placed))
        own = {**about, "stedgeai": _told(package)}
        return written(directory, model, plan, inputs, own, write, trace, carried)


def _emptied(folder: Path) -> Path:
    """`folder` without what an earlier emission left in it. Raises OSError."""
    if folder.is_dir():
        shutil.rmtree(folder)
    return folder


def _told(package: st.Package) -> dict[str, object]:
    """What the manifest says of the file for ST's tool, and of why there is none."""
    name = None if package.refused else f"{st.FOLDER}/{MODEL_FILE}"
    refused = [{"rule": each.rule, "message": each.message, "why": each.why} for each in package.refused]
    return {"model": name, "opset": package.opset, "refused": refused}


def publish(emitted: Emitted, directory: Path) -> Emitted:
    """Move an artifact that was emitted elsewhere to `directory`, on the same disk, in the place of what is there.
    Raises QdslError artifact-write."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (emitted.directory / C_FOLDER).replace(_emptied(directory / C_FOLDER))
        st.publish(emitted.directory / st.FOLDER, directory / st.FOLDER)
    except OSError as error:
        raise unwritable(directory, error) from None
    return onnx_file.publish(emitted, directory)
