# The same classifier, calibrated on 80 pictures of which 20 in 100 show a crack.
recipe cracks_v1_80_20

extends "cracks_v1_static.q"

data calib from folder "../examples/cracks" {
  split   train
  classes ["clean", "crack"]
  take    80 seed 7
  ratio   "clean" 80 %, "crack" 20 %
}

evaluate classification on val {
  measure f1 "clean"
}
