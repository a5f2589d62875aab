# The same classifier without calibration: activations are quantized while it runs, by the range that they have then.
recipe cracks_v1_dynamic

model onnx "../examples/cracks/mobilenet_v1_025.onnx"

# What the network was trained with.
input "images" {
  resize  224 stretch
  rescale 1/128
  mean    [1]
}

data val from folder "../examples/cracks" { split val; classes ["clean", "crack"] }

# 8 bit leaves the type to each kernel: uint8 for ConvInteger, which has no fast kernel for int8 weights here.
quantize dynamic {
  weights     8 bit
  activations uint8
}

target ort { threads 1 }

evaluate classification on val {
  measure top1, precision "crack", recall "crack", f1 "crack"
  profile latency, cpu, memory { runs 200; warmup 20; batch 1 }
  require f1 "crack" drop <= 1 pp
  require size <= 340 KiB
}
