#!/usr/bin/env bash
# The option that makes onnxruntime's calibration thrifty throws most of the samples away.
#
# `CalibMaxIntermediateOutputs` is to bound how many intermediate outputs are held at once: reduce what is there, clear, go on. The
# clearing comes without the reducing. Of 8 samples and N = 3 the last 2 count; where N divides their number, none is left, and the
# call ends with "No data is collected". Where it does not, a model is written with scales from the samples that were left.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen, 8 samples of which number k lies in [-k, k] and number 1 has an element of 60, MinMax, the range of the input:
#   without   -8.00 to 60.00
#   N = 3     -8.03 to 7.97
#   N = 7     -8.03 to 7.97
#   N = 4     ValueError: No data is collected.
#   N = 9     -8.00 to 60.00
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work" && env/bin/python - <<'EOF' 2>&1 | grep -v WARNING
import numpy as np
import onnx
from onnx import checker, numpy_helper, parser
from onnxruntime import quantization as q

draw = np.random.default_rng(0)
data = [np.linspace(-k, k, 192, dtype=np.float32).reshape(1, 3, 8, 8) for k in range(1, 9)]
data[0][0, 1, 2, 3] = 60
made = parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,8,8] x) => (float[1,4,6,6] y) { y = Conv(x, w) }'
)
made.graph.initializer.append(numpy_helper.from_array(draw.standard_normal((4, 3, 3, 3)).astype(np.float32), "w"))
checker.check_model(made, full_check=True)
onnx.save(made, "float.onnx")


class Reader(q.CalibrationDataReader):
    def __init__(self):
        self.rest = iter(data)

    def get_next(self):
        sample = next(self.rest, None)
        return None if sample is None else {"x": sample}


def calibrated(options):
    """The range that the scale and the zero point of the input stand for, or what was raised."""
    try:
        q.quantize_static("float.onnx", "int8.onnx", Reader(), extra_options=options)
    except ValueError as refused:
        return f"ValueError: {refused}"
    found = {t.name: numpy_helper.to_array(t) for t in onnx.load("int8.onnx").graph.initializer}
    scale, zero = float(found["x_scale"]), int(found["x_zero_point"])
    return f"{(-128 - zero) * scale:.2f} to {(127 - zero) * scale:.2f}"


found = {"without": calibrated({})}
found |= {f"N = {n}": calibrated({"CalibMaxIntermediateOutputs": n}) for n in (3, 7, 4, 9)}
for name, text in found.items():
    print(f"{name:9} {text}")
assert found["without"] == found["N = 9"] and found["without"].endswith(" to 60.00"), "the range is another from all samples"
assert found["N = 3"] == found["N = 7"] and found["N = 3"].endswith(" to 7.97"), "the samples before the last batch count now"
assert found["N = 4"] == "ValueError: No data is collected.", "the last full batch counts now"
EOF
