#!/usr/bin/env bash
# onnxruntime drops a Cast to float16 where it computes what reads it in float32: the values are never rounded.
#
# For most float16 operators onnxruntime's CPU provider has no kernel. It computes them in float32 and puts a Cast from float16
# before them. Where the file's own Cast to float16 stands there, it takes out both, at every level of optimization,
# ORT_DISABLE_ALL too: 1.0009 is not rounded to 1.000977, 100000 is not infinite, 1e-8 is not 0. If the float16 tensor is an output,
# too, one run tells of it one value, and of its negative another. An Identity after the Cast saves the rounding at
# ORT_DISABLE_ALL alone. A Cast to float16 and back that the file has itself does round.
#
# So onnxruntime on a CPU does not tell whether a float16 file overflows, and is no reference for its last bits: a difference to a
# GPU may be its own. onnx's reference evaluator rounds.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; x86-64, seen on an AMD EPYC.
# Seen, of x = 1.0009, 100000, 1e-8, at every level but where one is named:
#   Cast to float16 and back:           1.000977, inf, 0
#   Cast, Neg in float16, Cast back:    -1.0009, -100000, -1e-08, onnx's reference: -1.000977, -inf, -0
#   the float16 tensor as output, too:  1.000977, inf, 0, its Neg: -1.0009, -100000, -1e-08
#   Cast, Identity, Neg, Cast back:     -1.000977, -inf, -0 at ORT_DISABLE_ALL, -1.0009, -100000, -1e-08 at ORT_ENABLE_ALL
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import warnings

import numpy as np
import onnxruntime as ort
from onnx import checker, parser
from onnx.reference import ReferenceEvaluator

warnings.simplefilter("ignore")  # numpy tells of the overflow that is meant
x = np.float32([1.0009, 100000, 1e-8])
levels = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


def shown(values):
    return ", ".join(f"{value:.7g}" for value in values.astype(np.float32))


def run(nodes, outputs="float[3] y"):
    """The outputs as text: by level, and by onnx's reference."""
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => ({outputs}) {{ {nodes} }}')
    checker.check_model(made, full_check=True)
    found = {}
    for level in levels:
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found[level] = [shown(each) for each in session.run(None, {"x": x})]
    return found, [shown(each) for each in ReferenceEvaluator(made).run(None, {"x": x})]


rounded, minus, plain = "1.000977, inf, 0", "-1.000977, -inf, -0", "-1.0009, -100000, -1e-08"
found, reference = run("h = Cast<to = 10>(x)  y = Cast<to = 1>(h)")
print("Cast to float16 and back:          ", *found["ORT_DISABLE_ALL"])
assert reference == [rounded] and all(each == [rounded] for each in found.values())

found, reference = run("h = Cast<to = 10>(x)  n = Neg(h)  y = Cast<to = 1>(n)")
print("Cast, Neg in float16, Cast back:   ", found["ORT_DISABLE_ALL"][0] + ", onnx's reference:", *reference)
assert reference == [minus] and all(each == [plain] for each in found.values()), "the values are rounded now"

found, _ = run("h = Cast<to = 10>(x)  n = Neg(h)  y = Cast<to = 1>(n)", "float16[3] h, float[3] y")
print("the float16 tensor as output, too: ", ", its Neg: ".join(found["ORT_DISABLE_ALL"]))
assert all(each == [rounded, plain] for each in found.values())

found, _ = run("h = Cast<to = 10>(x)  i = Identity(h)  n = Neg(i)  y = Cast<to = 1>(n)")
print("Cast, Identity, Neg, Cast back:    ", end=" ")
print(*(f"{found[level][0]} at {level}" for level in (levels[0], levels[-1])), sep=", ")
assert found[levels[0]] == [minus] and found[levels[-1]] == [plain]
EOF
