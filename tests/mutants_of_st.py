"""Faults that ST Edge AI Core would refuse a quantized model for."""

from __future__ import annotations

from mutant_graph import Graph, Kind, Layer
from mutants_of_tensorrt import TENSORRT
from onnx import helper


def _layers(graph: Graph) -> list[Layer]:
    return TENSORRT["operator_on_integers"].places(graph)


def _blocks(graph: Graph, layer: Layer) -> str:
    """The pair of a weight with an attribute that has to have its default value."""
    layer.dq.attribute.append(helper.make_attribute("block_size", 2))
    return str(layer.dq.name)


ST: dict[str, Kind] = {
    "integers_for_st": Kind("st_operator", _layers, TENSORRT["operator_on_integers"].plant, "stm32"),
    "blocks_for_st": Kind("st_attribute", _layers, _blocks, "stm32"),
}
