#!/usr/bin/env bash
# onnx's checker passes scales that do not fit what they scale, in shape, in count and in axis.
#
# `check_model(..., full_check=True)` infers shapes and compares types. It does not compare a DequantizeLinear's scales with its
# data: five scales for three channels, scales along axis 7 of a matrix, blocks of 2 with scales for blocks of 4, and a zero point of
# another shape than its scale all pass, with strict inference as well. onnxruntime refuses each when it runs or loads it.
#
# A quantizer whose tests end with the checker has not tested its scales.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen:
#   3 scales, 3 channels       checker passes, onnxruntime runs
#   5 scales, 3 channels       checker passes, onnxruntime refused
#   axis 7 of a matrix         checker passes, onnxruntime refused
#   blocks of 2, scales for 4  checker passes, onnxruntime refused
#   3 scales, 2 zero points    checker passes, onnxruntime refused
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser, shape_inference

ort.set_default_logger_severity(4)


def verdict(attributes, scales, zeros):
    """Whether the checker passes it, and whether onnxruntime runs it."""
    made = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[1,4] x) => (float[1,3] y) {{
            d = DequantizeLinear<{attributes}>(w, s, z)  y = MatMul(x, d) }}"""
    )
    constants = {"w": np.ones((4, 3), np.int8), "s": np.ones(scales, np.float32), "z": np.zeros(zeros, np.int8)}
    made.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    try:
        checker.check_model(made, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as refused:
        return f"refused: {str(refused).splitlines()[0]}", ""
    try:
        ort.InferenceSession(made.SerializeToString()).run(None, {"x": np.ones((1, 4), np.float32)})
    except Exception:
        return "passes", "refused"
    return "passes", "runs"


cases = {
    "3 scales, 3 channels": ("axis = 1", 3, 3), "5 scales, 3 channels": ("axis = 1", 5, 5), "axis 7 of a matrix": ("axis = 7", 3, 3),
    "blocks of 2, scales for 4": ("axis = 0, block_size = 2", (1, 3), (1, 3)), "3 scales, 2 zero points": ("axis = 1", 3, 2),
}
for name, case in cases.items():
    checked, ran = verdict(*case)
    print(f"{name:26} checker {checked}, onnxruntime {ran}")
    assert checked == "passes", f"{name}: the checker refuses it now"
    assert ran == ("runs" if name == "3 scales, 3 channels" else "refused"), f"{name}: onnxruntime says otherwise now"
EOF
