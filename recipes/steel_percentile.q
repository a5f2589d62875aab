# Rare defects in the calibration pictures, and one value of ten thousand left out of each range: is it noise, or a defect?
recipe steel_percentile

extends "steel_oversampled.q"

quantize static {
  calibrate percentile 99.99 on calib
}
