# The crack classifier on MobileNetV2 for little storage: float arithmetic, weights in 8 or 4 bits, a fifth of the file.
recipe cracks_v2_small

model onnx "../examples/cracks/mobilenet_v2_050.onnx"

# What the network was trained with.
input "images" {
  resize  224 stretch
  rescale 1/128
  mean    [1]
}

data calib from folder "../examples/cracks" { split train; classes ["clean", "crack"] }
data val   from folder "../examples/cracks" { split val; classes ["clean", "crack"] }

quantize float { weights int8 storage_only }

# Each layer gets the type with which all of them together lose least: 5.1 times smaller than the float model.
allocate weights from [int8, int4] {
  minimize loss under size <= 542.2 KB
}

target ort { threads 1 }

evaluate classification on val {
  measure top1, precision "crack", recall "crack", f1 "crack"
  require f1 "crack" drop <= 1 pp
  require size <= 542.2 KB
}
