#!/usr/bin/env bash
# TensorRT-RTX computes a float8 Conv of more than 32 kernel elements in float, and tells nobody.
#
# With float8 (E4M3) on both sides a Conv of 4x8 = 32 kernel elements computes in float8, and one of 3x11 = 33 reads floats: its
# weights are expanded before it, its activation is quantized and at once dequantized, for nothing. So it is with the 6x6 and the
# 7x7 of first layers, for compute capability 8.9 and 12.0 alike, with no message of any level. In int8 all of them compute in int8.
#
# So leave large kernels in float beside float8 layers, or take int8 for the model.
#
# TensorRT-RTX 1.7.1.116 compiles for a named GPU and needs neither GPU nor driver. It is proprietary: to run this is to accept
# NVIDIA's licence. onnx 1.23.2, numpy 2.4.6, ml-dtypes 0.6.0.
# Seen, as what the Conv of the engine reads, the same for compute capability 8.9 and 12.0, 0 messages each:
#   4x8:   float8 FP8, FP8      int8 Int8, Int8
#   3x11:  float8 Float, Float  int8 Int8, Int8
#   5x5:   float8 FP8, FP8      int8 Int8, Int8
#   6x6:   float8 Float, Float  int8 Int8, Int8
#   7x7:   float8 Float, Float  int8 Int8, Int8
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 numpy==2.4.6 ml-dtypes==0.6.0 \
    tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116
"$work/env/bin/python" - <<'PYTHON'
import os
import re
import sys

import ml_dtypes
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


def build(made, capability="SM89"):
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


kinds = {"float8": np.dtype(ml_dtypes.float8_e4m3fn), "int8": np.dtype(np.int8)}
values = np.random.default_rng(0)


def conv(kind, high, wide):
    made = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 19]>
        g (float[1,16,32,32] x) => (float[1,32,{33 - high},{33 - wide}] y) {{
        q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  k = DequantizeLinear(w, s, z)  y = Conv(d, k) }}"""
    )
    weights = values.integers(-8, 9, (32, 16, high, wide)).astype(kind)
    constants = {"s": np.float32(0.05), "z": np.zeros((), kind), "w": weights}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    return made


good = True
for high, wide in ((4, 8), (3, 11), (5, 5), (6, 6), (7, 7)):
    found = {}
    for name, kind in kinds.items():
        made = conv(kind, high, wide)
        found[name] = build(made, "SM89")
        good &= build(made, "SM120") == found[name]
    print(f"{f'{high}x{wide}:':5}  float8 {found['float8'][0]:13} int8 {found['int8'][0]}")
    fits = "FP8, FP8" if high * wide <= 32 else "Float, Float"
    good &= found == {"float8": (fits, 0), "int8": ("Int8, Int8", 0)}
sys.stdout.flush()
os._exit(0 if good else 1)
PYTHON
