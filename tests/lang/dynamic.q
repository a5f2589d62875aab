recipe dynamic
quantize dynamic { weights uint8 }  # ranges of activations at run time, no data
