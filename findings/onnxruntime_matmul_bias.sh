#!/usr/bin/env bash
# A bias added behind an int8 MatMul makes it a float one in onnxruntime.
#
# A MatMul of dequantized operands that leaves floats becomes MatMulIntegerToFloat: integer products. With an Add of a float vector
# behind it, another fusion comes first and makes both a Gemm; and a Gemm whose float output nothing quantizes stays in float when
# its bias is float. So the bias, a thousandth of the work, takes the integers from the products, and the weight is dequantized
# anew in every run. With a bias stored as int32 and dequantized it is a QGemm again; so it is where the result is quantized.
#
# PyTorch exports a linear layer of three-dimensional input as MatMul and Add: attention and MLPs of a transformer.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU (the times: one thread of an EPYC with VNNI).
# Seen, for 64 x 768 by 768 x 768 (times differ between runs and CPUs and are not held):
#   MatMul             MatMulIntegerToFloat                     0.2 ms
#   MatMul, float bias DequantizeLinear DequantizeLinear Gemm   0.8 ms
#   MatMul, ReLU       MatMulIntegerToFloat Relu                0.2 ms
#   Gemm, int32 bias   QGemm                                    0.2 ms
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work" && env/bin/python - <<'EOF'
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import checker, numpy_helper, parser

draw = np.random.default_rng(0)
X = draw.standard_normal((64, 768)).astype(np.float32)
CONSTANTS = {
    "s": np.float32(0.05), "z": np.uint8(128), "w": draw.integers(-90, 91, (768, 768)).astype(np.int8), "ws": np.float32(0.01),
    "wz": np.int8(0), "b": draw.standard_normal(768).astype(np.float32), "bi": np.arange(768, dtype=np.int32),
    "bs": np.float32(0.05) * np.float32(0.01),
}


def ran(layer):
    """The operators that run, but for the Q of the input, and the best of 20 times in ms."""
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[64,768] x) => (float[64,768] y) {{
            q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  wd = DequantizeLinear(w, ws, wz)  {layer} }}"""
    )
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in CONSTANTS.items())
    checker.check_model(made, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # it warns that such a file is for this machine
    options.optimized_model_filepath = "ran.onnx"
    session = ort.InferenceSession(made.SerializeToString(), options)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        session.run(None, {"x": X})
        times.append(time.perf_counter() - start)
    return [n.op_type for n in onnx.load("ran.onnx").graph.node if n.op_type != "QuantizeLinear"], 1000 * min(times)


layers = {
    "MatMul": "y = MatMul(d, wd)", "MatMul, float bias": "m = MatMul(d, wd)  y = Add(m, b)",
    "MatMul, ReLU": "m = MatMul(d, wd)  y = Relu(m)", "Gemm, int32 bias": "bd = DequantizeLinear(bi, bs)  y = Gemm(d, wd, bd)",
}
found = {}
for name, layer in layers.items():
    found[name], took = ran(layer)
    print(f"{name:18} {' '.join(found[name]):40} {took:.1f} ms")
assert found["MatMul"] == ["MatMulIntegerToFloat"] and found["MatMul, ReLU"] == ["MatMulIntegerToFloat", "Relu"]
assert found["Gemm, int32 bias"] == ["QGemm"], "a Gemm of an int32 bias is not fused any more"
assert sorted(found["MatMul, float bias"]) == ["DequantizeLinear", "DequantizeLinear", "Gemm"], "a biased MatMul stays int8 now"
EOF
