# The crack classifier on MobileNetV2 in C for a Cortex-M7: weights in 8 bits, what they are multiplied by quantized as it runs.
recipe cracks_v2_stm32_dynamic

model onnx "../examples/cracks/mobilenet_v2_050.onnx"

# What the network was trained with.
input "images" {
  resize  224 stretch
  rescale 1/128
  mean    [1]
}

data val from folder "../examples/cracks" { split val; classes ["clean", "crack"] }

quantize dynamic { weights int8 symmetric per_channel }

target stm32 {
  device "STM32H7B3I-DK"
  optimize ram
  require flash <= 820 KB
  require ram <= 1 MB
}

evaluate classification on val {
  measure top1, precision "crack", recall "crack", f1 "crack"
  require f1 "crack" drop <= 1 pp
}
