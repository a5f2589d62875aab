# The same detector with settings often found in tutorials: per-tensor weights of a reduced range, and four operator
# types in float. Boxes in pixels (0..640) are then rounded to 8 bits. Compare it with yolov8n_static.q.
recipe yolov8n_study

model onnx "../examples/people/yolov8n.onnx"

input "images" {
  resize  640 letterbox
  rescale 1/255
}

data calib from yolo "../examples/people/people.yaml" { split train; take 300 seed 7 }
data val   from yolo "../examples/people/people.yaml" { split val }

quantize static {
  weights     int8 symmetric per_tensor reduce_range
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}

keep op [Concat, Reshape, Softmax, Sigmoid] in float32

# Where quantizers that go by operator type put Q/DQ in the decoding; the target's table alone would not.
place {
  quantize inputs of op [Add, Mul, Split] and decode_head
  quantize outputs of op [Add, Mul, Split] and decode_head
}

target ort { threads auto }

evaluate detection on val {
  decode yolov8; confidence 0.001; nms 0.7
  measure precision, recall, map50, map50_95
  profile latency, throughput, cpu, memory { runs 200; warmup 20; batch 1 }
}
