#!/usr/bin/env bash
# Behind a MaxPool TensorRT-RTX computes a float8 Conv in float, where it computes an int8 Conv in int8.
#
# A MaxPool picks values and makes none, so that a pair before it is as good as one behind it: in int8 TensorRT-RTX lets the pool
# and the Conv behind it read integers. With float8 (E4M3) in the same places the pool and the Conv read floats, with no message
# of any level. A Transpose in the pool's place keeps float8. A pair of its own behind the pool brings it back.
#
# So put Q/DQ directly before what is to compute in float8, even where the values are float8 already.
#
# TensorRT-RTX 1.7.1.116 compiles for a named GPU and needs neither GPU nor driver. It is proprietary: to run this is to accept
# NVIDIA's licence. onnx 1.23.2, numpy 2.4.6, ml-dtypes 0.6.0.
# Seen, as what the Conv of the engine reads, the same for compute capability 8.9 and 12.0, 0 messages each:
#   Q, DQ, Conv:                  float8 FP8, FP8      int8 Int8, Int8
#   Q, DQ, Transpose, Conv:       float8 FP8, FP8      int8 Int8, Int8
#   Q, DQ, MaxPool, Conv:         float8 Float, Float  int8 Int8, Int8
#   Q, DQ, MaxPool, Q, DQ, Conv:  float8 FP8, FP8      int8 Int8, Int8
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


pool = "p = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(d)"
between = {
    "Q, DQ, Conv:                ": "p = Identity(d)",
    "Q, DQ, Transpose, Conv:     ": "p = Transpose<perm = [0, 1, 3, 2]>(d)",
    "Q, DQ, MaxPool, Conv:       ": pool,
    "Q, DQ, MaxPool, Q, DQ, Conv:": pool.replace("p =", "m =") + " n = QuantizeLinear(m, s, z) p = DequantizeLinear(n, s, z)",
}


def conv(kind, between):
    made = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 19]> g (float[1,16,32,32] x) => (float[1,32,30,30] y) {{
        q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  {between}
        k = DequantizeLinear(w, s, z)  y = Conv(p, k) }}"""
    )
    weights = values.integers(-8, 9, (32, 16, 3, 3)).astype(kind)
    constants = {"s": np.float32(0.05), "z": np.zeros((), kind), "w": weights}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    return made


good = True
for name, nodes in between.items():
    found = {}
    for kind, dtype in kinds.items():
        made = conv(dtype, nodes)
        found[kind] = build(made, "SM89")
        good &= build(made, "SM120") == found[kind]
    print(f"{name}  float8 {found['float8'][0]:13} int8 {found['int8'][0]}")
    kept_narrow = "Float, Float" if nodes == pool else "FP8, FP8"
    good &= found == {"float8": (kept_narrow, 0), "int8": ("Int8, Int8", 0)}
sys.stdout.flush()
os._exit(0 if good else 1)
PYTHON
