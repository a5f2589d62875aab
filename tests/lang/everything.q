# Every statement and selector of the language, once.
recipe everything

param bits = int8 from [int8, int4]

model onnx "classifier.onnx"

input {
  resize [224, 224] crop
  crop   224
  mean   [0.485, 0.456, 0.406]
  std    [0.229, 0.224, 0.225]
  color  rgb
  layout nchw
  shape  [1, 3, 224, 224]
}

data rare from folder "steel/train" {
  take       2000 seed 3
  oversample "crack" 10, "particle" 10
}
data mixed from folder "cracks/train" { take 400 seed 3; ratio "crack" 50 %, "clean" 50 % }
data even  from folder "cracks/train" { split "all"; balance classes; classes ["crack", "clean"] }
data val   from masks ["lake/a", "lake/b*"] { ignore 255 }
data raw   from npz "raw/*.npz" { array "x" "input", "y" "other"; label "truth" }

quantize static {
  weights     8 bit
  activations 8 bit
  calibrate   entropy on rare
}

layers op Conv and depthwise { weights int8 per_tensor }
layers under "/head" { calibrate percentile 99.99 on rare }
layers under ["/a", "/b"] { calibrate percentile 99.9 symmetric; weights int4 per_block 32 storage_only }
layers op Conv and out_channels < 16 and kernel == [1, 1] { weights int16 }
layers ["*/cv2.?.2/Conv", "*/cv3.?.2/Conv"] expect 6 { activations int16 }
layers tensor "/features/3/Clip_output_0" { range [0, 6] }
layers matching "^/layer[34]/" and not residual_add { weights $bits }
layers between op Conv and "/tail" { activations uint8 reduce_range }
layers (silu or gelu, layer_norm) and (groups != 1 or elements >= 1000) { weights 6 bit }
layers under "/stem" { calibrate from cache "calib.cache" }
keep last 1 of op Gemm in float16
keep first 2 of pointwise or activation, in_channels <= 3, stride == 2 in float32

place {
  quantize inputs of op [Conv, Gemm, MatMul]
  quantize skip of residual_add
  quantize outputs of all
  share scale across op [MaxPool, Resize]
  share scale across inputs of op Concat
  leave op Conv -> op Relu
  leave tensor "/features/0/Conv_output_0"
  share scale across tensor ["/a_out", "/b_out"]
  leave "/layer1/Relu" -> "/layer2/Add" expect 1
}

allocate weights from [int8, int4, int2] {
  sensitivity gradient on rare { take 64; trials 8; epsilon 1e-3 }
  minimize loss under size <= 1.97 MB, latency p99 <= 3 ms
  pin first 1 of op Conv, last 1 of op Gemm to int8
  group under "/qkv"
}

improve { equalize; bias_correct; round adaptive }

tune latency on rare {
  trials 12; blocks 15; threads 1
  require sqnr drop <= 0.5 dB
}

train qat on rare {
  epochs 10
  batch 32
  optimizer sgd lr 0.01 momentum 0.9 weight_decay 1e-4
  schedule plateau
  warm_start epoch 4
  validate val
  freeze_batchnorm epoch 6; distill 0.5; early_stop 3; class_weights balanced; loss labels
}

target ort
target tensorrt { version "10.3"; device "jetson-orin-nano"; keep op Resize in float16; require qdq survives }
target stm32 {
  device "STM32H7B3I-DK"; io int8
  require flash <= 300 KiB; require ram <= 320 KiB
  quantize static { activations int8 affine per_tensor; calibrate percentile 99.99 on rare }
  layers op Conv { weights int8 }
  place { leave tensor "x" }
  allow shared_range on op Resize because "small"
  passes { use "./mine.rule" after equalize }
  profile latency p50, energy { runs 10; threads 1 }
}

evaluate segmentation on val {
  output "mask"
  measure iou "crack", miou
  require iou "crack" drop <= 1 %
  require latency p50 speedup >= 2
  require size ratio <= 0.3
}
evaluate fidelity on rare {
  corrupt { light; severity [1, 5] }
  require sqnr "scores" >= 20 dB
  require throughput >= 30 fps
}

passes { use "./my_fusion.rule" before quantize }
allow half_quantized_op on op Resize and under "/neck" because "runs in float16 on purpose"
