# A crack classifier for a microcontroller: MobileNetV2, width 0.5, all of it in integers but what it answers.
recipe cracks_v2_static

model onnx "../examples/cracks/mobilenet_v2_050.onnx"

# What the network was trained with. 1/128 makes each pixel a whole step of 8 bits: value - 128.
input "images" {
  resize  224 stretch
  rescale 1/128
  mean    [1]
}

data calib from folder "../examples/cracks" { split train; classes ["clean", "crack"] }
data val   from folder "../examples/cracks" { split val; classes ["clean", "crack"] }

quantize static {
  weights     int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}

# Rounded depthwise weights move the means of what they write.
improve { bias_correct }

# Two logits in 8 bits would be 0.07 apart at least; the last layer writes its sums as floats at no cost.
place { leave tensor "logits" }

target ort { threads 1 }

evaluate classification on val {
  measure top1, precision "crack", recall "crack", f1 "crack"
  profile latency, cpu, memory { runs 200; warmup 20; batch 1 }
  require f1 "crack" drop <= 1 pp
  require size <= 920 KiB
}
