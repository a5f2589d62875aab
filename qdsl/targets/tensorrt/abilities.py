"""What this machine can do with artifacts for TensorRT."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from qdsl.engines.rtx.places import MODULE, VERSION, place
from qdsl.spec.abilities import Abilities, Ability
from qdsl.targets.probing import ask_python, onnxruntime
from qdsl.targets.tensorrt.installed import Installed, Tool, installed
from qdsl.targets.tensorrt.provider import CUDA, NAMES

_RTX = "pip install 'qdsl-compiler[rtx]', or `python -m qdsl.engines.rtx.get` (NVIDIA's licence)"
_TENSORRT = "pip install tensorrt; JetPack and NVIDIA's TensorRT containers bring it, with trtexec"
_THERE = (
    "carry the directory to a machine with an NVIDIA GPU, and there: sh commands.sh; where no trtexec is: "
    "pip install tensorrt (JetPack brings it), python3 build_engine.py"
)
_DRIVER = "install the driver of this GPU again, until `nvidia-smi` lists it"


def abilities() -> Abilities:
    with ThreadPoolExecutor(max_workers=2) as pool:  # both wait for other processes
        asked, checking = pool.submit(installed), pool.submit(_check)
    here = asked.result()
    build = building(here)
    run = build
    if build.able:
        run = Ability(True, f"the engine on {here.gpus[0].words}; numerics in ONNX Runtime, as the graph says")
    elif not build.broken:
        run = Ability(False, f"{build.why}; ONNX Runtime runs the graph as it says, so `evaluate` works", build.get)
    return {
        "emit": Ability(True, "qdsl alone"),
        "check": checking.result(),
        "build": build,
        "run": run,
        "measure": _measure(here, build),
    }


def _check() -> Ability:
    found = place()
    if found is None:
        return Ability(False, "TensorRT-RTX is not installed; it parses and builds without a GPU", _RTX)
    answer = ask_python(found.python, f"import {MODULE} as m; print(m.__version__)", found.options)
    if answer.problem:
        return Ability(False, f"TensorRT-RTX does not load: {answer.problem}", _RTX, broken=True)
    version = answer.text.strip().splitlines()[-1] if answer.text.strip() else VERSION
    return Ability(True, f"TensorRT-RTX {version}, without a GPU: `qdsl compile --check rtx`, `audit --engine rtx`")


def building(here: Installed) -> Ability:
    """Whether an engine can be built here."""
    broken = [_words(tool, name) for tool, name in _tools(here) if tool.problem]
    if here.builder is None and broken:
        return Ability(False, broken[0], _TENSORRT, broken=True)
    if here.gpu_problem:
        return Ability(False, here.gpu_problem, _DRIVER, broken=True)
    if not here.gpus:
        has = f" ({_words(here.builder, 'TensorRT')} is)" if here.builder is not None else ""
        return Ability(False, f"no NVIDIA GPU is here{has}", _THERE)
    if here.builder is None:
        return Ability(
            False, f"neither the module `tensorrt` nor `trtexec` is here, for {here.gpus[0].words}", _TENSORRT
        )
    name = "module tensorrt" if here.builder is here.module else "trtexec"
    return Ability(True, f"{_words(here.builder, name)}, on {here.gpus[0].words}: `qdsl compile --build`")


def _tools(here: Installed) -> list[tuple[Tool, str]]:
    found = ((here.module, "module tensorrt"), (here.trtexec, "trtexec"))
    return [(tool, name) for tool, name in found if tool is not None]


def _words(tool: Tool, name: str) -> str:
    if tool.problem:
        return f"{name} ({tool.path}) does not work: {tool.problem}"
    return f"{name} {tool.version}".strip()


def _measure(here: Installed, build: Ability) -> Ability:
    providers = onnxruntime().providers if here.gpus else ()
    known = [name for provider, name in NAMES.items() if provider in providers]
    by = f"`qdsl profile` by ONNX Runtime's {' and '.join(known)} provider{'s' if len(known) > 1 else ''}"
    by += " (CUDA's figures are no engine's, and decide nothing)" if CUDA in providers else ""
    ways = [*(["`profile_engine.py` beside the artifact"] if build.able else []), *([by] if known else [])]
    return Ability(True, f"on {here.gpus[0].words}: {'; '.join(ways)}") if ways else build
