"""Python values as C text."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from qdsl.targets.stm32.c.records import Constant

_PER_LINE = {"int8_t": 20, "uint8_t": 20}


def whole(value: int) -> str:
    """An int32 or less; the lowest is no literal of C."""
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)


def floating(value: float) -> str:
    """A float32, exactly."""
    value = float(np.float32(value))
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    if math.isnan(value):
        raise ValueError("not a number cannot be a constant of a kernel")
    return re.sub(r"\.?0*p", "p", value.hex()) + "f"


def unsigned(value: int) -> str:
    return f"{value}u"


def quoted(text: str) -> str:
    """A string literal of the UTF-8 bytes of `text`, whatever they are."""
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return '"' + "".join(plain) + '"'


def told(name: str) -> str:
    """A name of the model within a comment, which nothing in it can end."""
    return re.sub(r"[^\w.:/+-]|/(?=\*)|(?<=\*)/", "_", name, flags=re.ASCII).replace("//", "/")[:100]


def _elements(constant: Constant) -> list[str]:
    flat: NDArray[np.generic] = np.asarray(constant.values).reshape(-1)
    if constant.ctype == "float":
        return [floating(value) for value in flat.tolist()]
    if constant.ctype == "uint32_t":
        return [unsigned(value) for value in flat.tolist()]
    return [whole(value) for value in flat.tolist()]


def array(name: str, constant: Constant) -> str:
    """The definition of a stored array."""
    values = _elements(constant)
    step = _PER_LINE.get(constant.ctype, 8)
    body = ",\n".join(", ".join(values[i : i + step]) for i in range(0, len(values), step))
    return f"static const _Alignas(4) {constant.ctype} {name}[{len(values)}] = {{\n{body}\n}};\n"
