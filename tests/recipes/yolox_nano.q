# A detector as its authors export it: pixels 0..255 in BGR, letterboxed to the top left, boxes and scores in one output.
recipe yolox_nano

model onnx "../../../shared/testdata/models/yolox_nano.onnx"

input {
  resize 416 letterbox top_left
  color  bgr
}

data calib from images "../../../shared/testdata/images/coco_ccby/*.jpg"

# Weights of uint8 are added exactly on any CPU as they are; int8 gets wider steps for that: mAP50-95 0.395 and 0.385 of
# 0.401 in float, on the 33 pictures that calibrate.
# mse gives up the few largest values of a tensor for finer steps everywhere else.
quantize static {
  weights     uint8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate   mse on calib
}

# Boxes and scores meet in the last Concat: what decodes them stays in float.
select decode = decode_head expect 14

# The stem, nine Conv with their SiLU: it writes values up to 129 where most are below 1, and a bias of 76 cancels. In 8
# bits it blurs everything after; 21 % of the multiply-accumulates.
select stem = first 36 of all
keep decode, stem in float32

target ort
