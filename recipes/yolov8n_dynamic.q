# The person detector without calibration: activations are quantized while it runs, by the range that they have then.
recipe yolov8n_dynamic

model onnx "../examples/people/yolov8n.onnx"

# Preprocessing belongs to the model: the same for evaluation and the device.
input "images" {
  resize  640 letterbox
  rescale 1/255
}

data val from yolo "../examples/people/people.yaml" { split val }

# 8 bit leaves the type to each kernel: uint8 for ConvInteger, which has no fast kernel for int8 weights here.
quantize dynamic {
  weights     8 bit
  activations uint8
}

# Decoding mixes pixels (0..640) and probabilities (0..1): everything after the last convolutions stays in float.
select decode = decode_head expect 24
keep decode in float32

target ort { threads auto }

evaluate detection on val {
  decode yolov8; confidence 0.001; nms 0.7
  measure precision, recall, map50, map50_95
  profile latency, throughput, cpu, memory { runs 200; warmup 20; batch 1 }
  require map50_95 drop <= 1 pp  # percentage points; "%" after "drop" would be relative to the float model
  require size <= 3.6 MiB
}
