# The crack classifier on MobileNetV1 for three kinds of devices, all from one calibration: each target stores its codes its own way.
recipe cracks_v1_everywhere

model onnx "../examples/cracks/mobilenet_v1_025.onnx"

# What the network was trained with. 1/128 makes each pixel a whole step of 8 bits: value - 128.
input "images" {
  resize  224 stretch
  rescale 1/128
  mean    [1]
}

data calib from folder "../examples/cracks" { split train; classes ["clean", "crack"] }
data val   from folder "../examples/cracks" { split val; classes ["clean", "crack"] }

quantize static {
  weights     8 bit
  activations 8 bit
  calibrate   minmax on calib
}

target ort { threads 1 }
target tensorrt { device "jetson-orin-nano" }
target stm32 { device "STM32H7B3I-DK"; optimize ram; io int8; require ram <= 205 KB }

evaluate classification on val {
  measure top1, precision "crack", recall "crack", f1 "crack"
  require f1 "crack" drop <= 1 pp
}
