# The same; the stem and the last convolutions of each head in float16, the others in int8.
recipe steel_orin_mixed

extends "steel_orin_rebalanced.q"

keep ["/trunk/stem/*/Conv", "/heads.?/box/box.1/Conv", "/heads.?/kind/kind.1/Conv"] expect 7 in float16

# What is neither becomes float16, too: a strongly typed build, which TensorRT 11 knows alone.
target tensorrt {
  high_precision float16
}
