#!/usr/bin/env bash
# 2-bit weights give wrong numbers in onnxruntime where the output channels are no multiple of 4.
#
# A MatMul whose weight is a dequantized int2 tensor becomes MatMulNBits. Four 2-bit numbers lie in a byte, and the rewriting lays
# the bytes out anew; with 3, 6 or 10 columns the result has nothing to do with the graph as it is written, with 4 or 8 it is that
# graph but for the rounding of the activations. Nothing is said: the checker passes the file, the session loads, the numbers have
# a plausible size. The same shapes of int4 are right.
#
# A classifier of 10 or 1,001 classes, or a head of 6 outputs, is enough.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, ml_dtypes 0.6.0; any CPU (the graph is rewritten).
# Seen, the error as a part of the largest output:
#   int2  3 columns 0.84    4 columns 0.00    6 columns 1.45    8 columns 0.01   10 columns 1.58   12 columns 0.01
#   int4  3 columns 0.00    4 columns 0.01    6 columns 0.00    8 columns 0.01   10 columns 0.01   12 columns 0.01
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 ml_dtypes==0.6.0
"$work/env/bin/python" - <<'EOF'
import ml_dtypes
import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser

COLUMNS = (3, 4, 6, 8, 10, 12)


def error(kind, low, columns):
    """The largest difference between the optimized graph and the written one, over the largest output."""
    draw = np.random.default_rng(columns)
    made = parser.parse_model(
        f"""<ir_version: 13, opset_import: ["" : 25]> g (float[4,64] x) => (float[4,{columns}] y) {{
            d = DequantizeLinear<axis = 1>(w, s)  y = MatMul(x, d) }}"""
    )
    weight = draw.integers(low, -low, (64, columns)).astype(kind)
    scales = draw.uniform(0.1, 0.2, columns).astype(np.float32)
    made.graph.initializer.extend([numpy_helper.from_array(weight, "w"), numpy_helper.from_array(scales, "s")])
    checker.check_model(made, full_check=True)
    x = draw.standard_normal((4, 64)).astype(np.float32)

    def run(level):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        return ort.InferenceSession(made.SerializeToString(), options).run(None, {"x": x})[0]

    written = run(ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    return float(np.abs(run(ort.GraphOptimizationLevel.ORT_ENABLE_ALL) - written).max() / np.abs(written).max())


two = {n: error(ml_dtypes.int2, -2, n) for n in COLUMNS}
four = {n: error(ml_dtypes.int4, -8, n) for n in COLUMNS}
for name, found in ("int2", two), ("int4", four):
    print(name, "   ".join(f"{n:2} columns {off:.2f}" for n, off in found.items()))
assert all(off < 0.05 for off in four.values()), "int4 is wrong as well now"
assert all(off < 0.05 for n, off in two.items() if n % 4 == 0), "int2 is wrong for multiples of 4 as well now"
assert all(off > 0.3 for n, off in two.items() if n % 4), "int2 is right now"
EOF
