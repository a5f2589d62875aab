#!/usr/bin/env bash
# Where only the weights are quantized in blocks, onnxruntime quantizes the activations to int8 as well, unasked.
#
# A DequantizeLinear in blocks of 4 or 8 bit weights and the MatMul behind it become com.microsoft's MatMulNBits, with accuracy
# level 4 unless the session's setting `session.qdq_matmulnbits_accuracy_level` says otherwise. At 4 each block of each row of the
# activation, float in the file, is rounded to int8 by its largest value. One value of 1000 in a block makes 0 of all that are
# below 3.9 there. The fusion wants a block size that is a power of two: the same numbers in blocks of 48 are multiplied as floats.
#
# So what weight-only quantization costs in accuracy is not what onnxruntime shows by default: set the level to 1 (float32) to
# measure it, and look for outliers before that.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, ml-dtypes 0.6.0; x86-64 with AVX2. Seen on an AMD EPYC with VNNI, as y of
# x = 1000, 1, 1, 1, ... (192 values) and int4 weights of 0, 1, 1, 1, ..., which is 191 (63 ones beside the 1000 are lost):
#   blocks of 64, by default:                y = 128
#   blocks of 64, accuracy level 1:          y = 191
#   blocks of 64, no fusions (ENABLE_BASIC): y = 191
#   blocks of 48, by default:                y = 191
#   int8 weights in blocks of 64:            y = 128
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 ml-dtypes==0.6.0
"$work/env/bin/python" - <<'EOF'
import ml_dtypes
import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser

size, columns = 192, 16
x = np.ones((1, size), np.float32)
x[0, 0] = 1000
weights = np.ones((size, columns), np.int8)
weights[0] = 0


def run(block, kind=ml_dtypes.int4, level="ORT_ENABLE_ALL", **settings):
    made = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[1,{size}] x) => (float[1,{columns}] y) {{
        k = DequantizeLinear<axis = 0, block_size = {block}>(w, s)  y = MatMul(x, k) }}"""
    )
    constants = {"w": weights.astype(kind), "s": np.ones((size // block, columns), np.float32)}
    made.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    for name, value in settings.items():
        options.add_session_config_entry(f"session.{name}", value)
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return sorted(set(session.run(None, {"x": x})[0].ravel().tolist()))


cases = {
    "blocks of 64, by default:               ": (run(64), 128),
    "blocks of 64, accuracy level 1:         ": (run(64, qdq_matmulnbits_accuracy_level="1"), 191),
    "blocks of 64, no fusions (ENABLE_BASIC):": (run(64, level="ORT_ENABLE_BASIC"), 191),
    "blocks of 48, by default:               ": (run(48), 191),
    "int8 weights in blocks of 64:           ": (run(64, np.int8), 128),
}
for name, (found, _) in cases.items():
    print(name, "y =", ", ".join(f"{value:.7g}" for value in found))
for name, (found, expected) in cases.items():
    assert np.allclose(found, expected, rtol=1e-4), f"{name} otherwise now"
EOF
