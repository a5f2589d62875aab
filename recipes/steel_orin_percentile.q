# Rare defects in the calibration pictures, and one value of ten thousand left out of each range.
recipe steel_orin_percentile

extends "steel_orin_rebalanced.q"

quantize static {
  calibrate percentile 99.99 on calib
}
