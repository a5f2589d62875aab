"""The canonical pipeline, one stage per line: what every model goes through before a plan is made."""

from __future__ import annotations

from qdsl.graph.model import Model
from qdsl.passes.index import make
from qdsl.rewrite import Trace, run

CANONICAL = (
    "constant_nodes",  # one form of constant, so that the stages below need to know only initializers
    "remove_identity",  # a Dropout of a constant would keep it from being folded
    "fold_constants",  # shapes, axes and bounds become numbers
    "dead_code",  # what folding left behind would count as a reader below
    "remove_identity",  # of what folding made known, and neighbours meet
    "normalise_clip",  # one spelling of Relu and of bounded Relu; a Clip that does nothing no longer parts neighbours
    "normalise_pool",  # exporters write the mean over a map in three ways, of which one has an integer kernel
    "normalise_softmax",  # with a kernel of its own, and masks that are known to be masks
    "normalise_hard",  # HardSigmoid and HardSwish by hand: the operator has an integer form, the division has none
    "normalise_swish",  # a function of ONNX, of which the parts have integer kernels
    "normalise_scale",  # a product by a number has an integer kernel, the division of attention scores has none
    "fold_batchnorm",  # a Conv and its BatchNormalization become one Conv
    "fold_factors",  # a Gemm's own factors, beside which no integer kernel adds a bias
    "fold_affine",  # so do a Conv and what scales or shifts its channels
    "share_initializers",  # equal constants become one
    "dead_code",  # what nobody reads any more is gone
)


def canonicalise(model: Model) -> Trace:
    """Bring a model into canonical form, in place: same outputs, same inputs, fewer ways to say it. A second run
    changes nothing."""
    return run([make(name) for name in CANONICAL], model)
