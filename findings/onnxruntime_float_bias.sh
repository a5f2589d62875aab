#!/usr/bin/env bash
# onnxruntime turns a float bias into the lowest int32 where the weights' scale is small.
#
# A Conv between Q/DQ pairs may keep its bias in float (TensorRT wants it so). onnxruntime makes it int32 in steps of
# x_scale * w_scale when it loads the model. If bias / step passes 2^31, the conversion gives the lowest int32, whatever the sign:
# +0.5 becomes -2147483648 * step. That is the constant of a channel whose weights died in training, per channel: its scale is
# tiny, its bias is what counts. With 16-bit activations, where steps are small for everybody, it takes no dead channel; and
# there the Conv runs in float all the same, so that the bias is rounded for nothing.
#
# onnxruntime's own quantizer widens such scales before it writes them. What other tools write is not looked at.
#
# onnx 1.23.2, onnxruntime 1.32.0, openvino 2026.4.1, numpy 2.4.6; x86-64 (with VNNI and, emulated, AVX2 alone), whose conversion
# gives the lowest number; skipped elsewhere.
# Seen:
#   8 bits, one dead channel:  bias +0.5, onnxruntime -0.04 (as written +0.50, OpenVINO +0.50)
#   16 bits, all alike:        bias +3.0, onnxruntime -2.15 (as written +3.00, OpenVINO +3.00)
set -euo pipefail
case $(uname -m) in x86_64) ;; *) echo "skipped: other CPUs convert what is too large otherwise"; exit 0 ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
import openvino as ov
from onnx import checker, numpy_helper, parser

weights = np.random.default_rng(10).integers(-127, 128, (4, 4, 3, 3)).astype(np.int8)


def channel(kind, x_scale, w_scales, y_scale, bias):
    """Channel 2 of the answer to a picture of zeros, which is the bias: as written, as fused, and by OpenVINO."""
    made = parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]> g (float[1,4,5,5] x) => (float[1,4,3,3] y) {
           q = QuantizeLinear(x, xs, z)  xd = DequantizeLinear(q, xs, z)  wd = DequantizeLinear<axis = 0>(w, ws, wz)
           c = Conv(xd, wd, b)  r = QuantizeLinear(c, ys, z)  y = DequantizeLinear(r, ys, z) }"""
    )
    constants = {"xs": np.float32(x_scale), "ys": np.float32(y_scale), "ws": np.array(w_scales, np.float32),
                 "w": weights, "wz": np.zeros(4, np.int8), "b": np.full(4, bias, np.float32),
                 "z": np.array(np.iinfo(kind).max // 2 + 1, kind)}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    blob, x, found = made.SerializeToString(), np.zeros((1, 4, 5, 5), np.float32), []
    for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        found.append(ort.InferenceSession(blob, options).run(None, {"x": x})[0])
    core = ov.Core()
    found.append(core.compile_model(core.read_model(blob), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0])
    return [float(answer[0, 2].mean()) for answer in found]


cases = {
    "8 bits, one dead channel: ": ((np.uint8, 0.02, [0.005, 0.004, 1e-9, 0.006], 0.01, 0.5), -0.043),
    "16 bits, all alike:       ": ((np.uint16, 1e-4, [1e-5] * 4, 2e-4, 3.0), -2.147),
}
for name, (case, expected) in cases.items():
    written, fused, theirs = channel(*case)
    print(f"{name} bias {case[-1]:+.1f}, onnxruntime {fused:5.2f} (as written {written:+.2f}, OpenVINO {theirs:+.2f})")
    assert abs(written - case[-1]) < 0.01 and abs(theirs - case[-1]) < 0.01
    assert abs(fused - expected) < 0.02, "onnxruntime keeps such a bias now"
EOF
