#!/usr/bin/env bash
# A linear Resize of integers darkens the picture in onnxruntime: it cuts fractions off where onnx rounds.
#
# Resize takes uint8 and int8, and a tensor whose Q/DQ pairs were moved around a Resize is one. onnxruntime computes in float and
# cuts the fraction off, so that uint8 loses half a step on average and int8 is pulled towards 0, whatever its zero point.
# The reference implementation of onnx itself rounds to the nearest. Nearly every second element differs between the two.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen, 64 x 64 from 32 x 32 random elements, against the same Resize of floats:
#   uint8 onnxruntime  mean error -0.466, equal to what is cut off: all of 4096
#   uint8 onnx         mean error +0.007, equal to what is rounded: all of 4096
#   int8  onnxruntime  mean error -0.042, equal to what is cut off: all of 4096
#   int8  onnx         mean error +0.007, equal to what is rounded: all of 4096
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

DRAWN = np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32))


def model(kind):
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g ({kind}[1,1,32,32] x) => ({kind}[1,1,64,64] y) {{
            y = Resize<mode = "linear">(x, , scales) }}"""
    )
    made.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    checker.check_model(made, full_check=True)
    return made


def runtime(made, x):
    return ort.InferenceSession(made.SerializeToString()).run(None, {"x": x})[0]


for kind, low in ("uint8", 0), ("int8", -128):
    x = DRAWN + low
    exact = runtime(model("float"), x.astype(np.float32))
    ours = runtime(model(kind), x.astype(kind))
    theirs = ReferenceEvaluator(model(kind)).run(None, {"x": x.astype(kind)})[0]
    cut, rounded = (ours == np.trunc(exact)).all(), (theirs == np.rint(exact)).all()
    assert cut, f"{kind}: onnxruntime does not cut off any more"
    assert rounded, f"{kind}: onnx does not round any more"
    print(f"{kind:5} onnxruntime  mean error {(ours - exact).mean():+.3f}, equal to what is cut off: all of {exact.size}")
    print(f"{kind:5} onnx         mean error {(theirs - exact).mean():+.3f}, equal to what is rounded: all of {exact.size}")
    assert (ours != theirs).mean() > 0.4
EOF
