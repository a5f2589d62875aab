#!/usr/bin/env bash
# OpenVINO multiplies a whole matrix by the first of its rows' scales.
#
# DequantizeLinear may give each row (input channel) of a matrix a scale: axis 0 of W in x @ W, axis 1 of what a Gemm with
# transB = 1 or a Transpose reads. OpenVINO recognizes weights stored as integers and computes as if the first scale were
# everybody's: no error, no warning, answers off by most of their range. One scale per column is computed rightly. The same
# file with its weights dequantized beforehand is right as well, so a comparison of the float models shows nothing.
#
# Tables that are quantized along their width and used twice (an embedding that is the classifier, too), and schemes that
# give each input channel its scale, come out of the hands of quantizers like this.
#
# onnx 1.23.2, onnxruntime 1.32.0, openvino 2026.4.1, numpy 2.4.6; on x86-64, with VNNI and (emulated) with AVX2 alone.
# Seen, as a share of the largest answer:
#   scales per column: off by 0.00, per row: by 0.75, and by 0.00 from W times the first scale
#   dequantized beforehand, per row: off by 0.00
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

draw = np.random.default_rng(1)
W = draw.integers(-127, 128, (16, 16)).astype(np.int8)
scales = np.linspace(0.004, 0.02, 16, dtype=np.float32)
x = draw.standard_normal((3, 16)).astype(np.float32)


def model(body, **constants):
    made = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[3,16] x) => (float[3,16] y) {{ {body} }}'
    )
    made.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def onnxruntime(blob):  # executes the graph as it is written
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(blob, options).run(None, {"x": x})[0]


def openvino(blob):
    core = ov.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    return core.compile_model(core.read_model(blob), "CPU", exact)([x])[0]


def stored(axis):
    body = f"wd = DequantizeLinear<axis = {axis}>(w, s, z)  y = MatMul(x, wd)"
    return model(body, w=W, s=scales, z=np.zeros(16, np.int8))


def off(found, wanted):
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


by_row = x @ (W * scales[:, None])
assert off(onnxruntime(stored(0)), by_row) < 1e-5
columns = off(openvino(stored(1)), onnxruntime(stored(1)))
rows = off(openvino(stored(0)), by_row)
first = off(openvino(stored(0)), x @ (W * scales[0]))
beforehand = off(openvino(model("y = MatMul(x, w)", w=W * scales[:, None])), by_row)
print(f"scales per column: off by {columns:.2f}, per row: by {rows:.2f}, and by {first:.2f} from W times the first scale")
print(f"dequantized beforehand, per row: off by {beforehand:.2f}")
assert columns < 1e-3 and beforehand < 1e-3, "what was right is not any more"
assert rows > 0.3 and first < 1e-3, "OpenVINO reads scales per row otherwise now"
EOF
