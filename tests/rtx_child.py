"""Parses and builds models with TensorRT-RTX, without a GPU and its driver, and writes what came of it as JSON.

Runs in an environment of its own (`rtx_engine.py` makes it and starts this), one process per model: a second logger is
ignored, and some graphs end the process.

    python rtx_child.py build MODEL SM86    parse, build, and what the engine's layers compute in
    python rtx_child.py parse FOLDER        parse each MODEL of FOLDER by itself; what the parser refuses or warns of
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import tensorrt_rtx_bindings as trt

_TYPE = re.compile(r"\{ Name: [^{}]*?Datatype: (\w+)")
_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_NO_DRIVER = ("catchCudaError", "CUDA driver", "cudaError 35")


class Log(trt.ILogger):  # type: ignore[misc]
    """Every message, in order."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.messages: list[tuple[str, str]] = []

    def log(self, severity: Any, message: str) -> None:
        self.messages.append((severity.name, message))

    def told(self, severity: str) -> list[str]:
        """What was said at that level, but for the missing driver."""
        said = [text for name, text in self.messages if name == severity]
        return [text for text in said if not _of_driver(text)]


def _of_driver(text: str) -> bool:
    return any(word in text for word in _NO_DRIVER)


def errors(parser: Any) -> list[dict[str, Any]]:
    found = [parser.get_error(index) for index in range(parser.num_errors)]
    return [
        {
            "node": each.node_name(),
            "index": each.node(),
            "op": each.node_operator(),
            "code": each.code().name,
            "function": each.func(),
            "text": " ".join(line for line in each.desc().split("\n") if line and not _of_driver(line)),
        }
        for each in found
    ]


def layers(log: Log) -> list[dict[str, Any]]:
    """The layers of the finished engine: the builder prints them where it is asked for all it knows."""
    texts = [text for _, text in log.messages if text.startswith("Layers:")]
    return [_layer(line) for text in texts for line in text.splitlines() if "LayerType: " in line]


def _layer(line: str) -> dict[str, Any]:
    inputs, outputs, end = (line.index(word) for word in ("Inputs: ", "Outputs: ", "TacticName: "))
    constants = line.find("Constants: ")
    first = constants if constants >= 0 else outputs
    found = re.search(r"LayerType: (\w+)", line)
    return {
        "type": found[1] if found else "",
        "inputs": _TYPE.findall(line[inputs:first]),
        "constants": _TYPE.findall(line[first:outputs]),
        "outputs": _TYPE.findall(line[outputs:end]),
        "nodes": [name.strip("\x1f") for name in _NODE.findall(line)],
    }


def quantized(network: Any) -> dict[str, str]:
    """The types of what QuantizeLinear writes, by tensor, as the parser read them."""
    found = [network.get_layer(index) for index in range(network.num_layers)]
    outputs = [each.get_output(0) for each in found if each.type == trt.LayerType.QUANTIZE]
    return {each.name: each.dtype.name for each in outputs}


def build(path: str, capability: str, keep: list[Any]) -> dict[str, Any]:
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    keep += [log, builder, network, parser]
    found = {"version": trt.__version__, "capability": capability}
    if not parser.parse_from_file(path):
        return {**found, "stage": "parse", "refused": errors(parser), "warnings": log.told("WARNING")}
    found |= {"quantized": quantized(network), "warnings": log.told("WARNING")}
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    engine = builder.build_serialized_network(network, config)
    keep += [config, engine]
    if engine is None:
        return {**found, "stage": "build", "failed": log.told("ERROR")}
    return {**found, "stage": "built", "bytes": engine.nbytes, "layers": layers(log)}


def parse(folder: str, keep: list[Any]) -> dict[str, Any]:
    log = Log()
    builder = trt.Builder(log)
    keep += [log, builder]
    found: dict[str, Any] = {"version": trt.__version__, "files": {}}
    for path in sorted(Path(folder).glob("*.onnx")):
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, log)
        keep += [network, parser]
        log.messages.clear()
        taken = parser.parse_from_file(str(path))
        found["files"][path.stem] = {"refused": [] if taken else errors(parser), "warnings": log.told("WARNING")}
    return found


def main() -> None:
    keep: list[Any] = []  # freed in another order than they were made, these end the interpreter
    verb, path, *rest = sys.argv[1:]
    found = build(path, *rest, keep) if verb == "build" else parse(path, keep)
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
