# What the recipes of one family share; `model` is written by each.
recipe family

param bits = int8 from [int8, int4]

data calib from folder "shared/train" { take 100 seed 1; split train }

quantize static {
  weights     $bits symmetric per_channel
  activations uint8 affine
  calibrate   minmax on calib
}

keep chosen in float32
select chosen = op Softmax

target ort { threads 2; require size <= 9 MB; keep op Gemm in float32 }
target tensorrt

evaluate classification on calib { measure top1; require top1 drop <= 1 pp; require top1 >= 0.7 }
