# The person detector for TensorRT: every convolution of it in int8, its decoding in float.
recipe yolov8n_tensorrt

model onnx "../examples/people/yolov8n.onnx"

# Preprocessing belongs to the model: the same for calibration, evaluation and the device.
input "images" {
  resize  640 letterbox
  rescale 1/255
}

data calib from yolo "../examples/people/people.yaml" { split train; take 300 seed 7 }
data val   from yolo "../examples/people/people.yaml" { split val }

# The width alone: the target takes symmetric int8, with a scale per channel of a weight.
quantize static {
  weights     8 bit
  activations 8 bit
  calibrate   minmax on calib
}

# Decoding mixes pixels (0..640) and probabilities (0..1): everything after the last convolutions stays in float.
select decode = decode_head expect 24
keep decode in float32

target tensorrt

evaluate detection on val {
  decode yolov8; confidence 0.001; nms 0.7
  measure precision, recall, map50, map50_95
  require map50_95 drop <= 1 pp  # percentage points; "%" after "drop" would be relative to the float model
}
