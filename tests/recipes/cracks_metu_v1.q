# How far a classifier that was trained on drawn pictures gets on photographs: surfaces of concrete from METU.
recipe cracks_metu_v1

extends "../../recipes/cracks_v1_static.q"

data metu from folder "../../../shared/testdata/images/metu_crack" { classes ["Negative", "Positive"] }

evaluate classification on metu {
  measure top1, precision "Positive", recall "Positive", f1 "Positive"
}
