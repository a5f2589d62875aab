# A detector of one grid, as its authors export it: pixels in BGR, 0..1, stretched to 352; objects, boxes and classes in
# one output.
recipe fastestdet

model onnx "../../../shared/testdata/models/FastestDet.onnx"

input {
  resize  352 stretch
  color   bgr
  rescale 1/255
}

data calib from images "../../../shared/testdata/images/coco_ccby/*.jpg"
data val   from coco   "../../../shared/testdata/images/coco_ccby/annotations.json"

quantize static {
  weights     int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}

# Objects, offsets and shares of classes meet in the last Concat: no one scale fits all of them.
select decode = decode_head
keep decode in float32

target ort

evaluate detection on val {
  decode fastestdet
  measure map50, map50_95
}
