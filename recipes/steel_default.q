# Defects on steel strip, rare in the calibration pictures as they are on the line: what a random choice makes of it.
recipe steel_default

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

quantize static {
  weights     int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}

# Decoding mixes pixels (0..320) and probabilities (0..1): everything after the last convolutions stays in float.
select decode = decode_head
keep decode in float32

target ort { threads auto }

evaluate detection on val {
  decode yolov8; confidence 0.001; nms 0.7
  measure map50, map50_95, map50 "crack", map50 "inclusion", map50 "pit", map50 "scale", map50_95 "crack",
      map50_95 "inclusion", map50_95 "pit", map50_95 "scale"
  profile latency, cpu, memory { runs 200; warmup 20; batch 1 }
}
