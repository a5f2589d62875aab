# The crack classifier on MobileNetV2 in C for a Cortex-M7, in float32: what 8 bits are held against. It fits no board here.
recipe cracks_v2_stm32_float

model onnx "../examples/cracks/mobilenet_v2_050.onnx"

# What the network was trained with.
input "images" {
  resize  224 stretch
  rescale 1/128
  mean    [1]
}

data val from folder "../examples/cracks" { split val; classes ["clean", "crack"] }

quantize none

target stm32 {
  optimize ram
  require ram <= 1 MB
}

evaluate classification on val {
  measure top1, precision "crack", recall "crack", f1 "crack"
  require f1 "crack" >= 0.85
}
