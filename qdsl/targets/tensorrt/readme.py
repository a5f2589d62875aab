"""The text of the README beside an emitted model: what each file is, what to run, and what was not run here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from qdsl.spec.engine import QUANT_MANIFEST
from qdsl.spec.words import count, plain
from qdsl.targets.tensorrt.building import LAST_WITH_DLA, Building
from qdsl.targets.tensorrt.commands import JETSON_TRTEXEC

_EXPECTED = {
    "int8": "int8",
    "fp8": "fp8",
    "weights": "integer weights beside floats",
    "float16": "float16",
    "float32": "float32",
}


def readme(building: Building) -> str:
    """The text, in Markdown. Names come of an untrusted model: they stand in code spans, printable."""
    parts = [_title, _files, _run, _typing, _shapes, _time, _cache, _not_run]
    return "\n\n".join(text for part in parts if (text := "\n".join(part(building)))) + "\n"


def _title(building: Building) -> Iterator[str]:
    manifest = building.manifest
    where = f" on {building.device.title}" if building.device is not None else ""
    yield f"# {_code(manifest.recipe)} for TensorRT {building.release}{where}"
    yield ""
    kinds = Counter(node.expect for node in manifest.nodes)
    told = ", ".join(f"{many} in {_EXPECTED.get(kind, kind)}" for kind, many in sorted(kinds.items()))
    yield f"`model.onnx` is quantized with Q/DQ pairs. Nodes that have to compute in a type: {told or 'none'}."


def _files(building: Building) -> Iterator[str]:
    yield "| file | what it is |"
    yield "| --- | --- |"
    yield "| `model.onnx` | the model; a `.data` file beside it belongs to it |"
    yield f"| `{QUANT_MANIFEST}` | what each node has to compute in, with its pairs, and why |"
    yield "| `commands.sh` | the commands below |"
    yield "| `build_engine.py` | the same build by Python: `engine.plan`, `layers.json`, `build.json` |"
    yield "| `profile_engine.py` | times the engine: `times.json`, `profile.json` |"
    yield "| `verify_engine.py` | holds `layers.json` against the manifest, node by node |"
    if building.golden.samples:
        yield (
            f"| `inputs.npz`, `golden.npz` | {count(building.golden.samples, 'sample')}, and what the graph makes of "
            "them in ONNX Runtime, node by node as it is written |"
        )
        yield "| `inputs.json`, `golden.json` | the same as polygraphy reads them |"
    if building.cache:
        yield f"| `{building.cache}/` | the float model with a calibration cache, of the same ranges |"


def _run(building: Building) -> Iterator[str]:
    yield "## Run"
    yield ""
    device = building.device
    if device is not None and device.jetson:
        packs = " or ".join(device.jetpacks_with(building.release))
        of = f" (JetPack {packs})" if packs else ""
        yield (
            f"On the {device.title} itself{of}: an engine runs on the GPU and the version of TensorRT that built it. "
            f"trtexec lies in `{JETSON_TRTEXEC}`; the Python module is of apt (`python3-libnvinfer`), not of pip."
        )
    else:
        yield (
            "On the machine with the GPU: an engine runs on the GPU and the version of TensorRT that built it. pip's "
            f"packages (`pip install tensorrt~={building.release}.0`) have no trtexec: it is in NVIDIA's containers, "
            "deb and tar files. Without it run `sh commands.sh build_by_python`, `python3 profile_engine.py` and "
            "`sh commands.sh verify`."
        )
    yield ""
    yield "```sh"
    if device is not None and device.jetson:
        yield "sh commands.sh clocks      # full clocks, as root, before timing"
    yield "sh commands.sh             # build, profile, verify"
    if building.golden.samples:
        yield "sh commands.sh check       # outputs beside the golden ones, with polygraphy"
    yield "```"
    yield ""
    yield (
        "`verify` ends with 0 where every planned node survived, with 4 where one was dropped to floats or nothing "
        "tells. `qdsl report BUILD --add FOLDER --device NAME` takes layers.json, profile.json and times.json of a "
        "folder into the report, as seen on that GPU, and decides the recipe's budgets by them."
    )
    if building.golden.samples:
        yield ""
        tolerances = building.golden.tolerances.items()
        held = ", ".join(f"{value:g} for {_code(name)}" for name, value in list(tolerances)[:8])
        yield (
            f"`check` holds the mean absolute error against 2 % of an output's largest golden value ({held}): int8 "
            "kernels that round otherwise stay below it, a wrong scale or a skipped layer does not. Without a GPU "
            "the file itself: `polygraphy run model.onnx --onnxrt --load-inputs inputs.json --load-outputs golden.json "
            f"--check-error-stat mean --atol {max(building.golden.tolerances.values(), default=0):g}`."
        )


def _typing(building: Building) -> Iterator[str]:
    yield "## Types"
    yield ""
    release = building.release
    if building.strong:
        yield "The network is strongly typed: each layer computes in the types of the graph; nothing need be forced."
        if building.manifest.typing == "weak":
            yield "What the graph leaves in float32 stays so: this version has no flag that would make it float16."
        if release.weak:
            yield (
                "Where such a build fails (it is young in 10.x), a weakly typed one of the same file may not: "
                "`python3 build_engine.py --typing weak --force-precision`."
            )
        return
    yield (
        f"The build is weakly typed: of {', '.join(building.flags)} and float32 TensorRT takes what it measures to be "
        "fastest, so a node between Q/DQ pairs may still run in floats. `verify` tells; `sh commands.sh forced` holds "
        "each node to its type (OBEY_PRECISION_CONSTRAINTS), gives up those that have no kernel, and says which."
    )
    if release.weak_deprecated:
        yield f"NVIDIA deprecates weak typing since 10.12, and 11 has none; {release} still builds so."


def _shapes(building: Building) -> Iterator[str]:
    if not building.open:
        return
    yield "## Shapes"
    yield ""
    for each in building.open:
        least, usual, most = (("x".join(map(str, shape))) for shape in each.shapes or ())
        yield f"- {_code(each.name)}: from {least} to {most}, timed at {usual}."
    yield ""
    if not building.golden.samples:
        yield "No sample said how large open dimensions are: but for the first, 1 stands where the size has to."
    yield "Change them in `commands.sh`. Types of layers are known at a shape: `profile` writes `layers.json` anew."


def _time(building: Building) -> Iterator[str]:
    yield "## Figures"
    yield ""
    if building.release.times_alone:
        yield (
            "From 11.0 on trtexec times kernels alone by default (no copies, one CUDA graph, spinning, layers profiled "
            "in a run of their own). Earlier versions have to be asked for that: compare with figures that were."
        )
    else:
        yield (
            "`profile` times kernels alone (`--noDataTransfers --useCudaGraph --useSpinWait --separateProfileRun`), "
            "which is what trtexec 11 does by default: without these options figures of the two do not compare."
        )
    yield "The times of single layers do not add up to the latency: the profiler slows each layer down."


def _cache(building: Building) -> Iterator[str]:
    if not building.cache:
        return
    yield "## Without Q/DQ"
    yield ""
    version = f"`TRT-{building.cache_version}-EntropyCalibration2`"
    yield (
        f"`{building.cache}/model.onnx` is the float model, `{building.cache}/calib.cache` one scale per tensor, of "
        "the ranges that the Q/DQ pairs were made of. TensorRT then decides itself where integers stand, so the "
        f"manifest does not speak of that engine. Its first line is {version}, and a TensorRT of another number or "
        f"patch refuses it: `CACHE_VERSION=8602 sh commands.sh {building.cache}` builds with that of 8.6.2."
    )
    if building.uncached:
        tensors = count(building.uncached, "tensor")
        yield f"It lacks the scale of {tensors}, whose names no line of a cache holds: those stay float there."
    if building.dla:
        yield (
            f"A DLA takes int8 in this form only, and the last version with one is {LAST_WITH_DLA}; what it cannot run "
            "falls back to the GPU."
        )


def _not_run(building: Building) -> Iterator[str]:
    yield "## What was not run"
    yield ""
    yield (
        "No engine was built, timed or run where these files were made: nothing here says that a kernel exists, how "
        "fast it is, or what the engine's outputs are. Outputs were computed in ONNX Runtime, as the graph says."
    )


def _code(name: str) -> str:
    """A name as a code span."""
    return f"`{plain(name)[:120].replace('`', '?')}`"
