#!/usr/bin/env bash
# onnxruntime's fusions do not read the axis of a weight's DequantizeLinear.
#
# QLinearConv and QGemm know scales per output channel alone. Before onnxruntime fuses Q/DQ pairs into them it compares types and
# lengths, not the `axis`: a Conv whose weights are scaled along their input channels (axis 1), or a Gemm along its rows, is
# fused when the numbers of channels agree, and answers as if the scales were those of the outputs. MatMul asks, and stays float.
#
# The default of `axis` is 1. A writer that leaves it out, for Conv weights that it scaled per output, gets what it meant from
# onnxruntime with optimizations, and what it wrote from onnxruntime without them, from onnx's reference and from OpenVINO: the
# same file, two networks. That is what to look for when a "runtime difference" is as large as the signal.
#
# onnx 1.23.2, onnxruntime 1.32.0, openvino 2026.4.1, numpy 2.4.6; any CPU (the graph is rewritten).
# Seen, in steps of the output from the graph as it is written:
#   Conv, axis 0:             onnxruntime 0, OpenVINO 0
#   Conv, axis left out (1):  onnxruntime 146, OpenVINO 0
#   Gemm, transB, axis 0:     onnxruntime 0
#   Gemm, transB, axis 1:     onnxruntime 36
#   MatMul, axis 0:           onnxruntime 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
import openvino as ov
from onnx import checker, numpy_helper, parser

draw = np.random.default_rng(4)
STEP = np.float32(0.1)
LEVELS = ort.GraphOptimizationLevel


def off(operator, shape, weights, axis, with_openvino=False):
    dims = ",".join(map(str, shape))
    made = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[{dims}] x) => (float[{dims}] y) {{
            q = QuantizeLinear(x, xs, z)  xd = DequantizeLinear(q, xs, z)  wd = DequantizeLinear{axis}(w, ws, wz)
            o = {operator}(xd, wd)  r = QuantizeLinear(o, ys, z)  y = DequantizeLinear(r, ys, z) }}"""
    )
    constants = {"xs": np.float32(0.03), "z": np.uint8(128), "ys": STEP, "w": weights,
                 "ws": np.linspace(0.002, 0.02, 8, dtype=np.float32), "wz": np.zeros(8, np.int8)}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    blob, x = made.SerializeToString(), draw.standard_normal(shape).astype(np.float32)

    def run(level):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        return ort.InferenceSession(blob, options).run(None, {"x": x})[0]

    written = run(LEVELS.ORT_DISABLE_ALL)
    found = [run(LEVELS.ORT_ENABLE_ALL)]
    if with_openvino:
        core = ov.Core()
        found.append(core.compile_model(core.read_model(blob), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0])
    return [int(np.rint(np.abs(f - written) / STEP).max()) for f in found]


def integers(*shape):
    return draw.integers(-127, 128, shape).astype(np.int8)


kernel, square, picture = integers(8, 8, 3, 3), integers(8, 8), (1, 8, 6, 6)
conv = "Conv<pads = [1, 1, 1, 1]>"
right, wrong = off(conv, picture, kernel, "<axis = 0>", True), off(conv, picture, kernel, "", True)
print(f"Conv, axis 0:             onnxruntime {right[0]}, OpenVINO {right[1]}")
print(f"Conv, axis left out (1):  onnxruntime {wrong[0]}, OpenVINO {wrong[1]}")
gemm = [off("Gemm<transB = 1>", (4, 8), square, f"<axis = {axis}>")[0] for axis in (0, 1)]
print(f"Gemm, transB, axis 0:     onnxruntime {gemm[0]}\nGemm, transB, axis 1:     onnxruntime {gemm[1]}")
matmul = off("MatMul", (4, 8), square, "<axis = 0>")[0]
print(f"MatMul, axis 0:           onnxruntime {matmul}")
assert max(right[0], right[1], wrong[1], gemm[0], matmul) <= 1, "what was right is not any more"
assert wrong[0] > 20 and gemm[1] > 20, "the fusions read the axis now"
EOF
