#!/usr/bin/env bash
# TensorRT's parser takes a QuantizeLinear without a zero point for one that writes int8; ONNX means uint8.
#
# The zero point is optional, and it is what tells the type: without one, ONNX says, QuantizeLinear writes uint8 (0..255).
# TensorRT gives the tensor int8 (-128..127), with no message of any level. The same file computes two things: ONNX Runtime and
# onnx's reference cut off at 0 what TensorRT keeps, and keep from 128 to 255 steps what TensorRT cuts off. With a zero
# point of uint8 it does the same, and at least warns; stored integers of uint8 it refuses.
#
# So write the zero point, of int8 for TensorRT, whatever its value; a difference that looks like bad calibration goes.
#
# TensorRT-RTX 1.7.1.116 has the parser of TensorRT (10.11 and later), which needs neither GPU nor driver. It is proprietary:
# to run this is to accept NVIDIA's licence. onnx 1.23.2, numpy 2.4.6.
# Seen, as what the tensor is:
#   no zero point:     ONNX uint8, TensorRT INT8, 0 warnings
#   uint8 zero point:  ONNX uint8, TensorRT INT8, 2 warnings
#   int8 zero point:   ONNX int8, TensorRT INT8, 0 warnings
#   uint8 stored:      refused, Found unsupported input type of UINT8
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 numpy==2.4.6 tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116
"$work/env/bin/python" - <<'PYTHON'
import os
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


def read(quantize, **constants):
    """The type of `q` in ONNX and in TensorRT, how often TensorRT warns, and why it refuses."""
    made = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y) {{ {quantize} }}"""
    )
    constants["s"] = np.float32(0.1)
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    onnx.checker.check_model(made, full_check=True)
    known = onnx.shape_inference.infer_shapes(made).graph.value_info
    by_onnx = [onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type).name for v in known if v.name == "q"]
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    taking = trt.OnnxParser(network, log)
    kept.extend((network, taking))
    log.messages.clear()
    if not taking.parse(made.SerializeToString()):
        return "refused", taking.get_error(0).desc()
    found = [network.get_layer(i).get_output(0) for i in range(network.num_layers)]
    by_trt = [each.dtype.name for each in found if each.name == "q"]
    return by_onnx[0], by_trt[0], sum(name == "WARNING" for name, _ in log.messages)


pair = "q = QuantizeLinear(x, s{0})  y = DequantizeLinear(q, s{0})"
cases = {
    "no zero point:   ": read(pair.format("")),
    "uint8 zero point:": read(pair.format(", z"), z=np.uint8(0)),
    "int8 zero point: ": read(pair.format(", z"), z=np.int8(0)),
}
for name, (by_onnx, by_trt, warnings) in cases.items():
    print(f"{name}  ONNX {by_onnx}, TensorRT {by_trt}, {warnings} warnings")
said, why = read("w = DequantizeLinear(c, s, z)  y = Add(x, w)", c=np.uint8([[1, 2, 3, 200]]), z=np.uint8(0))
print(f"uint8 stored:      {said}, {'Found unsupported input type of UINT8' if 'type of UINT8' in why else why}")
good = (
    list(cases.values()) == [("uint8", "INT8", 0), ("uint8", "INT8", 2), ("int8", "INT8", 0)]
    and said == "refused" and "Found unsupported input type of UINT8" in why
)
sys.stdout.flush()
os._exit(0 if good else 1)
PYTHON
