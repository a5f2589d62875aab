# One scale for all weights of a convolution, as on devices without scales per channel.
recipe steel_per_tensor

extends "steel_oversampled.q"

quantize static {
  weights int8 symmetric per_tensor
}
