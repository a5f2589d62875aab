# One calibration, two artifacts: the steel detector for ONNX Runtime and for TensorRT. `qdsl plan recipes/steel_two.q
# --compare` shows node by node how they differ, and why.
recipe steel_two

extends "steel_default.q"

target tensorrt {
  quantize static { activations int8 symmetric per_tensor }
}
