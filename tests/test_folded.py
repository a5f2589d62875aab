"""Values of tensors that no input reaches, as a runtime folds them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qdsl.graph import Model, from_proto
from qdsl.graph.folded import folded

GRAPH = """<ir_version: 9, opset_import: ["" : 17]>
g (float[2] x) => (float[2] y)
<float[2,3] w, float s = {0.5}, int8 z = {1}, float[3] each = {0.5, 0.25, 2.0}, int8[3] zeros = {0, 0, 0},
 int64[3] huge = {100000, 2, 3}, float[2] two = {1, 2}>
{
  q = QuantizeLinear (w, s, z)
  d = DequantizeLinear (q, s, z)
  t = Transpose <perm=[1, 0]> (d)
  qe = QuantizeLinear <axis=1> (w, each, zeros)
  de = DequantizeLinear <axis=1> (qe, each, zeros)
  large = Expand (d, huge)
  many = Tile (large, huge)
  drawn = RandomNormalLike (w)
  y = Add (x, two)
}"""
W = np.array([[0.2, 0.75, -0.8], [90.0, -90.0, 0.25]], np.float32)


@pytest.fixture
def model() -> Model:
    proto = onnx.parser.parse_model(GRAPH)
    proto.graph.initializer.append(numpy_helper.from_array(W, "w"))
    return from_proto(proto)


def test_chains_of_constants(model: Model) -> None:
    # Halves round to even codes: 0.75 / 0.5 = 1.5 to 2.
    wanted = np.array([[0, 1, -1], [63, -64.5, 0]], np.float32)
    np.testing.assert_array_equal(folded(model, "d"), wanted)
    np.testing.assert_array_equal(folded(model, "t"), wanted.T)
    np.testing.assert_array_equal(folded(model, "de"), np.array([[0, 0.75, 0], [63.5, -32, 0]], np.float32))
    np.testing.assert_array_equal(folded(model, "w"), W)


@pytest.mark.parametrize("name", ["x", "y", "drawn", "many", "absent"])
def test_what_has_no_value(name: str, model: Model) -> None:
    """Inputs and what reads them, what is drawn, what would fill the memory, and what is not there."""
    assert folded(model, name) is None
