# The same, calibrated on as many pictures, of which every defect is drawn ten times as often.
recipe steel_orin_rebalanced

extends "steel_orin.q"

data calib from yolo "../examples/steel/steel.yaml" {
  oversample "crack" 10, "inclusion" 10, "pit" 10, "scale" 10
}
