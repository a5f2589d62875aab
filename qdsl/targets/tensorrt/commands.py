"""The text of `commands.sh`: the exact lines of one version's trtexec that build, time and verify an engine.

Every option is one that trtexec of the version takes (`tests/test_tensorrt_commands.py` holds them against its option
parser, version by version). Names come of an untrusted model: they are quoted for the shell, and stand in no comment.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from qdsl.spec.engine import QUANT_MANIFEST
from qdsl.targets.tensorrt.building import Building, Shape
from qdsl.targets.tensorrt.golden import GOLDEN_JSON, INPUTS_JSON

ENGINE, LAYERS, TIMES, PROFILE, TIMINGS = "engine.plan", "layers.json", "times.json", "profile.json", "timing.cache"
JETSON_TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
_WIDEST = 110

_HEAD = """#!/bin/sh
# {about}
#
#     sh commands.sh                {steps}
#     sh commands.sh STEP..         one or more of: {all}
#
# TRTEXEC and PYTHON name other programs than `{trtexec}` and `python3`.
set -eu
cd "$(dirname "$0")"
TRTEXEC=${{TRTEXEC:-{trtexec}}}
PYTHON=${{PYTHON:-python3}}
"""
_TRTEXEC = """
trtexec_is_here() {
  command -v "$TRTEXEC" > /dev/null && return
  echo "there is no $TRTEXEC: say where it is (TRTEXEC=..), or go without:" >&2
  echo "sh commands.sh build_by_python profile_by_python verify" >&2
  exit 127
}
"""
_CALLED = '"$TRTEXEC" '
_TAIL = """
[ $# -gt 0 ] || set -- {steps}
for step in "$@"; do
  case $step in
  {all}) "$step" ;;
  *) echo "there is no step $step" >&2; exit 2 ;;
  esac
done
"""


def commands(building: Building) -> str:
    """The text of commands.sh, a script of POSIX sh with a function for each step."""
    steps = dict(_steps(building))
    usual = ["build", "profile", "verify"]
    device = f" on {building.device.title}" if building.device is not None else ""
    trtexec = JETSON_TRTEXEC if building.device is not None and building.device.jetson else "trtexec"
    head = _HEAD.format(
        about=f"Builds, times and verifies an engine of model.onnx with TensorRT {building.release}{device}.",
        steps=", ".join(usual),
        all=", ".join(steps),
        trtexec=trtexec,
    )
    bodies = [f"\n{comment}\n{name}() {{\n{_asked(body)}}}\n" for name, (comment, body) in steps.items()]
    asks = _TRTEXEC if any(_CALLED in body for _, body in steps.values()) else ""
    return head + asks + "".join(bodies) + _TAIL.format(steps=" ".join(usual), all=" | ".join(steps))


def _asked(body: str) -> str:
    """The body of a step, which looks for trtexec first where it runs it."""
    return f"  trtexec_is_here\n{body}" if _CALLED in body else body


def _steps(building: Building) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each step's name, its comment, and its lines."""
    if building.device is not None and building.device.jetson:
        yield "clocks", ("# Full clocks while timing; which number is the highest differs: /etc/nvpmodel.conf", _CLOCKS)
    why_not = _not_by_trtexec(building)
    if not why_not:
        yield "build", (f"# {_typing(building)}", _line('"$TRTEXEC"', _build(building)))
        comment = "# Kernels alone: no copies of inputs and outputs, one CUDA graph."
        yield "profile", (comment, _line('"$TRTEXEC"', _profile(building)))
    else:
        yield "build", (f"# {_typing(building)}\n# {why_not}", _line('"$PYTHON"', _python_build(building)))
        words = ["profile_engine.py", *_python_shapes(building)]
        yield "profile", (f"# Kernels alone.\n# {why_not}", _line('"$PYTHON"', words))
    verify = ["verify_engine.py", "--manifest", QUANT_MANIFEST, "--layers", LAYERS, "--profile", PROFILE]
    yield "verify", ("# Whether each planned node computes in what it was planned in.", _line('"$PYTHON"', verify))
    if building.golden.samples:
        yield "check", ("# The engine's outputs beside the golden ones (pip install polygraphy).", _check(building))
    yield (
        "build_by_python",
        (
            "# The same build without trtexec, which pip's packages do not have.",
            _line('"$PYTHON"', _python_build(building)),
        ),
    )
    words = ["profile_engine.py", *_python_shapes(building)]
    yield "profile_by_python", ("# Kernels alone, without trtexec.", _line('"$PYTHON"', words))
    if not building.strong:
        forced = [*_python_build(building), "--force-precision"]
        yield (
            "forced",
            ("# Hold each layer to the type that was planned, where a kernel has it.", _line('"$PYTHON"', forced)),
        )
    if building.cache:
        number = building.cache_version
        note = f"{_CACHE_NOTE}\n# A TensorRT that is not {number} takes a cache with its own number: CACHE_VERSION."
        header = _HEADER.format(number=number, cache=f"{building.cache}/calib.cache", here=f"{building.cache}/{_HERE}")
        yield building.cache, (note, header + _line('"$TRTEXEC"', _cached(building)))


_CLOCKS = "  sudo nvpmodel -m 0\n  sudo jetson_clocks\n"
_HERE = "calib.here.cache"
_HEADER = """  sed "1s/^TRT-[0-9]*/TRT-${{CACHE_VERSION:-{number}}}/" {cache} > {here}
"""
_CACHE_NOTE = "# The float file with a calibration cache instead of Q/DQ: TensorRT places integers itself."


