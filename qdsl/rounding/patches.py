"""What a node multiplies its weight with, as patches, and its weight as a matrix beside them.

Conv, Gemm and MatMul are w x for patches x: a window of the input for Conv, a row for the others. `Form.rows` brings a
weight into [groups, rows, k], whatever its axes mean, and `Form.back` puts it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.graph.view import GraphView, NodeView

Array = NDArray[Any]
_PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}


@dataclass(frozen=True, slots=True)
class Form:
    """How a node reads its weight of `shape`. `op` Conv: in `groups`, windows of `kernel` by `strides`, `dilations` and
    `pads` (starts, then ends); `same` is ONNX's auto_pad where padding depends on the input. Else a matrix,
    `outputs_first` where its rows are the outputs."""

    op: str
    shape: tuple[int, ...]
    groups: int = 1
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    same: str = ""
    outputs_first: bool = True

    @property
    def size(self) -> int:
        """k: the elements of a patch."""
        return prod(self.shape[1:]) if self.outputs_first else self.shape[0]

    @property
    def outputs(self) -> int:
        """The rows of all groups."""
        return self.shape[0] if self.outputs_first else self.shape[1]

    def rows(self, weight: Array) -> Array:
        """What has the weight's shape as [groups, rows, k]."""
        flat = weight.reshape(self.shape[0], -1) if self.outputs_first else weight.T
        return np.ascontiguousarray(flat).reshape(self.groups, -1, self.size)

    def back(self, rows: Array) -> Array:
        """The weight that `rows` was made of."""
        flat = rows.reshape(-1, self.size)
        return np.ascontiguousarray(flat.reshape(self.shape) if self.outputs_first else flat.T)

    def positions(self, shape: tuple[int, ...]) -> int:
        """How many patches an input of `shape` has."""
        return shape[0] * prod(self._out(shape)) if self.op == "Conv" else prod(shape[:-1])

    def patches(self, x: Array, chosen: NDArray[np.int64]) -> Array:
        """Those patches of `x` whose numbers are `chosen`: [groups, k, chosen]."""
        if self.op != "Conv":
            return np.ascontiguousarray(x.reshape(-1, x.shape[-1])[chosen].T)[None]
        out = self._out(x.shape)
        sample, *places = np.unravel_index(chosen, (x.shape[0], *out))
        dims = len(out)
        pads = self._pads(x.shape)
        edges = [(0, 0), (0, 0), *zip(pads[:dims], pads[dims:], strict=True)]
        padded = np.pad(x, edges)
        taken = []
        for offset in product(*(range(size) for size in self.kernel)):
            at = [p * s + o * d for p, s, o, d in zip(places, self.strides, offset, self.dilations, strict=True)]
            index: Any = (sample, slice(None), *at)
            taken.append(padded[index].T)  # [channels, chosen]
        windows = np.stack(taken, axis=1)
        return windows.reshape(self.groups, self.size, len(chosen))

    def _out(self, shape: tuple[int, ...]) -> list[int]:
        dims, pads = len(self.kernel), self._pads(shape)
        each = zip(shape[2:], self.kernel, self.strides, self.dilations, pads[:dims], pads[dims:], strict=True)
        return [(size + a + b - d * (k - 1) - 1) // s + 1 for size, k, s, d, a, b in each]

    def _pads(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Padding for an input of `shape`: for SAME, what gives size / stride outputs, rounded up (ONNX Conv)."""
        if not self.same:
            return self.pads
        each = zip(shape[2:], self.kernel, self.strides, self.dilations, strict=True)
        whole = [max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0) for size, k, s, d in each]
        less, more = [p // 2 for p in whole], [p - p // 2 for p in whole]
        return (*less, *more) if self.same == "SAME_UPPER" else (*more, *less)


def form_of(view: GraphView, node: NodeView, port: int) -> Form | None:
    """How `node` multiplies the weight at `port`; None where it does something else with it."""
    if node.domain or port != 1:
        return None
    shape = tuple(d for d in view.tensors[node.inputs[1]].shape or () if isinstance(d, int))
    if len(shape) != len(view.tensors[node.inputs[1]].shape or ()) or not shape or 0 in shape:
        return None
    if node.op == "Conv":
        return _conv(node, shape)
    if len(shape) != 2:
        return None
    if node.op == "MatMul":
        return Form("MatMul", shape, outputs_first=False)
    plain = all(node.attrs.get(name, value) == value for name, value in _PLAIN.items())
    return Form("Gemm", shape, outputs_first=bool(node.attrs.get("transB", 0))) if node.op == "Gemm" and plain else None


def _conv(node: NodeView, shape: tuple[int, ...]) -> Form | None:
    dims, attrs = len(shape) - 2, node.attrs
    groups = _ints(attrs.get("group"), 1, 1)[0]
    if dims < 1 or groups < 1 or shape[0] % groups:
        return None
    padding = str(attrs.get("auto_pad") or "NOTSET")
    strides, dilations = (_ints(attrs.get(name), 1, dims) for name in ("strides", "dilations"))
    pads = _ints(attrs.get("pads") if padding == "NOTSET" else None, 0, 2 * dims)
    same = padding if padding.startswith("SAME") else ""
    return Form("Conv", shape, groups, shape[2:], strides, dilations, pads, same)


def _ints(said: Any, default: int, count: int) -> tuple[int, ...]:
    if isinstance(said, int):
        return (said,)
    return tuple(int(v) for v in said) if said else (default,) * count
