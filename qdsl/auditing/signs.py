"""The recipe lines that give tensors one kind of integers: for all of a file that is of another kind, else by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qdsl.auditing.finding import Fix
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import mostly_signed, once_per_audit
from qdsl.auditing.telling import recipe_lines
from qdsl.finished.codes import codes, zeros
from qdsl.finished.records import Finished, QuantizedTensor, Role
from qdsl.graph.neighbours import WEIGHT_PORTS

MIDDLE = 128  # the zero point of uint8 that is 0 of int8
_UNSIGNED = "{ activations uint8 affine }"
_SYMMETRIC = "{ activations int8 symmetric }"


def unsigned(audited: Audited, records: Sequence[QuantizedTensor]) -> Fix | None:
    """uint8, for those of `records` that are int8 activations. A constant beside them is quantized as they are, and has
    no line of its own."""
    named = [each for each in records if each.parameters.element == "int8"]
    return _lines(audited, _UNSIGNED, mostly_signed(audited), named)


def symmetric(audited: Audited, record: QuantizedTensor) -> Fix | None:
    """int8 with zero point 0: of an activation, or of the weights of what multiplies by `record`."""
    if record.role is Role.ACTIVATION:
        return _lines(audited, _SYMMETRIC, _mostly_not_symmetric(audited), [record])
    view = audited.finished.view
    readers = [each for each in record.readers if each.node]
    owners = [each.node for each in readers if each.port in WEIGHT_PORTS.get(view.node(each.node).op, ())]
    return recipe_lines("layers {} { weights int8 symmetric }", *owners) if owners else None


def counted(finished: Finished, record: QuantizedTensor) -> NDArray[np.int32] | None:
    """The stored integers of `record`, counted from their zero point; None where they or it are not known."""
    held = codes(finished, record)
    point = None if held is None else zeros(record.parameters, held.shape)
    return None if held is None or point is None else held.astype(np.int32) - point


def fits_signed(values: NDArray[np.int32]) -> bool:
    """Whether int8 around 0 holds integers that are counted from their zero point."""
    return not values.size or (int(values.min()) >= -MIDDLE and int(values.max()) < MIDDLE)


def signed(audited: Audited, record: QuantizedTensor) -> Fix | None:
    """The same, and the rewrite that does it where the file itself allows: uint8 around 128, and what is stored."""
    lines, zero = symmetric(audited, record), record.parameters.zero_point
    around = record.parameters.element == "uint8" and zero is not None and bool(np.all(zero == MIDDLE))
    if record.role is Role.ACTIVATION and not around:
        return lines
    values = None if record.role is Role.ACTIVATION else counted(audited.finished, record)
    if values is not None and not fits_signed(values):
        return lines
    return Fix(() if lines is None else lines.lines, "signed_integers", exact=True)


def _lines(audited: Audited, setting: str, everywhere: bool, records: Sequence[QuantizedTensor]) -> Fix | None:
    tensors = list(dict.fromkeys(each.tensor for each in records if each.role is Role.ACTIVATION))
    if not everywhere:
        return recipe_lines(f"layers tensor {{}} {setting}", *tensors) if tensors else None
    # What nobody writes is not spoken of by `layers all`.
    view = audited.finished.view
    given = [tensor for tensor in tensors if tensor in view.tensors and view.tensors[tensor].kind == "input"]
    inputs = recipe_lines(f"layers tensor {{}} {setting}", *given) if given else None
    lines = (f"layers all {setting}",) if len(given) < len(tensors) else ()
    return Fix(lines=(*lines, *(inputs.lines if inputs is not None else ()))) if tensors else None


@once_per_audit
def _mostly_not_symmetric(audited: Audited) -> bool:
    passed = [each for each in audited.finished.tensors if each.role is Role.ACTIVATION]
    return 2 * sum(not _is_symmetric(each) for each in passed) > len(passed)


def _is_symmetric(record: QuantizedTensor) -> bool:
    zero = record.parameters.zero_point
    return record.parameters.element == "int8" and zero is not None and not np.any(zero)
