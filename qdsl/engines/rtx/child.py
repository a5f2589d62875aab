"""Parses and builds models with TensorRT-RTX, without a GPU and its driver, and writes what came of it as JSON.

Runs in a process of its own, under an interpreter that has TensorRT-RTX and nothing of qdsl; one process per model: a
second logger is ignored, and some graphs end the process.

    python child.py build ANSWER MODEL SM86 BESIDE    parse  , build, and the text of the engine's layers
    python child.py parse ANSWER FOLDER BESIDE          parse each *.onnx of FOLDER by itself

BESIDE is the path from which external data is looked for, "" for none. ANSWER is the file that the JSON goes to: the
library may write to standard output itself.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import tensorrt_rtx_bindings as trt

# Of dimensions that a model leaves open: the first is taken for a batch, of this range; others have this one size.
_BATCH, _SIZE = (1, 1, 8), 64
_NO_DRIVER = ("catchCudaError", "CUDA driver", "cudaError 35")  # said once after any first error, and of the machine


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
        return list(dict.fromkeys(text for text in said if not _of_driver(text)))


def _of_driver(text: str) -> bool:
    return any(word in text for word in _NO_DRIVER)


def errors(parser: Any) -> list[dict[str, Any]]:
    found = [parser.get_error(index) for index in range(parser.num_errors)]
    return [
        {
            "node": each.node_name(),
            "text": " ".join(line for line in each.desc().split("\n") if line and not _of_driver(line)),
            "function": each.func(),
            "code": each.code().name,
        }
        for each in found
    ]


def quantized(network: Any) -> dict[str, str]:
    """The types of what QuantizeLinear writes, by tensor, as the parser read them."""
    found = [network.get_layer(index) for index in range(network.num_layers)]
    outputs = [each.get_output(0) for each in found if each.type == trt.LayerType.QUANTIZE]
    return {each.name: each.dtype.name for each in outputs}


def take_sizes(keep: list[Any], builder: Any, network: Any, config: Any) -> list[str]:
    """Give every open dimension of an input its size: nothing is built without. Returns what had to be guessed, a batch
    apart: `x: 1x3x64x64`."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = {each.name: tuple(each.shape) for each in inputs if -1 in tuple(each.shape)}
    if not shapes:
        return []
    profile = builder.create_optimization_profile()
    keep.append(profile)
    guessed = []
    for name, shape in shapes.items():
        sides = [_BATCH if side < 0 and not at else (_SIZE if side < 0 else side,) * 3 for at, side in enumerate(shape)]
        least, usual, most = zip(*sides, strict=True)
        profile.set_shape(name, least, usual, most)
        if -1 in shape[1:]:
            guessed.append(f"{name}: {'x'.join(map(str, usual))}")
    config.add_optimization_profile(profile)
    return guessed


def build(keep: list[Any], path: str, capability: str, beside: str) -> dict[str, Any]:
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    keep += [log, builder, network, parser]
    found: dict[str, Any] = {"version": trt.__version__}
    if not parser.parse(Path(path).read_bytes(), beside):
        return {**found, "stage": "parse", "refused": errors(parser), "warnings": log.told("WARNING")}
    found |= {"quantized": quantized(network), "warnings": log.told("WARNING")}
    config = builder.create_builder_config()
    # Without the list it takes types that no GPU of the list's has.
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    found["guessed"] = take_sizes(keep, builder, network, config)
    engine = builder.build_serialized_network(network, config)
    keep += [config, engine]
    if engine is None:
        return {**found, "stage": "build", "failed": log.told("ERROR")}
    # The builder prints the layers of the finished engine where it is asked for all it knows.
    layers = [text for _, text in log.messages if text.startswith("Layers:")]
    return {**found, "stage": "built", "layers": "\n".join(layers)}


def parse(keep: list[Any], folder: str, beside: str) -> dict[str, Any]:
    log = Log()
    builder = trt.Builder(log)
    keep += [log, builder]
    files = {}
    for path in sorted(Path(folder).glob("*.onnx")):
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, log)
        keep += [network, parser]
        files[path.stem] = [] if parser.parse(path.read_bytes(), beside) else errors(parser)
    return {"version": trt.__version__, "files": files}


def main() -> None:
    keep: list[Any] = []  # freed in another order than they were made, these end the interpreter
    verb, answer, *rest = sys.argv[1:]
    found = build(keep, *rest) if verb == "build" else parse(keep, *rest)
    Path(answer).write_text(json.dumps(found), encoding="utf-8")
    os._exit(0)


if __name__ == "__main__":
    main()
