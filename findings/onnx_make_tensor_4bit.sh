#!/usr/bin/env bash
# onnx makes other numbers of 4-bit and 2-bit values that do not fit, where it refuses 8-bit ones.
#
# `helper.make_tensor` raises OverflowError for 300 as int8 or uint8. For int4, uint4, int2 and uint2 it keeps the lowest bits:
# 8 as int4 is stored as -8, the largest weight with its sign turned. So does a plain cast to the types of ml_dtypes, which is what
# numpy_helper takes. Symmetric rounding that forgets to clip gives 8 exactly where a weight is the largest of its block.
#
# onnx 1.23.2, numpy 2.4.6, ml_dtypes 0.6.0; any CPU.
# Seen, for 7 8 -9 300:
#   INT8   OverflowError: Python integer 300 out of bounds for int8
#   UINT8  OverflowError: Python integer -9 out of bounds for uint8
#   INT4   7 -8 7 -4
#   UINT4  7 8 7 12
#   INT2   -1 0 -1 0
#   UINT2  3 0 3 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 numpy==2.4.6 ml_dtypes==0.6.0
"$work/env/bin/python" - <<'EOF'
import ml_dtypes
import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

VALUES = [7, 8, -9, 300]


def stored(kind):
    """The numbers in the tensor, or what was raised."""
    try:
        tensor = helper.make_tensor("w", getattr(TensorProto, kind), [4], VALUES)
    except (OverflowError, ValueError) as refused:
        return f"{type(refused).__name__}: {refused}"
    checker.check_tensor(tensor)
    return " ".join(str(int(v)) for v in numpy_helper.to_array(tensor))


found = {kind: stored(kind) for kind in ("INT8", "UINT8", "INT4", "UINT4", "INT2", "UINT2")}
for kind, text in found.items():
    print(f"{kind:6} {text}")
assert found["INT8"].startswith("OverflowError") and found["UINT8"].startswith("OverflowError")
assert [found[k] for k in ("INT4", "UINT4", "INT2", "UINT2")] == ["7 -8 7 -4", "7 8 7 12", "-1 0 -1 0", "3 0 3 0"], "it is otherwise now"
assert np.array([8]).astype(ml_dtypes.int4).astype(int).tolist() == [-8], "a cast saturates now"
EOF
