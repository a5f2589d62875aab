# The same detector in float16, at half the size and without calibration. ONNX Runtime's CPU provider widens it before it
# computes, so that it is smaller and not faster: `qdsl plan` says where.
recipe yolov8n_fp16

extends "yolov8n_static.q"

# Its decoding stays in float32: past 512 pixels float16 counts in halves.
quantize float {
  weights     float16
  activations float16
}

evaluate detection on val {
  require size <= 6.5 MiB
}
