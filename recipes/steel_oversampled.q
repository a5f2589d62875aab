# The same detector, calibrated on as many pictures, of which every defect is drawn ten times as often.
recipe steel_oversampled

extends "steel_default.q"

data calib from yolo "../examples/steel/steel.yaml" {
  oversample "crack" 10, "inclusion" 10, "pit" 10, "scale" 10
}
