# The person detector in a fifth of the file: as yolov8n_static.q, with 4 bits for the weights of layers that bear it.
recipe yolov8n_small

extends "yolov8n_static.q"

# ONNX Runtime multiplies no 4 bits: such layers compute in float, behind a conversion. Smaller, not faster.
allocate weights from [int8, int4] {
  minimize loss under size <= 2.399 MB
}