def _typing(building: Building) -> str:
    if building.strong:
        return "Strongly typed: layers compute in the types of the graph."
    return f"Weakly typed: {', '.join(building.flags)} are allowed, and TensorRT takes what is fastest."


# ---- trtexec ---------------------------------------------------------------------------------------------------------


def _build(building: Building) -> list[str]:
    return ["--onnx=model.onnx", f"--saveEngine={ENGINE}", *_types(building), *_ranges(building), *_built(building)]


def _built(building: Building) -> list[str]:
    return [
        "--profilingVerbosity=detailed",
        f"--timingCacheFile={TIMINGS}",
        f"--memPoolSize=workspace:{building.workspace}",
        "--skipInference",
    ]


def _types(building: Building) -> list[str]:
    """From 11 on there is nothing to say; before, a network is weakly typed unless it is asked to be strong."""
    if not building.strong:
        return [f"--{flag}" for flag in building.flags]
    return ["--stronglyTyped"] if building.release.weak else []


def _ranges(building: Building) -> list[str]:
    names = ("minShapes", "optShapes", "maxShapes")
    shapes = building.shapes
    return [f"--{name}={_named(shapes, at)}" for at, name in enumerate(names)] if shapes else []


def _named(shapes: Mapping[str, tuple[Shape, Shape, Shape]], at: int) -> str:
    return ",".join(f"{_spec(name)}:{_sides(each[at])}" for name, each in shapes.items())


def _spec(name: str) -> str:
    """A name as trtexec reads it: one with a colon stands in single quotes."""
    return f"'{name}'" if ":" in name else name  # "Input names can be wrapped with escaped single quotes", says --help


def _sides(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _profile(building: Building) -> list[str]:
    """What 11 does of itself has to be asked of earlier versions: without it their figures do not compare."""
    alike = ["--noDataTransfers", "--useCudaGraph", "--useSpinWait", "--separateProfileRun"]
    shapes = building.shapes
    return [
        f"--loadEngine={ENGINE}",
        *([f"--shapes={_named(shapes, 1)}"] if shapes else []),
        *([] if building.release.times_alone else alike),
        *("--warmUp=500", "--duration=10", "--iterations=100"),
        *(f"--exportTimes={TIMES}", f"--exportProfile={PROFILE}", f"--exportLayerInfo={LAYERS}"),
        "--profilingVerbosity=detailed",
    ]


def _cached(building: Building) -> list[str]:
    folder = building.cache
    return [
        *(
            f"--onnx={folder}/model.onnx",
            f"--saveEngine={folder}/{ENGINE}",
            "--int8",
            "--fp16",
            f"--calib={folder}/{_HERE}",
        ),
        *(["--useDLACore=0", "--allowGPUFallback"] if building.dla else []),
        *_ranges(building),
        *_built(building),
    ]


def _not_by_trtexec(building: Building) -> str:
    """Why trtexec cannot build this, "" where it can: its lists are split at commas, and no quote stands in them."""
    if any(sign in name for name in building.shapes for sign in ",'"):
        return "trtexec cannot be told an input whose name holds `,` or `'`: TensorRT's Python module can."
    lacks = [flag for flag in building.flags if flag not in building.release.trtexec_precisions]
    if lacks and not building.strong:
        return f"trtexec has no --{lacks[0]}: TensorRT's Python module has."
    return ""


# ---- Python ----------------------------------------------------------------------------------------------------------


def _python_build(building: Building) -> list[str]:
    shapes = building.shapes
    words = [
        f"--{word}={name}={_sides(each[at])}"
        for at, word in enumerate(("min", "opt", "max"))
        for name, each in shapes.items()
    ]
    typing = "strong" if building.strong else "weak"
    return [
        "build_engine.py",
        f"--typing={typing}",
        f"--timing-cache={TIMINGS}",
        f"--workspace={building.workspace}",
        *words,
    ]


def _python_shapes(building: Building) -> list[str]:
    return [f"--shapes={name}={_sides(each[1])}" for name, each in building.shapes.items()]


def _check(building: Building) -> str:
    held = [f"--load-inputs={INPUTS_JSON}", f"--load-outputs={GOLDEN_JSON}", "--check-error-stat=mean"]
    tolerances = list(_tolerances(building.golden.tolerances))
    words = ["run", ENGINE, "--trt", "--model-type=engine", *held, *(["--atol", *tolerances] if tolerances else [])]
    return _line("polygraphy", words)


def _tolerances(found: Mapping[str, float]) -> Iterator[str]:
    """Of each output by its name; one whose name would read as an option has the number for all that are not named."""
    unnamed = [value for name, value in found.items() if name.startswith("-")]
    yield from (f"{max(unnamed):g}",) if unnamed else ()
    yield from (f"{name}:{value:g}" for name, value in found.items() if not name.startswith("-"))


def _line(program: str, words: Sequence[str]) -> str:
    """One command, quoted, broken into lines that can be read."""
    lines = [f"  {program}"]
    for word in map(shlex.quote, words):
        if len(lines[-1]) + len(word) > _WIDEST:
            lines.append("   ")
        lines[-1] += f" {word}"
    return " \\\n".join(lines) + "\n"
