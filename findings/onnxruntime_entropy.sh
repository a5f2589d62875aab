#!/usr/bin/env bash
# Calibration by "Entropy" is MinMax under another name where onnxruntime's quantize_static does it.
#
# Entropy is to cut outliers: it compares ranges of growing width by the divergence of what they keep. `quantize_static` cannot pass
# the number of bins; the defaults are 128 bins for the histogram and 128 for the quantized values. The narrowest range tried is that
# of 128 bins: the whole histogram. One candidate is left, the minimum and maximum. (With more bins, through the class beneath, it
# does cut. The histogram also grows when later data is wider: the answer depends on the order of the samples.)
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen, for normal data with one element in 1,536 of 60, all samples in one batch:
#   MinMax                -4.01 to 59.89
#   Entropy               -4.01 to 59.89   from quantize_static
#   Entropy, 2,048 bins   -3.90 to 4.45    from the calibrator
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work" && env/bin/python - <<'EOF' 2>&1 | grep -v -e "^Collecting" -e "^Finding" -e "^Number of" -e "WARNING"
import numpy as np
import onnx
from onnx import checker, numpy_helper, parser
from onnxruntime import quantization as q
from onnxruntime.quantization.calibrate import EntropyCalibrater

draw = np.random.default_rng(0)
data = draw.standard_normal((8, 3, 8, 8)).astype(np.float32)
data[3, 0, 0, 0] = 60
made = parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17]> g (float[8,3,8,8] x) => (float[8,4,6,6] y) { y = Conv(x, w) }'
)
made.graph.initializer.append(numpy_helper.from_array(draw.standard_normal((4, 3, 3, 3)).astype(np.float32), "w"))
checker.check_model(made, full_check=True)
onnx.save(made, "float.onnx")


class Reader(q.CalibrationDataReader):
    def __init__(self):
        self.rest = [{"x": data}]

    def get_next(self):
        return self.rest.pop() if self.rest else None


def quantized(method):
    """The range that the scale and the zero point of the input stand for."""
    q.quantize_static("float.onnx", "int8.onnx", Reader(), calibrate_method=method)
    found = {t.name: numpy_helper.to_array(t) for t in onnx.load("int8.onnx").graph.initializer}
    scale, zero = float(found["x_scale"]), int(found["x_zero_point"])
    return (-128 - zero) * scale, (127 - zero) * scale


def calibrated(bins):
    """The range that the calibrator beneath finds with so many bins."""
    calibrator = EntropyCalibrater("float.onnx", augmented_model_path="augmented.onnx", num_bins=bins)
    calibrator.augment_graph()
    calibrator.create_inference_session()
    calibrator.collect_data(Reader())
    return tuple(float(v) for v in calibrator.compute_data().data["x"].range_value)


minmax, entropy, fine = quantized(q.CalibrationMethod.MinMax), quantized(q.CalibrationMethod.Entropy), calibrated(2048)
print(f"MinMax                {minmax[0]:.2f} to {minmax[1]:.2f}")
print(f"Entropy               {entropy[0]:.2f} to {entropy[1]:.2f}   from quantize_static")
print(f"Entropy, 2,048 bins   {fine[0]:.2f} to {fine[1]:.2f}    from the calibrator")
assert fine[1] < 10, "with many bins nothing is cut either"
assert entropy == minmax and minmax[1] > 59, "quantize_static's Entropy is not MinMax any more"
EOF
