# The steel detector for a Jetson Orin Nano: int8 where TensorRT has kernels for it, decoding in float.
recipe steel_orin

param draw = 1 from [1, 2, 3, 4, 5]  # which pictures chance chooses: `--set draw=2` takes others

model onnx "../examples/steel/steel.onnx"

# Preprocessing belongs to the model: the same for calibration, evaluation and the device.
input "images" {
  resize  320 letterbox
  rescale 1/255
}

# 32 pictures of 400, of which 92 % show no defect.
data calib from yolo "../examples/steel/steel.yaml" { split train; take 32 seed $draw }
data val   from yolo "../examples/steel/steel.yaml" { split val }

# The width alone: the target takes symmetric int8, with a scale per channel of a weight.
quantize static {
  weights     8 bit
  activations 8 bit
  calibrate   minmax on calib
}

select decode = decode_head
keep decode in float32

# What JetPack 6.1 and 6.2 bring. Latency and memory are the device's to tell: undecided until its measurements are added.
target tensorrt {
  device "jetson-orin-nano"
  version "10.3"
  require latency p50 <= 14 ms
  require memory <= 180 MB
}

evaluate detection on val {
  decode yolov8; confidence 0.001; nms 0.7
  measure map50, map50_95, map50 "crack", map50 "inclusion", map50 "pit", map50 "scale", map50_95 "crack",
      map50_95 "inclusion", map50_95 "pit", map50_95 "scale"
}
