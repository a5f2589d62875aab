#!/usr/bin/env bash
# 4-bit weights written in ONNX text are read as other numbers.
#
# A TensorProto packs two 4-bit numbers into each element of `int32_data`. The parser of onnx's text form stores one number per
# element. Nothing minds: the checker passes the tensor, and `numpy_helper.to_array` unpacks the first half of the elements into
# all of the places, each number followed by its sign (0 or -1). The printer is no help: it writes `...` for packed data, which
# the parser does not take. onnxruntime alone compares sizes and refuses.
#
# Whoever keeps golden models of weight-only quantization as text, or writes a test case that way, compares against the wrong
# weights in every tool that reads them through onnx. 8-bit numbers are right.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen:
#   int4  written 1 -2 3 -4 5 6   read 1 0 -2 -1 3 0
#   uint4 written 1 2 3 4 15 6     read 1 0 2 0 3 0
#   int8  written 1 -2 3 -4 5 6   read 1 -2 3 -4 5 6
#   onnxruntime refuses int4: data field count (6) does not match expected count from shape (3)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import onnxruntime as ort
from onnx import checker, numpy_helper, parser, printer


def read(kind, written):
    model = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[1,2] x) => (float[1,3] y)
            <{kind}[2,3] w = {{ {", ".join(map(str, written))} }}, float s = {{0.5}}>
            {{ d = DequantizeLinear(w, s)  y = MatMul(x, d) }}"""
    )
    checker.check_model(model, full_check=True)
    found = [int(value) for value in numpy_helper.to_array(model.graph.initializer[0]).ravel()]
    print(f"{kind:5} written {' '.join(map(str, written)):14}   read {' '.join(map(str, found))}")
    return model, found


signed, plain = [1, -2, 3, -4, 5, 6], [1, 2, 3, 4, 15, 6]
model, four = read("int4", signed)
_, unsigned = read("uint4", plain)
_, eight = read("int8", signed)
assert eight == signed
assert four == [1, 0, -2, -1, 3, 0] and unsigned == [1, 0, 2, 0, 3, 0], "4-bit numbers are read otherwise now"
ort.set_default_logger_severity(4)
try:
    ort.InferenceSession(model.SerializeToString())
except Exception as refused:
    print("onnxruntime refuses int4:", str(refused).strip().rsplit(": ", 1)[-1])
    assert "data field count (6)" in str(refused)
else:
    raise SystemExit("onnxruntime takes the tensor now")
packed = numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0]), "w")
model.graph.initializer[0].CopyFrom(packed)
text = printer.to_text(model)
assert "w =  ..." in text or "w = ..." in text, "the printer writes packed numbers now"
try:
    parser.parse_model(text)
except parser.ParseError:
    pass
else:
    raise SystemExit("the parser takes what the printer writes now")
EOF
