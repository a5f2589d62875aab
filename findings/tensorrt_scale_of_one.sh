#!/usr/bin/env bash
# TensorRT-RTX computes a Conv in float where the scale of its activation is [0.05] and not 0.05.
#
# A scale of one element may be written as a number or as a vector of one. ONNX Runtime takes them for the same, and along an axis
# of length 1 ONNX's words leave no doubt. Where the vector stands on the DequantizeLinear of an activation, TensorRT-RTX does
# what it does with scales per channel: the Conv behind it reads floats, weights included, with no message of any level. A
# vector on the QuantizeLinear alone, or on the weight, changes nothing.
#
# So write scales per tensor as numbers without dimensions; a model that gains no speed from int8 may have no other fault.
#
# TensorRT-RTX 1.7.1.116 compiles for a named GPU and needs neither GPU nor driver. It is proprietary: to run this is to accept
# NVIDIA's licence. onnx 1.23.2, numpy 2.4.6.
# Seen, as what the Conv of the engine for compute capability 8.6 reads:
#   numbers:                             Int8, Int8, 0 messages
#   vector of one at QuantizeLinear:     Int8, Int8, 0 messages
#   vector of one at the weight:         Int8, Int8, 0 messages
#   vector of one at DequantizeLinear:   Float, Float, 0 messages
#   the same along an axis of length 1:  Float, Float, 0 messages
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


number, vector = (np.float32(0.05), np.int8(0)), (np.float32([0.05]), np.int8([0]))
weights = np.random.default_rng(0).integers(-127, 128, (32, 16, 3, 3)).astype(np.int8)


def conv(quantize=number, dequantize=number, weight=number, axis=1):
    made = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 17]> g (float[1,16,32,32] x) => (float[1,32,30,30] y) {{
        q = QuantizeLinear<axis = {axis}>(x, qs, qz)  d = DequantizeLinear<axis = {axis}>(q, ds, dz)
        k = DequantizeLinear(w, ws, wz)  y = Conv(d, k) }}"""
    )
    constants = {"w": weights}
    for name, (scale, zero) in {"q": quantize, "d": dequantize, "w": weight}.items():
        constants |= {f"{name}s": scale, f"{name}z": zero}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    return made


cases = {
    "numbers:                           ": (conv(), "Int8, Int8"),
    "vector of one at QuantizeLinear:   ": (conv(quantize=vector), "Int8, Int8"),
    "vector of one at the weight:       ": (conv(weight=vector), "Int8, Int8"),
    "vector of one at DequantizeLinear: ": (conv(dequantize=vector), "Float, Float"),
    "the same along an axis of length 1:": (conv(vector, vector, axis=0), "Float, Float"),
}
good = True
for name, (made, expected) in cases.items():
    reads, messages = build(made)
    print(f"{name}  {reads}, {messages} messages")
    good &= (reads, messages) == (expected, 0)
sys.stdout.flush()
os._exit(0 if good else 1)
PYTHON
