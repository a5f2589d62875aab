"""What takes values from where they lie and puts them elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from qdsl.train.call import Call, Results


def concat(call: Call) -> Tensor:
    return torch.cat(call.present(), call.whole("axis", 1))


def split(call: Call) -> Results:
    """By sizes, or into as many equal pieces as there are outputs, of which the last may be smaller."""
    x, axis, sizes = call.tensor(), call.whole("axis", 0), call.wholes_or_port("split", 1)
    if sizes is None:
        count = call.whole("num_outputs", len(call.operation.outputs))
        return tuple(torch.split(x, -(-x.shape[axis] // count), axis))
    return tuple(torch.split(x, sizes, axis))


def sliced(call: Call) -> Tensor:
    """Bounds as inputs, before opset 10 as attributes. A step may be negative."""
    x = call.tensor()
    starts = call.wholes_or_port("starts", 1) or []
    ends = call.wholes_or_port("ends", 2) or []
    axes = call.wholes_or_port("axes", 3) or list(range(len(starts)))
    steps = call.numbers_at(4) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        x = _slice(x, axis % x.dim(), start, end, step)
    return x


def _slice(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    taken = _taken(x.shape[axis], start, end, step)
    if step == 1:
        return x.narrow(axis, taken.start, len(taken))
    if step > 0:
        return x[(*[slice(None)] * axis, slice(taken.start, taken.stop, step))]
    return x.index_select(axis, torch.tensor(list(taken), dtype=torch.int64, device=x.device))


def _taken(length: int, start: int, end: int, step: int) -> range:
    """Negative bounds count from the end; what is still outside is brought inside (Slice-13), which is not what Python
    does with a start before the first element and a negative step."""
    start, end = (bound + length if bound < 0 else bound for bound in (start, end))
    low, high = (0, length) if step > 0 else (-1, length - 1)
    start = min(max(start, 0), max(high, 0))
    return range(start, min(max(end, low), high), step) if length else range(0)


def gather(call: Call) -> Tensor:
    """Indices may be negative; they take the place of the axis, with all their dimensions."""
    x, axis, indices = call.tensor(0), call.whole("axis", 0), call.tensor(1)
    axis %= x.dim()
    flat = indices.reshape(-1).to(torch.int64)
    taken = x.index_select(axis, torch.where(flat < 0, flat + x.shape[axis], flat))
    return taken.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def gather_elements(call: Call) -> Tensor:
    x, axis, indices = call.tensor(0), call.whole("axis", 0), call.tensor(1).to(torch.int64)
    return torch.gather(x, axis, torch.where(indices < 0, indices + x.shape[axis], indices))


def gather_nd(call: Call) -> Tensor:
    x, indices, batch = call.tensor(0), call.tensor(1).to(torch.int64), call.whole("batch_dims", 0)
    if batch == 0:
        return x[tuple(indices.movedim(-1, 0))]
    lead = x.shape[:batch]
    rows, picks = x.reshape(-1, *x.shape[batch:]), indices.reshape(-1, *indices.shape[batch:])
    taken = [row[tuple(pick.movedim(-1, 0))] for row, pick in zip(rows, picks, strict=True)]
    return torch.stack(taken).reshape(*lead, *taken[0].shape)


def scatter_elements(call: Call) -> Tensor:
    x, axis, indices, updates = call.tensor(0), call.whole("axis", 0), call.tensor(1).to(torch.int64), call.tensor(2)
    indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    if call.text("reduction", "none") == "none":
        return x.scatter(axis, indices, updates)
    return x.scatter_add(axis, indices, updates)


def scatter_nd(call: Call) -> Tensor:
    x, indices, updates = call.tensor(0), call.tensor(1).to(torch.int64), call.tensor(2)
    where = tuple(indices.movedim(-1, 0))
    return x.index_put(where, updates, accumulate=call.text("reduction", "none") == "add")


def pad(call: Call) -> Tensor:
    """Pads may be negative. Values other than a constant are taken from where they lie."""
    x, pads = call.tensor(), call.wholes_or_port("pads", 1) or []
    axes = call.numbers_at(3)
    axes = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in axes]
    begin, end = [0] * x.dim(), [0] * x.dim()
    for port, axis in enumerate(axes):
        begin[axis], end[axis] = pads[port], pads[port + len(axes)]
    mode = call.text("mode", "constant")
    if mode == "constant":
        return functional.pad(x, _from_last(begin, end), value=_fill(call))
    for axis, (before, behind) in enumerate(zip(begin, end, strict=True)):
        x = _mirrored(x, axis, before, behind, mode) if before or behind else x
    return x


def _from_last(begin: list[int], end: list[int]) -> list[int]:
    return [one for pair in zip(reversed(begin), reversed(end), strict=True) for one in pair]


def _fill(call: Call) -> float:
    value = call.optional(2)
    return call.real("value", 0.0) if value is None else value.reshape(()).item()


def _mirrored(x: Tensor, axis: int, before: int, behind: int, mode: str) -> Tensor:
    length = x.shape[axis]
    places = torch.arange(-before, length + behind, device=x.device)
    if mode == "edge":
        places = places.clamp(0, length - 1)
    elif mode == "wrap":
        places = places.remainder(length)
    else:
        period = max(2 * (length - 1), 1)
        places = places.remainder(period)
        places = torch.where(places >= length, period - places, places)
    return x.index_select(axis, places)


def trilu(call: Call) -> Tensor:
    diagonal = (call.numbers_at(1) or [0])[0]
    return torch.triu(call.tensor(), diagonal) if call.whole("upper", 1) else torch.tril(call.tensor(), diagonal)


def non_zero(call: Call) -> Tensor:
    return torch.nonzero(call.tensor()).transpose(0, 1)


def one_hot(call: Call) -> Tensor:
    """Indices out of range give a row that is off throughout."""
    indices, values = call.tensor(0).to(torch.int64), call.tensor(2)
    depth, axis = (call.numbers_at(1) or [0])[0], call.whole("axis", -1)
    classes = torch.arange(depth, device=indices.device)
    hot = torch.where(indices < 0, indices + depth, indices).unsqueeze(-1) == classes
    return torch.where(hot, values[1], values[0]).movedim(-1, axis)
