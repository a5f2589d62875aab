"""What NVIDIA's TensorRT-RTX makes of an ONNX file: what its parser refuses, whether its builder builds it, and what
each node computes in. It needs no GPU and no driver; nothing is run.

    python tests/rtx_engine.py install      make its environment (about 100 MB of downloads)
    python tests/rtx_engine.py MODEL..      what it makes of these files

TensorRT-RTX is proprietary: whoever installs it accepts NVIDIA's licence, so no test does that of itself. It stands in
an environment of its own, in the user's cache folder or in $QDSL_RTX, and each file is taken by a process of its own.
A verdict is about this version and a described GPU, compute capability 8.6; other TensorRTs have the same parser from
10.11 on, and builders of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

VERSION = "1.7.1.116"
PACKAGES = tuple(f"tensorrt-rtx-cu13-{part}=={VERSION}" for part in ("libs", "bindings"))
CAPABILITY = "SM86"
SECONDS = 300
CHILD = Path(__file__).resolve().parent / "rtx_child.py"

INT8, DROPPED, WEIGHT_ONLY, UNKNOWN, ELIMINATED = "INT8", "DROPPED", "WEIGHT_ONLY", "UNKNOWN", "ELIMINATED"
_NARROW = frozenset({"Int8", "FP8", "Int4", "FP4"})
_MULTIPLIES = frozenset({"correlation", "gemm", "deconv"})
_MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True)
class Refusal:
    """What the parser says of a node (or, without one, of a constant)."""

    node: str
    text: str
    function: str
    code: str


@dataclass(frozen=True)
class Engine:
    """What became of a file. `stage`: "parse" (refused), "build" (not built), "built", or "undecided" where the process
    died or ran too long. `verdicts`: of nodes that multiply, by name. `stored`: the type of what each QuantizeLinear
    writes, by tensor, as the parser read it."""

    stage: str
    refused: tuple[Refusal, ...] = ()
    failed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    verdicts: dict[str, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    reason: str = ""


# --- the environment --------------------------------------------------------------------------------------------------


def folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("QDSL_RTX") or Path(base, "qdsl-rtx"))


def python() -> Path | None:
    """The interpreter of the environment; None where it was not made, or not of this version."""
    found, whole = folder() / "bin" / "python", folder() / "whole"
    return found if whole.is_file() and whole.read_text() == repr(PACKAGES) else None


def install() -> str:
    """Make the environment, unless it is there; "" or the reason why it cannot be."""
    if python() is not None:
        return ""
    venv.create(folder(), with_pip=True, clear=True)
    words = [folder() / "bin" / "python", "-m", "pip", "install", "-q", *PACKAGES]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    (folder() / "whole").write_text(repr(PACKAGES))
    return ""


# --- a file -----------------------------------------------------------------------------------------------------------


def examine(model: ModelProto, capability: str = CAPABILITY) -> Engine:
    """Parse and build a model for a GPU of that compute capability."""
    named = with_names(model)
    with tempfile.TemporaryDirectory() as aside:
        path = Path(aside, "model.onnx")
        onnx.save(named, path)
        found = _child("build", str(path), capability)
    if "reason" in found:
        return Engine("undecided", reason=found["reason"])
    return Engine(
        found["stage"],
        _refusals(found.get("refused", [])),
        tuple(found.get("failed", [])),
        tuple(found["warnings"]),
        verdicts(named, found["layers"]) if "layers" in found else {},
        found.get("quantized", {}),
    )


def refused_nodes(model: ModelProto) -> dict[str, Refusal]:
    """Every node that the parser refuses, by name: parsing a model stops at the first. Each QuantizeLinear is parsed
    with what dequantizes it, each other node that holds integers by itself."""
    named = with_names(model)
    with tempfile.TemporaryDirectory() as aside:
        for number, part in enumerate(_parts(named)):
            onnx.save(part, Path(aside, f"{number:06d}.onnx"))
        found = _child("parse", aside)
    if "reason" in found:
        raise RuntimeError(found["reason"])
    files = found["files"].values()
    return {each.node: each for one in files for each in _refusals(one["refused"])}


def with_names(model: ModelProto) -> ModelProto:
    """A copy in which every node has a name of its own, by which the engine's layers tell it."""
    made = ModelProto()
    made.CopyFrom(model)
    taken: set[str] = set()
    for number, node in enumerate(made.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}_{number}_of_the_file"
        taken.add(node.name)
    return made


def verdicts(model: ModelProto, layers: list[dict[str, Any]]) -> dict[str, str]:
    """What each node that multiplies computes in. A node stands in the layer that multiplies and in one that adds its
    bias or runs its activation (`kgen`), which says nothing of it."""
    return {node.name: _verdict(node.name, layers) for node in model.graph.node if node.op_type in _MULTIPLYING}


