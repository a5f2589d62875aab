# The crack classifier on MobileNetV2 for TensorRT: every convolution in int8.
recipe cracks_v2_tensorrt

model onnx "../examples/cracks/mobilenet_v2_050.onnx"

# What the network was trained with. 1/128 makes each pixel a whole step of 8 bits: value - 128.
input "images" {
  resize  224 stretch
  rescale 1/128
  mean    [1]
}

data calib from folder "../examples/cracks" { split train; classes ["clean", "crack"] }
data val   from folder "../examples/cracks" { split val; classes ["clean", "crack"] }

# The width alone: the target takes symmetric int8, with a scale per channel of a weight.
quantize static {
  weights     8 bit
  activations 8 bit
  calibrate   minmax on calib
}

target tensorrt

evaluate classification on val {
  measure top1, precision "crack", recall "crack", f1 "crack"
  require f1 "crack" drop <= 1 pp
}
