"""Types of tensors behind operators for which ONNX itself has no type rule, as ONNX Runtime infers them.

Optimizers and exporters leave operators of `com.microsoft` behind, and some of ONNX's own functions come without a
rule; everything after them would have no type. The runtime knows them all. It is only asked where a type is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto, TensorProto, TypeProto

from qdsl.graph.sessions import LOADING, RuntimeRefusesError, Session

_ELEMENTS = {
    "float": TensorProto.FLOAT,
    "double": TensorProto.DOUBLE,
    **{name.lower(): number for name, number in TensorProto.DataType.items()},
}


def runtime_types(skeleton: ModelProto, names: Sequence[str]) -> dict[str, TypeProto]:
    """The types of the tensors called `names`, as far as the runtime says; {} where it does not load the model, such as
    for operators that it does not know. `skeleton` has no large weights; it is left as it was."""
    proto = ModelProto()
    proto.CopyFrom(skeleton)
    public = {info.name for info in proto.graph.output}
    for name in names:
        if name not in public:
            proto.graph.output.add().name = name
    try:
        types = Session(proto.SerializeToString(), LOADING).types()
    except RuntimeRefusesError:  # what it says of the model is told when it runs
        return {}
    found = {name: _type(*types[name]) for name in names if name in types}
    return {name: kind for name, kind in found.items() if kind is not None}


def _type(text: str, shape: Sequence[int | str | None]) -> TypeProto | None:
    """`tensor(float)` and its dims as ONNX writes them; None for what is no dense tensor of a known type."""
    element = _ELEMENTS.get(text.removeprefix("tensor(").removesuffix(")"))
    if element is None:
        return None
    made = TypeProto()
    made.tensor_type.elem_type = element
    for dim in shape:  # of a scalar and of what has no known rank there are none: the rank stays open
        into = made.tensor_type.shape.dim.add()
        if isinstance(dim, int):
            into.dim_value = dim
        elif dim is not None:
            into.dim_param = dim
    return made