def _verdict(node: str, layers: list[dict[str, Any]]) -> str:
    told = [each for each in layers if node in each["nodes"]]
    if not told:
        return ELIMINATED
    main = [each for each in told if each["type"] in _MULTIPLIES]
    for layer in main:
        data, weights = set(layer["inputs"]) & _NARROW, set(layer["constants"]) & _NARROW
        if data and (weights or len(layer["inputs"]) > 1):
            return INT8 if "Int8" in data else "FP8"
    if main:
        return UNKNOWN if any(set(each["inputs"]) & _NARROW for each in main) else DROPPED
    fused = [each for each in told if each["type"] == "runtime_fusion"]
    if fused:
        data = {name for each in fused for name in each["inputs"]} & _NARROW
        return UNKNOWN if data else WEIGHT_ONLY if _constants(fused) else DROPPED
    return UNKNOWN if any(_NARROW & {*each["inputs"], *each["constants"]} for each in told) else DROPPED


def _constants(layers: list[dict[str, Any]]) -> set[str]:
    return {name for each in layers for name in each["constants"]} & _NARROW


def _refusals(told: list[dict[str, Any]]) -> tuple[Refusal, ...]:
    return tuple(Refusal(each["node"], each["text"], each["function"], each["code"]) for each in told)


# --- nodes by themselves ----------------------------------------------------------------------------------------------


def _parts(model: ModelProto) -> list[ModelProto]:
    """Models of one node, or of a QuantizeLinear with its DequantizeLinear nodes, one for each."""
    try:
        typed = onnx.shape_inference.infer_shapes(model)
    except Exception:  # what is wrong with the file is for the parser to say
        typed = model
    known = {each.name: each.type for each in (*typed.graph.value_info, *typed.graph.input, *typed.graph.output)}
    constants = {each.name: each for each in model.graph.initializer}
    writers = {name: node for node in model.graph.node for name in node.output}
    quantizers = {name for name, node in writers.items() if node.op_type == _QUANTIZE}
    made = []
    for node in model.graph.node:
        if node.op_type == _DEQUANTIZE and node.input[0] in quantizers:
            made.append(_part(model, [writers[node.input[0]], node], known, constants, writers))
        elif node.op_type in (_QUANTIZE, _DEQUANTIZE) or _on_integers(node.op_type):
            made.append(_part(model, [node], known, constants, writers))
    return made


def _on_integers(op: str) -> bool:
    return op.startswith(("QLinear", "DynamicQuantize")) or op.endswith("Integer")


def _part(
    model: ModelProto,
    nodes: list[NodeProto],
    known: dict[str, Any],
    constants: dict[str, TensorProto],
    writers: dict[str, NodeProto],
) -> ModelProto:
    held = [writers[name] for node in nodes for name in node.input if _is_constant(writers.get(name))]
    within = {name for node in (*nodes, *held) for name in node.output}
    read = dict.fromkeys(name for node in nodes for name in node.input if name and name not in within)
    inputs = [_typed(name, known) for name in read if name not in constants]
    outputs = [_typed(name, known) for name in nodes[-1].output if name]
    stored = [constants[name] for name in read if name in constants]
    graph = helper.make_graph([*held, *nodes], "part", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _is_constant(node: NodeProto | None) -> bool:
    return node is not None and node.op_type == "Constant"


def _typed(name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    found = helper.make_empty_tensor_value_info(name)
    found.type.CopyFrom(known[name])
    return found


# --- the process ------------------------------------------------------------------------------------------------------


def _child(*words: str) -> dict[str, Any]:
    """What the other process found, or {"reason": ..} where it died or ran too long."""
    interpreter = python()
    if interpreter is None:
        raise RuntimeError("TensorRT-RTX is not installed: python tests/rtx_engine.py install")
    try:
        done = subprocess.run(
            [interpreter, "-I", CHILD, *words], capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"reason": f"took over {SECONDS} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"reason": f"ended with {done.returncode}: {last[:200]}"}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(words: list[str]) -> int:
    if words == ["install"]:
        reason = install()
        sys.stdout.write(f"TensorRT-RTX {VERSION}: {reason or f'installed in {folder()}'}\n")
        return int(bool(reason))
    for word in words:
        model = onnx.load(word)
        found = examine(model)
        counts = {each: list(found.verdicts.values()).count(each) for each in sorted(set(found.verdicts.values()))}
        sys.stdout.write(f"{word}: {found.stage} {found.reason} {counts}\n")
        for each in refused_nodes(model).values() if found.stage == "parse" else ():
            sys.stdout.write(f"  {each.node}: {each.text} ({each.function})\n")
        for text in (*found.failed, *sorted(set(found.warnings))):
            sys.stdout.write(f"  {text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
