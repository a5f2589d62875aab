"""Ranges of the slices of a tensor along one axis, such as the channels of a feature map. Every slice is remembered as
a tensor of its own, so that it merges, resumes and is searched as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.calibrate.request import Request
from qdsl.diag import Diagnostic, QdslError
from qdsl.graph.view import GraphView

Slices = NDArray[np.float32]
_TOP = "\0top"


def slice_name(tensor: str, axis: int, number: int) -> str:
    """What a slice is called in a state; no tensor's name holds a zero byte (see `check_axes`)."""
    return f"{tensor}\0{axis}\0{number}"


def top_name(tensor: str, axis: int) -> str:
    """What the largest values of a tensor's rows are called in a state."""
    return f"{tensor}\0{axis}{_TOP}"


def is_top(name: str) -> bool:
    return name.endswith(_TOP)


def check_axes(view: GraphView, requests: Sequence[Request]) -> None:
    """Raise QdslError `calibration-tensor` for an axis that its tensor does not have, as far as shapes are known."""
    for request in requests:
        shape = view.tensors[request.tensor].shape
        rank = None if shape is None else len(shape)
        if request.axis is None or (rank is not None and not 0 <= request.axis < rank) or "\0" in request.tensor:
            raise _no_axis(request, rank)


def slices(request: Request, values: NDArray[Any]) -> Slices:
    """`values` as [slices, elements of each]. Raises QdslError `calibration-tensor` where there is no such axis."""
    if request.axis is None or request.axis >= values.ndim:
        raise _no_axis(request, values.ndim)
    moved = np.moveaxis(np.asarray(values, np.float32), request.axis, 0)
    return np.ascontiguousarray(moved).reshape(moved.shape[0], -1)


def names_of(request: Request, known: Mapping[str, Any]) -> list[str]:
    """The slices of a request that have been seen, in order."""
    assert request.axis is not None
    found: list[str] = []
    while (name := slice_name(request.tensor, request.axis, len(found))) in known:
        found.append(name)
    return found


def _no_axis(request: Request, rank: int | None) -> QdslError:
    has = "a rank that is not known" if rank is None else f"{rank} axes"
    headline = f"tensor {request.tensor} has no axis {request.axis}"
    return QdslError([Diagnostic("calibration-tensor", headline, label=f"it has {has}, counted from 0")])
