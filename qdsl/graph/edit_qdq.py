"""Changes that only quantization makes to a model as a whole."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_graphsurgeon as gs
from onnx import ModelProto

from qdsl.graph.dtypes import type_number
from qdsl.graph.model import Model


def set_model_metadata(model: Model, entries: Mapping[str, str]) -> None:
    """Write entries of the model's `metadata_props`, sorted by key, in place of those of the same keys. Copies of the
    model that were made before keep theirs."""
    shell = ModelProto()
    shell.CopyFrom(model.shell)
    kept = [prop for prop in model.shell.metadata_props if prop.key not in entries]
    del shell.metadata_props[:]
    shell.metadata_props.extend(kept)
    for key in sorted(entries):
        shell.metadata_props.add(key=key, value=entries[key])
    model.shell = shell


def set_element_type(tensor: gs.Variable, name: str) -> None:
    """What a tensor that a node writes is declared to hold: "float16", "float32", .."""
    tensor.dtype = type_number(name)
