recipe member
extends "../family.q"

model onnx "member.onnx"

data calib { take 50 }

quantize static { activations int8 }

select chosen = op Gemm
keep op MatMul in float16

target ort { threads 4; require size <= 3 MB; keep op Add in float32 }

evaluate classification on calib { require top1 drop <= 2 pp }
