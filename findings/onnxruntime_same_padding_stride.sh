#!/usr/bin/env bash
# Where the stride is longer than the kernel, SAME padding puts onnxruntime's windows in other places for every operator.
#
# auto_pad SAME_UPPER or SAME_LOWER asks for ceil(input / stride) outputs. With a stride longer than the kernel nothing has to be
# padded for that; TensorFlow, where the mode comes from, pads 0 and starts at the first pixel. onnxruntime 1.32 takes a negative
# padding: MaxPool loads, then fails at its first run; AveragePool and LpPool cut pixels off at the start; Conv does so as well, but
# rounds the half of an odd padding otherwise, so that an average pool written as a depthwise Conv reads other pixels. SAME_UPPER
# and SAME_LOWER, equal by the text where the padding is even, start apart.
#
# Such a layer takes every fourth pixel: one pixel off is a shift of the feature map that calibration and accuracy alone show.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen, the first pixel read of 1 2 3 4 5 6 7 8, by strides of 4, where TensorFlow's is 1:
#                          MaxPool   AveragePool   LpPool   Conv
#   kernel 2, SAME_UPPER   fails     2             2        1
#   kernel 2, SAME_LOWER   fails     1             1        1
#   kernel 1, SAME_UPPER   fails     2             2        2
#   kernel 1, SAME_LOWER   fails     2             2        1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser

X = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 8)
OPERATORS = ("MaxPool", "AveragePool", "LpPool", "Conv")


def first(op, kernel, mode):
    """The first pixel of the first window, or 'fails'."""
    kind = "p = 1, " if op == "LpPool" else ""
    made = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[1,1,8] x) => (float[1,1,2] y) {{
            y = {op}<{kind}kernel_shape = [{kernel}], strides = [4], auto_pad = "{mode}">({"x, w" if op == "Conv" else "x"}) }}"""
    )
    if op == "Conv":
        made.graph.initializer.append(numpy_helper.from_array(np.full((1, 1, kernel), 1 / kernel, np.float32), "w"))
    checker.check_model(made, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 4  # the failed run is told below
    session = ort.InferenceSession(made.SerializeToString(), options)
    try:
        mean = float(session.run(None, {"x": X})[0].ravel()[0])
    except Exception as refused:
        assert "padding values must be non-negative" in str(refused), refused
        return "fails"
    mean = mean / kernel if op == "LpPool" else mean
    return f"{mean - (kernel - 1) / 2:g}"


EXPECTED = {
    (2, "SAME_UPPER"): ["fails", "2", "2", "1"], (2, "SAME_LOWER"): ["fails", "1", "1", "1"],
    (1, "SAME_UPPER"): ["fails", "2", "2", "2"], (1, "SAME_LOWER"): ["fails", "2", "2", "1"],
}
print(f"{'':22} MaxPool   AveragePool   LpPool   Conv")
for (kernel, mode), expected in EXPECTED.items():
    found = [first(op, kernel, mode) for op in OPERATORS]
    print(f"kernel {kernel}, {mode:12} {found[0]:9} {found[1]:13} {found[2]:8} {found[3]}")
    assert found == expected, "the windows start elsewhere now"
EOF
