# A detector as its authors export it: pixels 0..255 in BGR, letterboxed to the top left, boxes and scores in one output.
recipe yolox_nano

model onnx "../../../shared/testdata/models/yolox_nano.onnx"

input {
  resize 416 letterbox top_left
  color  bgr
}

data calib from images "../../../shared/testdata/images/coco_ccby/*.jpg"

quantize static {
  weights     int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}

# Boxes and scores meet in the last Concat: what decodes them stays in float.
select decode = decode_head expect 14
keep decode in float32

# The first convolution reaches 129 where most values are below 1, so 8 bits of it blur everything after: with all 113
# Conv in integers the scores keep 0.5 dB. Backbone and fine head in float keep 20 dB in boxes and in scores.
keep first 200 of all, between "Conv_299" and "Concat_331" in float32

target ort
