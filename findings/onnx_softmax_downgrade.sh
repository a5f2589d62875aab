#!/usr/bin/env bash
# onnx's version converter changes what a Softmax computes when it lowers the opset from 13 to 12 or less.
#
# Up to opset 12 a Softmax of axis k normalizes over all dimensions from k on; from 13 on over dimension k alone. Upwards the
# converter knows: it writes Flatten and Reshape around the new one. Downwards it changes the number of the opset and nothing else,
# so that a Softmax over channels becomes one over channels, rows and columns: every probability of a segmentation map is too small
# by about the number of its pixels. The file passes the checker. LogSoftmax is the same; the last axis is right by chance.
#
# Toolchains for devices that stay at opset 11 or 12 are why files are lowered.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen, the sum over the channels of one pixel of 1 x 3 x 8 x 8, axis 1:
#   opset 13                  1.0000
#   13 to 12: Softmax         0.0156
#   13 to 11: Softmax         0.0156
#   opset 11                  0.0156
#   11 to 13: Shape Flatten Softmax Reshape 0.0156
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
from onnx import checker, parser, version_converter

X = np.random.default_rng(0).uniform(0, 1e-3, (1, 3, 8, 8)).astype(np.float32)


def model(opset, operator="Softmax"):
    return parser.parse_model(
        f"""<ir_version: 7, opset_import: ["" : {opset}]> g (float[1,3,8,8] x) => (float[1,3,8,8] y) {{
            y = {operator}<axis = 1>(x) }}"""
    )


def run(made):
    checker.check_model(made, full_check=True)
    return ort.InferenceSession(made.SerializeToString()).run(None, {"x": X})[0]


def tell(name, made):
    total = float(run(made)[0, :, 0, 0].sum())
    print(f"{name:25} {total:.4f}")
    return total


def converted(source, to):
    made = version_converter.convert_version(model(source), to)
    assert made.opset_import[0].version == to
    return tell(f"{source} to {to}: {' '.join(n.op_type for n in made.graph.node)}", made)


new = tell("opset 13", model(13))
lowered = [converted(13, 12), converted(13, 11)]
old = tell("opset 11", model(11))
raised = converted(11, 13)
assert abs(new - 1) < 1e-3 and abs(old - 1 / 64) < 1e-3 and abs(raised - old) < 1e-5
assert all(abs(total - old) < 1e-5 for total in lowered), "lowering keeps what is computed now"
before, after = run(model(13, "LogSoftmax")), run(version_converter.convert_version(model(13, "LogSoftmax"), 11))
assert np.abs(before - after).max() > 4, "lowering keeps a LogSoftmax now"
EOF
