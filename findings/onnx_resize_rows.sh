#!/usr/bin/env bash
# onnx's shape inference and onnxruntime do not agree how many rows a Resize by 1.4 makes of 5.
#
# The size is floor(rows * scale), and the scale is a float32. onnx multiplies in float64, where float32's 1.4 is 1.39999998: 6 rows.
# onnxruntime multiplies in float32, where the product is rounded up to 7.0: 7 rows. Both follow the words of the standard, and it is
# the whole products, the ones that somebody chose, that they differ in. The reference implementation goes with the inference.
#
# A runtime that trusts inferred shapes (a buffer plan, a code generator) has a buffer one row short of what another one fills.
# `sizes` in the place of `scales` has no such product.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen, rows by shape inference, reference implementation, onnxruntime:
#   5 rows by 1.4:   6 6 7
#   10 rows by 0.7:  6 6 7
#   10 rows by 2.3:  22 22 23
#   5 rows by 1.5:   7 7 7
#   10 rows by 2.2:  22 22 22
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser, shape_inference
from onnx.reference import ReferenceEvaluator

ort.set_default_logger_severity(3)  # it may warn of the shape that it infers itself


def rows(count, scale):
    """Rows by shape inference, by the reference implementation, by onnxruntime."""
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[1,1,{count},3] x) => (float[a,b,c,d] y) {{
            y = Resize<mode = "nearest">(x, , scales) }}"""
    )
    made.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, scale, 1], np.float32), "scales"))
    checker.check_model(made, full_check=True)
    x = np.zeros((1, 1, count, 3), np.float32)
    inferred = shape_inference.infer_shapes(made, strict_mode=True, data_prop=True).graph.output[0].type.tensor_type.shape
    reference = ReferenceEvaluator(made).run(None, {"x": x})[0]
    ran = ort.InferenceSession(made.SerializeToString()).run(None, {"x": x})[0]
    return inferred.dim[2].dim_value, reference.shape[2], ran.shape[2]


differ, same = [(5, 1.4), (10, 0.7), (10, 2.3)], [(5, 1.5), (10, 2.2)]
for count, scale in differ + same:
    inferred, reference, ran = rows(count, scale)
    print(f"{f'{count} rows by {scale}:':16} {inferred} {reference} {ran}")
    assert inferred == reference, "the reference implementation has another shape than the inference"
    assert (ran - inferred) == ((count, scale) in differ), f"{count} rows by {scale}: it is otherwise now"
EOF
