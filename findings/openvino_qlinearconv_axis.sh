#!/usr/bin/env bash
# OpenVINO reads the weight scales of a QLinearConv along the input channels.
#
# ONNX says that a vector `w_scale` of QLinearConv has one number per *output* channel. OpenVINO turns the node into
# DequantizeLinear and Conv and leaves the former at its default axis, 1. With as many input as output channels the answer
# is silently that of other weights; with other numbers of channels the model is refused, so that a network of the usual
# shapes does not load, and one whose layers are all square answers wrongly. Weights in Q/DQ form (axis 0) are read rightly.
#
# Who deploys models of onnxruntime's `QuantFormat.QOperator`, per channel, to OpenVINO meets this.
#
# onnx 1.23.2, onnxruntime 1.32.0, openvino 2026.4.1, numpy 2.4.6; any CPU (the file is misread before a kernel is chosen).
# Seen:
#   onnxruntime: 0 steps from the model, OpenVINO: 185 (45.6 on average), 1 from the model with scales on axis 1
#   4 -> 8 channels: scale elements '8' must match the input shape dimension '4
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

draw = np.random.default_rng(0)


def model(body, inputs=8):
    constants = {
        "w": draw_weights[:, :inputs], "w_scale": np.linspace(0.002, 0.02, 8, dtype=np.float32), "w_zero": np.zeros(8, np.int8),
        "x_scale": np.float32(0.05), "x_zero": np.uint8(128), "y_scale": np.float32(0.2), "y_zero": np.uint8(120),
    }
    made = parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g (uint8[1,{inputs},6,6] x) => (uint8[1,8,4,4] y) {{ {body} }}'
    )
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def onnxruntime(blob):  # executes the graph as it is written
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(blob, options).run(None, {"x": x})[0].astype(int)


def openvino(blob):
    core = ov.Core()
    return core.compile_model(core.read_model(blob), "CPU")([x])[0].astype(int)


draw_weights = draw.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8)
x = draw.integers(0, 256, (1, 8, 6, 6)).astype(np.uint8)
fused = "y = QLinearConv(x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero)"
spelled = """xd = DequantizeLinear(x, x_scale, x_zero)  wd = DequantizeLinear<axis = {axis}>(w, w_scale, w_zero)
             c = Conv(xd, wd)  y = QuantizeLinear(c, y_scale, y_zero)"""
right = onnxruntime(model(spelled.format(axis=0)))
misread = onnxruntime(model(spelled.format(axis=1)))
mine, theirs = onnxruntime(model(fused)), openvino(model(fused))
off = np.abs(theirs - right)
print(f"onnxruntime: {np.abs(mine - right).max()} steps from the model, OpenVINO: {off.max()} ({off.mean():.1f} on average), "
      f"{np.abs(theirs - misread).max()} from the model with scales on axis 1")
assert np.abs(mine - right).max() <= 1 and off.mean() > 10 and np.abs(theirs - misread).max() <= 1
assert np.abs(openvino(model(spelled.format(axis=0))) - right).max() <= 1
try:
    openvino(model(fused, inputs=4))
except RuntimeError as refused:
    print("4 -> 8 channels:", str(refused).split("dequantization ")[-1].split(" pointed")[0])
else:
    raise SystemExit("OpenVINO now reads QLinearConv from 4 to 8 channels")
EOF
