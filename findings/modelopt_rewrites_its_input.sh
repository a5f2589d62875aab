#!/usr/bin/env bash
# Model Optimizer's ONNX quantizer writes into the model file that it was given.
#
# modelopt.onnx.quantization.quantize(onnx_path, output_path=..) puts the quantized model at output_path, and the shapes that it
# infers into onnx_path: onnx.shape_inference.infer_shapes_path without an output path writes over its input. The float model has
# another hash afterwards, whatever the method: in a repository it shows as changed, and a cache or a lock that knows it by its hash
# takes it for another model.
#
# nvidia-modelopt 0.47.0, onnx 1.21.0, onnxruntime 1.24.4, torch 2.13.0, numpy 2.4.6.
# Seen:
#   max:      18651 bytes before, 18738 after; tensors with a shape: 0 before, 3 after
#   entropy:  the same
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
pip="$work/env/bin/pip install -q"
$pip onnx==1.21.0 onnxruntime==1.24.4 numpy==2.4.6 torch==2.13.0 onnx-graphsurgeon==0.6.1 onnxconverter-common==1.16.0 \
  onnxscript==0.7.2 onnxslim==0.1.98 polygraphy==0.53.6 lief==1.0.0 ml_dtypes==0.6.0 cppimport==26.4.17 nvidia-ml-py packaging \
  "setuptools<82" tqdm PyYAML omegaconf pulp==3.3.2 pydantic regex rich safetensors scipy ninja
$pip --no-deps nvidia-modelopt==0.47.0
cd "$work"
CUDA_VISIBLE_DEVICES="" "$work/env/bin/python" - <<'EOF'
import logging
from pathlib import Path

import numpy as np
import onnx
from modelopt.onnx.quantization import quantize
from onnx import numpy_helper, parser

logging.disable(logging.WARNING)
draw = np.random.default_rng(0)
for method in ("max", "entropy"):
    made = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[1,16,32,32] x) => (float[1,16,32,32] y) {
           c = Conv<pads = [1,1,1,1]>(x, w)  r = Relu(c)  d = Conv<pads = [1,1,1,1]>(r, v)  y = Relu(d) }"""
    )
    for name in "wv":
        made.graph.initializer.append(numpy_helper.from_array(draw.normal(size=(16, 16, 3, 3)).astype(np.float32), name))
    onnx.checker.check_model(made, full_check=True)
    given = Path(f"float_{method}.onnx")
    onnx.save(made, given)
    before = given.read_bytes()
    pictures = {"x": draw.normal(size=(2, 16, 32, 32)).astype(np.float32)}
    quantize(str(given), quantize_mode="int8", calibration_method=method, calibration_data=pictures,
             calibration_eps=["cpu"], high_precision_dtype="fp32", output_path=f"int8_{method}.onnx")
    after, typed = given.read_bytes(), len(onnx.load(given).graph.value_info)
    print(f"{method}: {len(before)} bytes before, {len(after)} after; tensors with a shape: 0 before, {typed} after")
    assert Path(f"int8_{method}.onnx").exists() and after != before and typed == 3
EOF
