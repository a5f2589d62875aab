#!/usr/bin/env bash
# onnxruntime adds the integer bias of a Gemm in steps that are not its own.
#
# In Q/DQ form the int32 bias of a layer has a DequantizeLinear, and so a scale, of its own. The fused kernels take the integers
# as multiples of x_scale * w_scale. For Conv onnxruntime compares the two and leaves the layer in float where they differ. For
# Gemm it does not: the fused QGemm adds the integers as they are.
#
# Most quantizers write x_scale * w_scale. But a file whose activation ranges were edited or calibrated anew, with the biases
# left as they were, or whose scales were rounded to powers of two one by one, answers wrongly at its last layer alone: logits
# all shifted, in onnxruntime with optimizations only.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU (the graph is rewritten).
# Seen, in steps of the output from the graph as it is written, with a bias scale of 2 * x_scale * w_scale:
#   Conv 0 (operators: Conv, DequantizeLinear, QuantizeLinear)
#   Gemm 36 (operators: DequantizeLinear, QGemm, QuantizeLinear)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work" && env/bin/python - <<'EOF'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import checker, numpy_helper, parser

draw = np.random.default_rng(5)
X, W, Y = np.float32(0.03), np.float32(0.01), np.float32(0.05)


def measure(operator, shape, weights, out, factor):
    """Steps between fused and written, and the operators that run fused."""
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x) => (float[{out}] y) {{
            q = QuantizeLinear(x, xs, z)  xd = DequantizeLinear(q, xs, z)
            wd = DequantizeLinear(w, ws, wz)  bd = DequantizeLinear(b, bs)
            o = {operator}(xd, wd, bd)  r = QuantizeLinear(o, ys, z)  y = DequantizeLinear(r, ys, z) }}"""
    )
    constants = {"xs": X, "z": np.uint8(128), "ys": Y, "w": weights, "ws": W, "wz": np.int8(0),
                 "b": np.linspace(-6000, 6000, 8).astype(np.int32), "bs": np.float32(factor * X * W)}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    x = draw.standard_normal([int(n) for n in shape.split(",")]).astype(np.float32)

    def run(level):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.optimized_model_filepath = "ran.onnx"
        options.log_severity_level = 3  # it warns that such a file is for this machine
        return ort.InferenceSession(made.SerializeToString(), options).run(None, {"x": x})[0]

    written = run(ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    fused = run(ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    ran = sorted({node.op_type for node in onnx.load("ran.onnx").graph.node})
    return int(np.rint(np.abs(fused - written) / Y).max()), ran


def both(factor):
    kernel, matrix = (draw.integers(-127, 128, s).astype(np.int8) for s in ((8, 4, 3, 3), (12, 8)))
    return measure("Conv", "1,4,6,6", kernel, "1,8,4,4", factor), measure("Gemm", "3,12", matrix, "3,8", factor)


assert [off for off, _ in both(1)] == [0, 0]
conv, gemm = both(2)
print(f"Conv {conv[0]} (operators: {', '.join(conv[1])})\nGemm {gemm[0]} (operators: {', '.join(gemm[1])})")
assert conv[0] == 0 and "QLinearConv" not in conv[1], "Conv is fused again"
assert gemm[0] > 10 and "QGemm" in gemm[1], "Gemm compares the scale of its bias now"
EOF
