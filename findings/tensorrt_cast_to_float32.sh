#!/usr/bin/env bash
# Behind a Cast from float16 to float32 TensorRT-RTX computes a quantized Conv in float; behind one from float32 to float16 in int8.
#
# Files of mixed float types have Casts between DequantizeLinear and Conv. From float32 down to float16 TensorRT-RTX looks through
# the Cast, of the activation and of the weight, and the Conv computes in int8. From float16 up to float32 it does not: one such
# Cast on either input, and the Conv reads floats on both, with no message of any level.
#
# So let each DequantizeLinear write the type that its reader wants, by a scale of that type (opset 19), also where the
# QuantizeLinear before it has its scale in float16.
#
# TensorRT-RTX 1.7.1.116 compiles for a named GPU and needs neither GPU nor driver. It is proprietary: to run this is to accept
# NVIDIA's licence. onnx 1.23.2, numpy 2.4.6.
# Seen, as what the Conv of the engine for compute capability 8.6 reads:
#   down, float32 to float16, both inputs:    Int8, Int8, 0 messages
#   up, float16 to float32, both inputs:      Float, Float, 0 messages
#   up, the activation alone:                 Float, Float, 0 messages
#   up, the weight alone:                     Float, Float, 0 messages
#   no Cast, float16 scale at Q, float32 DQ:  Int8, Int8, 0 messages
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


def build(made, capability="SM86"):
    """What the layer of the one weighted node reads (activation and weight), by the builder's own list of layers, or why
    there is no engine; and how many warnings and errors there were."""
    onnx.checker.check_model(made, full_check=True)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    taking = trt.OnnxParser(network, log)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
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


half = np.float16(0.05)
constants = {"half": half, "single": np.float32(half), "z": np.int8(0)}
constants["w"] = np.random.default_rng(0).integers(-127, 128, (32, 16, 3, 3)).astype(np.int8)
types = {"single": "float", "half": "float16"}


def conv(quantize, dequantize, weight, computes):
    """The types of the scales of the QuantizeLinear, its DequantizeLinear and the weight's, and of the Conv."""
    number = {"single": 1, "half": 10}[computes]
    made = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 19]> g ({types[quantize]}[1,16,32,32] x) => ({types[computes]}[1,32,30,30] y) {{
        q = QuantizeLinear(x, {quantize}, z)
        d{"" if dequantize == computes else "0"} = DequantizeLinear(q, {dequantize}, z)
        {"" if dequantize == computes else f"d = Cast<to = {number}>(d0)"}
        k{"" if weight == computes else "0"} = DequantizeLinear(w, {weight}, z)
        {"" if weight == computes else f"k = Cast<to = {number}>(k0)"}
        y = Conv(d, k) }}"""
    )
    used = {name for node in made.graph.node for name in node.input}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used)
    return made


cases = {
    "down, float32 to float16, both inputs:  ": (conv("single", "single", "single", "half"), "Int8, Int8"),
    "up, float16 to float32, both inputs:    ": (conv("half", "half", "half", "single"), "Float, Float"),
    "up, the activation alone:               ": (conv("half", "half", "single", "single"), "Float, Float"),
    "up, the weight alone:                   ": (conv("single", "single", "half", "single"), "Float, Float"),
    "no Cast, float16 scale at Q, float32 DQ:": (conv("half", "single", "single", "single"), "Int8, Int8"),
}
good = True
for name, (made, expected) in cases.items():
    reads, messages = build(made)
    print(f"{name}  {reads}, {messages} messages")
    good &= (reads, messages) == (expected, 0)
sys.stdout.flush()
os._exit(0 if good else 1)
PYTHON
