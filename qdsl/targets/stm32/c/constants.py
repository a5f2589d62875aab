"""The constants and parameters of calls as C, each distinct array once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c.literals import array, floating, told, whole
from qdsl.targets.stm32.c.records import Call, Constant

CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "uint32": "uint32_t"}


@dataclass(slots=True)
class Constants:
    """`text` defines the arrays of weights.h, `sizes` are their bytes by C name."""

    text: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    _names: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def name_of(self, constant: Constant, wanted: str, comment: str) -> str:
        """The C name of an array: that of an equal one, or `wanted`, which is defined with a comment (as `told` gives
        names)."""
        data = np.ascontiguousarray(constant.values).tobytes()
        key = constant.ctype, data
        if key not in self._names:
            self._names[key] = wanted
            self.sizes[wanted] = len(data)
            self.text.append(f"/* {comment} */\n{array(wanted, constant)}")
        return self._names[key]


def parameters(call: Call, index: int, constants: Constants) -> tuple[str, str]:
    """The C name of the parameters of operator `index`, and their definition."""
    fields = []
    for key, value in call.parameters:
        if isinstance(value, Constant):
            comment = f"{told(call.op.node or call.op.output)}: {key}"
            text = constants.name_of(value, f"network_{index}_{key}", comment)
        elif isinstance(value, str):
            text = value
        elif value is None:
            text = "NULL"
        elif isinstance(value, float):
            text = floating(value)
        else:
            text = whole(int(value))
        fields.append(f"    .{key} = {text},\n")
    name = f"network_{index}"
    return name, f"static const struct {call.struct} {name} = {{\n{''.join(fields)}}};\n"


def stored_inputs(graph: IntegerGraph, calls: tuple[Call, ...], constants: Constants) -> dict[str, str]:
    """The C names of the constant tensors that kernels read as inputs."""
    read = dict.fromkeys(name for call in calls for name in call.op.inputs if name in graph.constants)
    found = {}
    for number, name in enumerate(read):
        values = graph.constants[name]
        ctype = "float" if values.dtype == np.float32 else CTYPES[str(values.dtype)]
        constant = Constant(ctype, values)  # type: ignore[arg-type]
        found[name] = constants.name_of(constant, f"network_constant_{number}", told(name))
    return found
