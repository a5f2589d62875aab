#!/usr/bin/env bash
# A Conv or MatMul with int2 weights between quantized activations does not load in onnxruntime; with int4 weights it does.
#
# The fusions that make integer operators of Q/DQ pairs know that there is no integer kernel of 4-bit weights and leave those alone:
# they are dequantized and multiplied as floats. 2-bit weights they do not know. The valid model is rewritten to a QLinearConv,
# QLinearMatMul or QGemm of int2, which onnxruntime then refuses as an invalid model. Without fusions, at
# ORT_ENABLE_BASIC, the file runs. A Gemm meets it where its weight names a zero point.
#
# So 2-bit weights beside quantized activations need the fusions off, which costs the integer kernels of all the other layers.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, ml_dtypes 0.6.0; any CPU (the graph is rewritten).
# Seen:
#   Conv   int4 loads   int2 'tensor(int2)' of input parameter (w) of operator (QLinearConv)     without fusions int2 loads
#   MatMul int4 loads   int2 'tensor(int2)' of input parameter (w) of operator (QLinearMatMul)   without fusions int2 loads
#   Gemm   int4 loads   int2 'tensor(int2)' of input parameter (w) of operator (QGemm)           without fusions int2 loads
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 ml_dtypes==0.6.0
"$work/env/bin/python" - <<'EOF'
import re

import ml_dtypes
import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser

SHAPES = {"Conv": ("1,8,6,6", (8, 8, 1, 1)), "MatMul": ("4,8", (8, 8)), "Gemm": ("4,8", (8, 8))}


def loads(op, kind, level="ORT_ENABLE_ALL"):
    """'loads', or what is refused."""
    shape, weight = SHAPES[op]
    made = parser.parse_model(
        f"""<ir_version: 13, opset_import: ["" : 25]> g (float[{shape}] x) => (float[{shape}] y) {{
            q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  k = DequantizeLinear(w, s, wz)
            c = {op}(d, k)  o = QuantizeLinear(c, s, z)  y = DequantizeLinear(o, s, z) }}"""
    )
    constants = {"s": np.float32(0.1), "z": np.uint8(128), "w": np.ones(weight).astype(kind), "wz": np.array(0, kind)}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    try:
        ort.InferenceSession(made.SerializeToString(), options)
    except Exception as refused:
        return re.search(r"'tensor.*operator \(\w+\)", str(refused)).group()
    return "loads"


for op in SHAPES:
    four, two, basic = loads(op, ml_dtypes.int4), loads(op, ml_dtypes.int2), loads(op, ml_dtypes.int2, "ORT_ENABLE_BASIC")
    print(f"{op:6} int4 {four}   int2 {two:67}   without fusions int2 {basic}")
    assert four == basic == "loads", "int4, or int2 without fusions, does not load now"
    assert "tensor(int2)" in two, "int2 loads now"
EOF
