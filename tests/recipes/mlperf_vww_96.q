# A classifier of two classes, all of it in 8 bits.
recipe mlperf_vww_96

model onnx "../../../shared/testdata/models/mlperf_vww_96_float.onnx"

input { resize 96 crop; rescale 1/255; shape [1, 3, 96, 96] }

data calib from images "../../../shared/testdata/images/coco_ccby/*.jpg"

quantize static {
  weights     int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}

target ort
