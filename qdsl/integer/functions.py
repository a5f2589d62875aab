"""Functions of one float32, by the names of ONNX operators, as ONNX Runtime's kernels of x86-64 compute them.

Sigmoid, Tanh and Erf are the rational and polynomial approximations of its library MLAS (onnxruntime/core/mlas/lib:
logistic.cpp, tanh.cpp, erf.cpp), whose multiplications and additions are fused; the others are arithmetic in float32 or
the C library's, which rounds correctly nearly everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.rounding import fused

Array = NDArray[Any]
Attributes = Mapping[str, float]
F32 = np.float32


def apply(function: str, attributes: Attributes, x: Array) -> Array:
    """`function` of every value of float32 `x`. Raises KeyError where `FUNCTIONS` does not hold it."""
    with np.errstate(all="ignore"):
        result: Array = np.asarray(FUNCTIONS[function](x, attributes), F32)
    return result


def polynomial(x: Array, *factors: float) -> Array:
    """Horner's scheme in float32, each step rounded once; the factor of the highest power comes first."""
    sums: Array = np.full(x.shape, F32(factors[0]))
    for factor in factors[1:]:
        sums = fused(sums, x, F32(factor))
    return sums


def sigmoid(x: Array) -> Array:
    x = np.clip(x, F32(-18), F32(18))
    squares = x * x
    upper = polynomial(
        squares,
        4.37031012579801e-11,
        1.15627324459942e-07,
        6.08574864600143e-05,
        8.51377133304701e-03,
        0.248287947061529,
    )
    lower = polynomial(
        squares,
        6.10247389755681e-13,
        5.76102136993427e-09,
        6.29106785017040e-06,
        1.70198817374094e-03,
        0.116817656904453,
        0.993151921023180,
    )
    curve: Array = np.clip(upper * x / lower + F32(0.5), F32(0), F32(1))
    return curve


def tanh(x: Array) -> Array:
    x = np.clip(x, F32(-9), F32(9))
    squares = x * x
    upper = polynomial(
        squares,
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
    lower = polynomial(squares, 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
    curve: Array = upper * x / lower
    return curve


def erf(x: Array) -> Array:
    size = np.minimum(np.abs(x), F32(3.725))
    squares = size * size
    near = polynomial(
        squares, -5.99104969e-4, 4.99339588e-3, -2.67667342e-2, 1.12818025e-1, -3.76124859e-1, 1.28379151e-1
    )
    near = fused(near, size, size)
    far = polynomial(
        size, 1.72948930e-5, -3.83208680e-4, 3.88393435e-3, -2.42545605e-2, 1.06777847e-1, 6.34846687e-1, 1.28717512e-1
    )
    curve = np.where(size > F32(0.921875), F32(1) - exp_of_erf(-fused(far, size, size)), near)
    return np.copysign(curve, x)


def exp_of_erf(x: Array) -> Array:
    x = np.maximum(x, F32(-88.3762626647949))
    magic = F32(12582912)
    whole = fused(x, F32(1.44269504088896341), magic) - magic
    rest = fused(whole, F32(-1.42860677e-6), fused(whole, F32(-6.93145752e-1), x))
    power = polynomial(rest, 1.38319808e-3, 8.37550033e-3, 4.16689515e-2, 1.66664466e-1, 4.99999851e-1, 1.0, 1.0)
    grown: Array = power * np.exp2(whole)
    return grown


def gelu(x: Array) -> Array:
    return x * F32(0.5) * (erf(x * F32(math.sqrt(0.5))) + F32(1))


def gelu_tanh(x: Array) -> Array:
    inner = x * fused(F32(0.044715) * x, x, F32(1)) * F32(math.sqrt(2 / math.pi))
    curve: Array = F32(0.5) * x * (F32(1) + tanh(inner))
    return curve


def hard_sigmoid(x: Array, attributes: Attributes) -> Array:
    alpha, beta = F32(attributes.get("alpha", 0.2)), F32(attributes.get("beta", 0.5))
    line: Array = np.clip(x * alpha + beta, F32(0), F32(1))
    return line


def softplus(x: Array) -> Array:
    return np.where(x > 0, x + np.log1p(np.exp(-np.abs(x))), np.log1p(np.exp(np.minimum(x, 0))))


def elu(x: Array, attributes: Attributes) -> Array:
    return np.where(x >= 0, x, F32(attributes.get("alpha", 1.0)) * np.expm1(np.minimum(x, 0)))


def selu(x: Array, attributes: Attributes) -> Array:
    alpha, gamma = F32(attributes.get("alpha", 1.67326319)), F32(attributes.get("gamma", 1.05070102))
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(x: Array, attributes: Attributes) -> Array:
    alpha = F32(attributes.get("alpha", 1.0))
    return np.maximum(x, 0) + np.minimum(alpha * np.expm1(np.minimum(x, 0) / alpha), 0)


FUNCTIONS: Mapping[str, Callable[[Array, Attributes], Array]] = {
    "Identity": lambda x, _: x,
    "Abs": lambda x, _: np.abs(x),
    "Neg": lambda x, _: -x,
    "Ceil": lambda x, _: np.ceil(x),
    "Floor": lambda x, _: np.floor(x),
    "Round": lambda x, _: np.rint(x),
    "Sign": lambda x, _: np.sign(x),
    "Sqrt": lambda x, _: np.sqrt(x),
    "Reciprocal": lambda x, _: F32(1) / x,
    "Exp": lambda x, _: np.exp(x.astype(np.float64)),
    "Log": lambda x, _: np.log(x.astype(np.float64)),
    "Sin": lambda x, _: np.sin(x.astype(np.float64)),
    "Cos": lambda x, _: np.cos(x.astype(np.float64)),
    "Relu": lambda x, _: np.maximum(x, F32(0)),
    "Clip": lambda x, a: np.clip(x, F32(a.get("min", -math.inf)), F32(a.get("max", math.inf))),
    "LeakyRelu": lambda x, a: np.where(x >= 0, x, F32(a.get("alpha", 0.01)) * x),
    "ThresholdedRelu": lambda x, a: np.where(x > F32(a.get("alpha", 1.0)), x, F32(0)),
    "Sigmoid": lambda x, _: sigmoid(x),
    "Tanh": lambda x, _: tanh(x),
    "Erf": lambda x, _: erf(x),
    "Gelu": lambda x, _: gelu(x),
    "GeluTanh": lambda x, _: gelu_tanh(x),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": lambda x, _: x * hard_sigmoid(x, {"alpha": 1 / 6, "beta": 0.5}),
    "Softplus": lambda x, _: softplus(x.astype(np.float64)),
    "Softsign": lambda x, _: x / (F32(1) + np.abs(x)),
    "Mish": lambda x, _: x * np.tanh(softplus(x.astype(np.float64))),
    "Swish": lambda x, a: x * sigmoid(F32(a.get("alpha", 1.0)) * x),
    "Elu": lambda x, a: elu(x.astype(np.float64), a),
    "Selu": lambda x, a: selu(x.astype(np.float64), a),
    "Celu": lambda x, a: celu(x.astype(np.float64), a),
}
