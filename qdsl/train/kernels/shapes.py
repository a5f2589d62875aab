"""What changes the shape alone, tells of it, or makes a tensor of nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from qdsl.train.call import Call
from qdsl.train.types import as_tensor, torch_type, torch_type_of


def identity(call: Call) -> Tensor:
    return call.tensor()


def reshape(call: Call) -> Tensor:
    """0 keeps a dimension unless `allowzero`; -1 is what is left."""
    x, wanted = call.tensor(), call.wholes_or_port("shape", 1) or []
    if not call.whole("allowzero", 0):
        wanted = [x.shape[axis] if dim == 0 else dim for axis, dim in enumerate(wanted)]
    return x.reshape(wanted if call.batch is None else _for_batch(wanted, *call.batch))


def _for_batch(wanted: list[int], written: int, given: int) -> list[int]:
    """The same shape for another number of samples, which come first. Raises ValueError where the first dimension is
    not that of the samples: they would be mixed."""
    if not wanted or wanted[0] not in (written, given, -1):
        raise ValueError(f"the shape {wanted} is written for {written} samples, and there are {given}")
    return [given if wanted[0] == written else wanted[0], *wanted[1:]]


def flatten(call: Call) -> Tensor:
    x, axis = call.tensor(), call.whole("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    rows = int(np.prod(x.shape[:axis]))
    return x.reshape(rows, int(np.prod(x.shape[axis:])))


def transpose(call: Call) -> Tensor:
    x = call.tensor()
    return x.permute(call.wholes("perm") or list(reversed(range(x.dim()))))


def squeeze(call: Call) -> Tensor:
    x, axes = call.tensor(), call.wholes_or_port("axes", 1)
    gone = {axis % x.dim() for axis in axes} if axes else {axis for axis, dim in enumerate(x.shape) if dim == 1}
    if any(x.shape[axis] != 1 for axis in gone):
        raise ValueError(f"axes {sorted(gone)} of {tuple(x.shape)} are not all of one element")
    return x.reshape([dim for axis, dim in enumerate(x.shape) if axis not in gone])


def unsqueeze(call: Call) -> Tensor:
    x, axes = call.tensor(), call.wholes_or_port("axes", 1) or []
    rank = x.dim() + len(axes)
    new, old = {axis % rank for axis in axes}, iter(x.shape)
    return x.reshape([1 if axis in new else next(old) for axis in range(rank)])


def expand(call: Call) -> Tensor:
    """Both ways: where the tensor is larger than the shape asked for, its own dimension stays."""
    x = call.tensor()
    return x.expand(np.broadcast_shapes(x.shape, tuple(call.numbers_at(1) or ())))


def tile(call: Call) -> Tensor:
    return call.tensor().repeat(call.numbers_at(1) or [])


def shape(call: Call) -> Tensor:
    """Dimensions as integers, always on the CPU: what follows computes shapes of them."""
    dims = list(call.tensor().shape)
    return torch.tensor(dims[call.attribute("start") : call.attribute("end")], dtype=torch.int64)


def size(call: Call) -> Tensor:
    return torch.tensor(call.tensor().numel(), dtype=torch.int64)


def cast(call: Call) -> Tensor:
    x = call.tensor()
    return x.to(torch_type_of(call.whole("to", 1), torch_type(call.floats)))


def cast_like(call: Call) -> Tensor:
    return call.tensor(0).to(call.tensor(1).dtype)


def constant(call: Call) -> Tensor:
    """Whichever attribute holds the value (Constant-13)."""
    floats = torch_type(call.floats)
    if (value := call.attribute("value")) is not None:
        return as_tensor(value, floats)
    if (real := call.attribute("value_float", call.attribute("value_floats"))) is not None:
        return torch.tensor(real, dtype=floats)
    return torch.tensor(call.attribute("value_int", call.attribute("value_ints")), dtype=torch.int64)


def constant_of_shape(call: Call) -> Tensor:
    value = call.attribute("value")
    floats = torch_type(call.floats)
    one = torch.zeros((), dtype=floats) if value is None else as_tensor(value, floats)
    return one.reshape(()).expand(call.numbers_at(0) or []).clone()


def arange(call: Call) -> Tensor:
    start, limit, delta = (call.tensor(port) for port in range(3))
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype, device=start.device)


def depth_to_space(call: Call) -> Tensor:
    x, block = call.tensor(), call.whole("blocksize", 1)
    batch, channels, height, width = x.shape
    kept = channels // block**2
    if call.text("mode", "DCR") == "DCR":
        split: Sequence[int] = (batch, block, block, kept, height, width)
        turned = x.reshape(split).permute(0, 3, 4, 1, 5, 2)
    else:
        split = (batch, kept, block, block, height, width)
        turned = x.reshape(split).permute(0, 1, 4, 2, 5, 3)
    return turned.reshape(batch, kept, height * block, width * block)


def space_to_depth(call: Call) -> Tensor:
    x, block = call.tensor(), call.whole("blocksize", 1)
    batch, channels, height, width = x.shape
    split = x.reshape(batch, channels, height // block, block, width // block, block)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * block**2, height // block, width // block)
