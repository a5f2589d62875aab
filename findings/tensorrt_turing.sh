#!/usr/bin/env bash
# For a GPU of compute capability 7.5 TensorRT-RTX drops int8: a Conv becomes float unasked, a Gemm is refused as float32.
#
# Turing GPUs (T4, RTX 20) multiply int8. The same file that computes in int8 for 8.6 is built for 7.5 with Convs that read floats,
# with no message of any level. A Gemm with the same pairs ends the build: "FP32 GEMM is not supported", though its file has int8
# on both inputs and asks for no float32 product. Named beside newer GPUs, 7.5 takes int8 from all of them.
#
# So do not name 7.5 among the GPUs of an int8 engine of TensorRT-RTX. This tells nothing of TensorRT itself on these GPUs.
#
# TensorRT-RTX 1.7.1.116 compiles for a named GPU and needs neither GPU nor driver. It is proprietary: to run this is to accept
# NVIDIA's licence. onnx 1.23.2, numpy 2.4.6.
# Seen, as what the layer of the engine reads:
#   Conv for 8.6:          Int8, Int8, 0 messages
#   Conv for 7.5:          Float, Float, 0 messages
#   Conv for 7.5 and 8.6:  Float, Float, 0 messages
#   Gemm for 8.6:          Int8, Int8, 0 messages
#   Gemm for 7.5:          no engine, FP32 GEMM is not supported
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 numpy==2.4.6 tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116
"$work/env/bin/python" - <<'PYTHON'
import os
import re
import sys

import numpy as np
import onnx
import tensorrt_rtx_bindings as trt
from onnx import numpy_helper, parser


class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.messages = []

    def log(self, severity, message):
        self.messages.append((severity.name, message))


log = Log()
builder, kept = trt.Builder(log), []


def build(made, capabilities):
    """What the layer of the one weighted node reads (activation and weight), by the builder's own list of layers, or why
    there is no engine; and how many warnings and errors there were."""
    onnx.checker.check_model(made, full_check=True)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    taking = trt.OnnxParser(network, log)
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(capabilities)
    for index, name in enumerate(capabilities):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    log.messages.clear()
    kept.extend((network, taking, config))
    assert taking.parse(made.SerializeToString()), taking.get_error(0).desc()
    kept.append(builder.build_serialized_network(network, config))
    loud = [message for severity, message in log.messages if severity in ("WARNING", "ERROR", "INTERNAL_ERROR")]
    if kept[-1] is None:
        return loud[0], len(loud)
    layers = [line for _, message in log.messages if message.startswith("Layers:") for line in message.splitlines()]
    (line,) = (line for line in layers if re.search("LayerType: (correlation|gemm)", line))
    return ", ".join(re.findall(r"Datatype: (\w+)", line.partition("Outputs: ")[0])[:2]), len(loud)


def product(nodes, shapes, weights):
    made = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 17]> g (float{shapes[0]} x) => (float{shapes[1]} y) {{
        q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  k = DequantizeLinear(w, s, z)  y = {nodes}(d, k) }}"""
    )
    constants = {"s": np.float32(0.05), "z": np.int8(0), "w": weights.astype(np.int8)}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    return made


values = np.random.default_rng(0)
conv = product("Conv", ("[1,16,32,32]", "[1,32,30,30]"), values.integers(-127, 128, (32, 16, 3, 3)))
gemm = product("Gemm", ("[8,64]", "[8,32]"), values.integers(-127, 128, (64, 32)))
cases = {
    "Conv for 8.6:        ": (conv, ["SM86"], "Int8, Int8"),
    "Conv for 7.5:        ": (conv, ["SM75"], "Float, Float"),
    "Conv for 7.5 and 8.6:": (conv, ["SM75", "SM86"], "Float, Float"),
    "Gemm for 8.6:        ": (gemm, ["SM86"], "Int8, Int8"),
}
good = True
for name, (made, capabilities, expected) in cases.items():
    reads, messages = build(made, capabilities)
    print(f"{name}  {reads}, {messages} messages")
    good &= (reads, messages) == (expected, 0)
why, _ = build(gemm, ["SM75"])
refused = "FP32 GEMM is not supported"
print(f"Gemm for 7.5:          {f'no engine, {refused}' if refused in why else why}")
good &= refused in why
sys.stdout.flush()
os._exit(0 if good else 1)
PYTHON
