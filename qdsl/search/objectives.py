"""What a layer loses at a width, as a number to add up: two objectives over a sensitivity.

Both add losses of layers as if layers did not interact; what they choose is to be measured end to end afterwards.
"""

from __future__ import annotations

SENSITIVITY_PER_BIT, NOISE = "sensitivity_per_bit", "noise"


def sensitivity_per_bit(sensitivity: float, bits: int) -> float:
    """S / b: how much the loss moves with the layer's weights, over the width. Simple, and blind to what rounding
    does: a step from 8 to 4 bits doubles it for every layer, whatever its weights look like. Zero bits raise
    ZeroDivisionError."""
    return sensitivity / bits


def noise(curvature: float, error: float) -> float:
    """H * e: a layer's mean curvature times the energy of what rounding at that width does to its weights, ||Q(W) -
    W||^2. This is the second-order term of the loss's Taylor series with the Hessian replaced by its mean diagonal
    (Dong et al. 2020, HAWQ-V2, arXiv:1911.03852, section 3.2: Omega = sum of mean trace times perturbation)."""
    return curvature * error
