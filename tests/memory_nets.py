"""Integer graphs and their calls as the planner of memory sees them: shapes, windows, how far behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from qdsl.integer.records import Dtype, IntegerGraph, Op, Reshape, Tensor
from qdsl.targets.stm32.c.records import Call, Step

TILE = 4  # pixels that a pointwise kernel computes at once


@dataclass
class Net:
    """Operators one by one, each on the output of another; what they are called is where they write."""

    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def graph(self) -> IntegerGraph:
        return IntegerGraph(
            "net", tuple(self.inputs), tuple(self.outputs), self.tensors, tuple(call.op for call in self.calls)
        )

    def steps(self) -> tuple[Step, ...]:
        return tuple(Step((call,)) for call in self.calls)

    def tensor(self, name: str, shape: Sequence[int], dtype: Dtype = "int8") -> str:
        self.tensors[name] = Tensor(name, tuple(shape), dtype, tuple(range(len(shape))))
        return name

    def image(self, name: str, height: int, width: int, channels: int) -> str:
        self.inputs.append(self.tensor(name, (1, height, width, channels)))
        return name

    def conv(
        self,
        source: str,
        name: str,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        scratch: int = 0,
    ) -> str:
        """Padded to ceil(size / stride); one that looks at single pixels writes a tile behind what it reads."""
        _, high, wide, depth = self.tensors[source].shape
        out_high, out_wide = -(-high // stride), -(-wide // stride)
        total = max(0, (out_high - 1) * stride + dilation * (kernel - 1) + 1 - high)
        above = total // 2
        self.tensor(name, (1, out_high, out_wide, channels))
        if kernel == stride == 1:
            behind = max((pixel + TILE) * channels - pixel * depth for pixel in (0, high * wide - TILE))
        else:
            tops = [max(0, row * stride - above) for row in range(out_high)]
            behind = max((row + 1) * out_wide * channels - top * wide * depth for row, top in enumerate(tops))
        self.call((source,), name, window=(kernel, stride, dilation, above), behind=(max(0, behind),), scratch=scratch)
        return name

    def add(self, one: str, other: str, name: str) -> str:
        self.tensor(name, self.tensors[one].shape)
        self.call((one, other), name, behind=(0, 0))
        return name

    def reshape(self, source: str, name: str, shape: Sequence[int]) -> str:
        self.tensor(name, shape)
        self.calls.append(Call(Reshape(name, (source,), name), "qdsl_copy", False, "", (), (), behind=(0,)))
        return name

    def plane(self, sources: Sequence[str], name: str, shape: Sequence[int], scratch: int = 0) -> str:
        """Of whole tensors, to one that shares memory with none of them."""
        self.tensor(name, shape)
        nowhere = (None,) * len(sources)
        self.calls.append(Call(Op(name, tuple(sources), name), "plane", False, "", (), (), scratch, behind=nowhere))
        return name

    def call(
        self,
        sources: tuple[str, ...],
        name: str,
        window: tuple[int, int, int, int] = (1, 1, 1, 0),
        behind: tuple[int | None, ...] = (),
        scratch: int = 0,
    ) -> None:
        self.calls.append(Call(Op(name, sources, name), "row", True, "", (), (), scratch, window, behind))


def mobilenet_v1(size: int = 224, width: float = 0.25) -> Net:
    net = Net()
    x = net.conv(net.image("image", size, size, 3), "conv1", _wide(32 * width), stride=2)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for number, (channels, stride) in enumerate(plan, 1):
        x = net.conv(x, f"dw{number}", net.tensors[x].shape[3], stride=stride)
        x = net.conv(x, f"pw{number}", _wide(channels * width), kernel=1)
    return _head(net, x)


def mobilenet_v2(size: int = 224, width: float = 0.5) -> Net:
    net = Net()
    x = net.conv(net.image("image", size, size, 3), "conv1", _eights(32 * width), stride=2)
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    number = 0
    for times, channels, count, stride in plan:
        for block in range(count):
            number += 1
            start, depth = x, net.tensors[x].shape[3]
            if times > 1:
                x = net.conv(x, f"expand{number}", depth * times, kernel=1)
            x = net.conv(x, f"dw{number}", depth * times, stride=stride if block == 0 else 1)
            x = net.conv(x, f"project{number}", _eights(channels * width), kernel=1)
            if block:
                x = net.add(start, x, f"add{number}")
    return _head(net, net.conv(x, "last", 1280, kernel=1))


def resnet8(size: int = 32) -> Net:
    """As MLPerf Tiny describes it."""
    net = Net()
    x = net.conv(net.image("image", size, size, 3), "conv1", 16)
    for number, (channels, stride) in enumerate([(16, 1), (32, 2), (64, 2)], 1):
        a = net.conv(x, f"a{number}", channels, stride=stride)
        b = net.conv(a, f"b{number}", channels)
        beside = net.conv(x, f"beside{number}", channels, kernel=1, stride=stride) if stride > 1 else x
        x = net.add(b, beside, f"add{number}")
    return _head(net, x)


def _head(net: Net, x: str) -> Net:
    depth = net.tensors[x].shape[3]
    pooled = net.plane((x,), "pooled", (1, 1, 1, depth))
    flat = net.reshape(pooled, "flat", (1, depth))
    net.outputs.append(net.plane((flat,), "logits", (1, 2)))
    return net


def _wide(channels: float) -> int:
    return int(channels)


def _eights(channels: float) -> int:
    """To a multiple of 8, not more than a tenth below."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8


NETS: dict[str, Callable[[], Net]] = {"v1": mobilenet_v1, "v2": mobilenet_v2, "resnet8": resnet8}
