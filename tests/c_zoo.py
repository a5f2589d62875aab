"""Integer graphs of many operators that have nothing to do with one another, so that one compilation tries them all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from qdsl.integer import records as r
from qdsl.integer.tables import table_of
from qdsl.targets.stm32.c.calls import call_of
from qdsl.targets.stm32.c.records import Call, Placed, Step, Wish
from qdsl.targets.stm32.c.shapes import nbytes
from qdsl.targets.stm32.c.tables import written


def apart(graph: r.IntegerGraph, calls: tuple[Call, ...]) -> Placed:
    """Every tensor somewhere of its own, every call a step, scratch at the end."""
    tensors: dict[str, int] = {}
    at = 0
    for name, tensor in graph.tensors.items():
        if name not in graph.constants:
            tensors[name] = at
            at += -(-nbytes(tensor) // 16) * 16
    size = at + max(call.scratch for call in calls)
    return Placed(tuple(Step((call,)) for call in calls), tensors, (at,) * len(calls), {}, size, size)


def placed(graph: r.IntegerGraph, wish: Wish | None = None) -> Placed:
    return apart(graph, tuple(call_of(op, graph, wish or Wish()) for op in graph.ops))


def by_themselves(graph: r.IntegerGraph, sample: dict[str, np.ndarray]) -> tuple[r.IntegerGraph, dict[str, np.ndarray]]:
    """The same operators, each with inputs of its own, and their values."""
    tensors, ops, values = dict(graph.tensors), [], {}
    for number, op in enumerate(graph.ops):
        names = tuple(name if name in graph.constants else f"{name}_{number}" for name in op.inputs)
        for old, new in zip(op.inputs, names, strict=True):
            if old != new:
                tensors[new], values[new] = replace(graph.tensors[old], name=new), sample[old]
        ops.append(replace(op, inputs=names))
    tensors = {name: each for name, each in tensors.items() if name not in graph.inputs}
    return replace(graph, inputs=tuple(values), tensors=tensors, ops=tuple(ops)), values


def over_inputs(graph: r.IntegerGraph, calls: tuple[Call, ...], *, closer: bool) -> Placed:
    """Every output over an input of its operator, as far before it as has to be; or, `closer`, over its beginning."""
    tensors: dict[str, int] = {}
    at = 0
    for call in calls:
        inputs = [name for name in call.op.inputs if name not in graph.constants]
        distances = dict(zip(call.op.inputs, call.behind, strict=False))
        shared = next((name for name in inputs if distances.get(name) is not None), None)
        names = (call.op.output,) if shared is None else (call.op.output, shared)
        sizes = {name: -(-nbytes(graph.tensors[name]) // 16) * 16 for name in names}
        tensors[call.op.output] = at
        end = at + sizes[call.op.output]
        if shared is not None:
            tensors[shared] = at if closer else at + -(-(distances[shared] or 0) // 4) * 4
            end = max(end, -(-(tensors[shared] + sizes[shared]) // 16) * 16)
        beside = (*(name for name in inputs if name != shared), *written(call.op)[1:])
        for name in beside:
            tensors[name], end = end, end + -(-nbytes(graph.tensors[name]) // 16) * 16
        at = end
    size = at + max(call.scratch for call in calls)
    return Placed(tuple(Step((call,)) for call in calls), tensors, (at,) * len(calls), {}, size, size)


@dataclass
class Zoo:
    """A graph as it grows; what no operator reads is an output."""

    seed: int
    tensors: dict[str, r.Tensor] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    ops: list[r.Op] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def encoding(self, *, power: bool = False) -> r.Encoding:
        exponent = self.rng.uniform(-7, -1)
        scale = np.float32(2.0 ** (round(exponent) if power else exponent))
        return r.Encoding(float(scale), int(self.rng.integers(-128, 128)))

    def near(self, its: r.Encoding) -> r.Encoding:
        """One that keeps most values in range."""
        # By a power of two results come to lie halfway between integers.
        scale = np.float32(its.scale * self.rng.choice([2.0, self.rng.uniform(0.7, 2.0)]))
        return r.Encoding(float(scale), int(np.clip(its.zero + self.rng.integers(-20, 21), -128, 127)))

    def tensor(self, *shape: int, dtype: str = "int8", encoding: r.Encoding | None = None) -> str:
        name = f"t{len(self.tensors)}"
        axes = (0, 2, 3, 1) if len(shape) == 4 else tuple(range(len(shape)))
        its = (encoding or self.encoding()) if dtype == "int8" else None
        self.tensors[name] = r.Tensor(name, shape, dtype, axes, its)  # type: ignore[arg-type]
        return name

    def feed(self, *shape: int, dtype: str = "int8", encoding: r.Encoding | None = None) -> str:
        self.inputs.append(self.tensor(*shape, dtype=dtype, encoding=encoding))
        return self.inputs[-1]

    def constant(self, *shape: int, encoding: r.Encoding | None = None) -> str:
        name = self.tensor(*shape, encoding=encoding)
        self.constants[name] = self.rng.integers(-128, 128, shape, np.int8)
        return name

    def add(self, kind: type[r.Op], inputs: tuple[str, ...], output: str, *values: object, **more: object) -> str:
        self.ops.append(kind(f"{kind.__name__}_{len(self.ops)}", inputs, output, *values, **more))  # type: ignore[arg-type]
        return output

    def its(self, name: str) -> r.Encoding:
        found = self.tensors[name].encoding
        assert found is not None
        return found

    def graph(self) -> r.IntegerGraph:
        read = {name for op in self.ops for name in op.inputs}
        outputs = tuple(op.output for op in self.ops if op.output not in read)
        return r.IntegerGraph("zoo", tuple(self.inputs), outputs, self.tensors, tuple(self.ops), self.constants)

    def sample(self) -> dict[str, np.ndarray]:
        found = {}
        for name in self.inputs:
            tensor = self.tensors[name]
            if tensor.dtype == "float32":
                values = self.rng.normal(0, 3, tensor.shape).astype(np.float32)
                special = [np.nan, np.inf, -np.inf, 0.5, 1.5, -0.5, -1.5]
                values.reshape(-1)[: len(special)] = special[: values.size]
                found[name] = values
            else:
                found[name] = self.rng.integers(-128, 128, tensor.shape, np.int8)
        return found

    # -- operators of random sizes -------------------------------------------------------------------------------

    def size(self, least: int = 1, most: int = 7) -> int:
        return int(self.rng.integers(least, most + 1))

    def clip(self) -> dict[str, float]:
        return {} if self.rng.random() < 0.5 else {"low": float(self.rng.integers(-128, -40)), "high": 90.0}

    def binaries(self) -> None:
        for kind in ("add", "sub", "mul", "div"):
            h, w, c = self.size(), self.size(2), self.size(2)
            for first, second in (
                ((1, h, w, c), (1, h, w, c)),
                ((1, h, w, c), (1, 1, 1, c)),
                ((1, 1, 1, c), (1, h, w, c)),
                ((1, h, w, c), (1, h, w, 1)),
                ((1, h, w, c), ()),
                ((1, h, 1, c), (1, 1, w, 1)),
                ((w, c), (c,)),
            ):
                for make in (self.feed, self.constant):
                    power = make == self.constant
                    a, b = (
                        of(*shape, encoding=self.encoding(power=power))
                        for of, shape in ((self.feed, first), (make, second))
                    )
                    its = self.its(a)
                    out = self.tensor(
                        *np.broadcast_shapes(first, second),
                        encoding=r.Encoding(its.scale * 2, its.zero + its.zero % 2) if power else self.near(its),
                    )
                    self.add(r.Binary, (a, b), out, kind, **self.clip())

    def window(self, most: int = 3) -> r.Window:
        kernel = self.size(1, most), self.size(1, most)
        pads = tuple(int(self.rng.integers(0, k)) for k in (*kernel, *kernel))
        return r.Window(kernel, (self.size(1, 2), self.size(1, 2)), (self.size(1, 2), self.size(1, 2)), pads)  # type: ignore[arg-type]

    def after(self, h: int, w: int, window: r.Window) -> tuple[int, int]:
        sizes = (h + window.pads[0] + window.pads[2], w + window.pads[1] + window.pads[3])
        rows, columns = (
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, dilation in zip(
                sizes, window.kernel, window.strides, window.dilations, strict=True
            )
        )
        return rows, columns

    def pools(self) -> None:
        for number in range(6):
            h, w, c, window = self.size(5, 9), self.size(5, 9), self.size(), self.window()
            if number % 2:
                window = replace(window, dilations=(1, 1))
            x = self.feed(1, h, w, c)
            sizes = self.after(h, w, window)
            self.add(r.MaxPool, (x,), self.tensor(1, *sizes, c, encoding=self.its(x)), window)
            if window.dilations == (1, 1):
                for its in (self.near(self.its(x)), r.Encoding(self.its(x).scale / 4, 3)):
                    out = self.tensor(1, *sizes, c, encoding=its)
                    self.add(r.AveragePool, (x,), out, window, bool(self.rng.random() < 0.5), **self.clip())
            for its in (self.near(self.its(x)), r.Encoding(self.its(x).scale / 16, 3)):  # finer ones clip
                self.add(r.AveragePool, (x,), self.tensor(1, 1, 1, c, encoding=its), None, **self.clip())

    def moves(self) -> None:
        h, w, c = self.size(), self.size(), self.size()
        x = self.feed(1, h, w, c)
        its = self.its(x)
        self.add(r.Reshape, (x,), self.tensor(1, h * w * c, encoding=its))
        for order in ((0, 3, 1, 2), (0, 2, 1, 3)):
            out = self.tensor(*((1, h, w, c)[axis] for axis in order), encoding=its)
            self.add(r.Transpose, (x,), out, order)
        before, after = (0, 1, 2, 0), (0, 2, 0, 1)
        out = self.tensor(1, h + 3, w + 2, c + 1, encoding=its)
        self.add(r.Pad, (x,), out, before, after, float(its.zero))
        f = self.feed(2, h, c, dtype="float32")
        self.add(r.Pad, (f,), self.tensor(4, h, c + 1, dtype="float32"), (1, 0, 0), (1, 0, 1), 1.5)
        y = self.feed(1, 7, 8, 3)
        self.add(r.Slice, (y,), self.tensor(1, 3, 4, 2, encoding=self.its(y)), (0, 1, 0, 1), (1, 2, 2, 1))
        rows, columns = (self.rng.integers(0, n, 2 * n).astype(np.int32) for n in (h, w))
        self.add(r.Resize, (x,), self.tensor(1, 2 * h, 2 * w, c, encoding=its), rows, columns)

    def concats(self) -> None:
        for axis in (1, 2, 3):
            shape = [1, self.size(), self.size(), self.size()]
            out_its = self.encoding()
            parts = []
            for its in (None, out_its, None):
                shape[axis] = self.size()
                near = self.near(out_its)
                parts.append(self.feed(*shape, encoding=its or near))
            shape[axis] = sum(self.tensors[part].shape[axis] for part in parts)
            self.add(r.Concat, tuple(parts), self.tensor(*shape, encoding=out_its), axis)

    def functions(self) -> None:
        h, w, c = self.size(), self.size(), self.size(3, 12)
        x = self.feed(1, h, w, c)
        out = self.tensor(1, h, w, c)
        self.add(r.Table, (x,), out, table_of("Sigmoid", {}, self.its(x), self.its(out)))
        self.add(r.Softmax, (x,), self.tensor(1, h, w, c, encoding=r.Encoding(1 / 256, -128)))
        y = self.feed(1, 10)
        self.add(r.Softmax, (y,), self.tensor(1, 10, encoding=r.Encoding(float(np.float32(1 / 255)), -128)))
        f = self.feed(1, h, w, c, dtype="float32")
        self.add(r.Quantize, (f,), self.tensor(1, h, w, c))
        self.add(r.Quantize, (f,), self.tensor(1, h, w, c, encoding=r.Encoding(1.0, 3)))
        self.add(r.Dequantize, (x,), self.tensor(1, h, w, c, dtype="float32"))

    def to(self, channels: int, products: int) -> r.Requantize:
        count = channels if self.rng.random() < 0.7 else 1
        scale = self.rng.uniform(0.5, 2.0, count) / (40 * products**0.5)
        low, high = (-128, 127) if self.rng.random() < 0.5 else (-100, 90)
        return r.Requantize(scale.astype(np.float32), low, high)

    def floats(self, channels: int) -> r.Floats:
        scale, bias = (self.rng.normal(0, 0.01, channels).astype(np.float32) for _ in range(2))
        return r.Floats(np.abs(scale), bias if self.rng.random() < 0.7 else None, -1.5, 2.0)

    def weight(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-127, 128, shape, np.int8)

    def bias(self, channels: int) -> np.ndarray | None:
        return self.rng.integers(-3000, 3000, channels, np.int32) if self.rng.random() < 0.8 else None

    def convs(self) -> None:
        for kind in ("pointwise", "depthwise", "any", "any", "grouped"):
            h, w, c, outs = self.size(5, 9), self.size(5, 9), 4 * self.size(1, 3), self.size(1, 9)
            window, groups = self.window(), 1
            if kind == "pointwise":
                window = r.Window((1, 1))
            elif kind == "depthwise":
                outs = groups = c
            elif kind == "grouped":
                groups, outs = 2, 6
            weight = self.weight(outs, *window.kernel, c // groups)
            x, sizes = self.feed(1, h, w, c), self.after(h, w, window)
            to = self.to(outs, weight[0].size)
            self.add(r.Conv, (x,), self.tensor(1, *sizes, outs), weight, self.bias(outs), window, to, groups)
            wanted = self.tensor(1, *sizes, outs, dtype="float32")
            floats = self.floats(outs)
            self.add(r.Conv, (x,), wanted, weight, self.bias(outs), window, floats, groups)
        for shape in ((1, 10), (1, 3, 7)):
            x, outs = self.feed(*shape), self.size(5, 9)
            weight = self.weight(outs, shape[-1])
            to = self.to(outs, shape[-1])
            self.add(r.Dense, (x,), self.tensor(*shape[:-1], outs), weight, self.bias(outs), to)
            wanted = self.tensor(*shape[:-1], outs, dtype="float32")
            self.add(r.Dense, (x,), wanted, weight, self.bias(outs), self.floats(outs))

    def chain(self) -> Zoo:
        """Convolutions and pools one after another, with a sum over three of them."""
        x = self.feed(1, 25, 14, 8)
        for window, groups, outs in (
            (r.Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)), 1, 24),
            (r.Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), 24, 24),
            (r.Window((1, 1)), 1, 24),
            (r.Window((3, 2), (1, 2), (2, 1), (2, 0, 2, 1)), 1, 8),
            (r.Window((1, 1)), 1, 48),
        ):
            h, w, c = self.tensors[x].shape[1:]
            weight = self.weight(outs, *window.kernel, c // groups)
            out = self.tensor(1, *self.after(h, w, window), outs)
            self.add(r.Conv, (x,), out, weight, self.bias(outs), window, self.to(outs, weight[0].size), groups)
            x = out
        first = self.ops[0].output
        both = self.tensor(1, *self.tensors[first].shape[1:])
        self.ops.insert(3, r.Binary("sum", (self.ops[2].output, first), both, "add"))
        self.ops[4] = replace(self.ops[4], inputs=(both,))
        pool = r.Window((3, 3), (2, 2), (1, 1), (0, 1, 1, 0))
        h, w, c = self.tensors[x].shape[1:]
        out = self.add(r.MaxPool, (x,), self.tensor(1, *self.after(h, w, pool), c, encoding=self.its(x)), pool)
        self.add(r.AveragePool, (out,), self.tensor(1, 1, 1, c, encoding=self.near(self.its(out))), None)
        return self

    def all(self) -> Zoo:
        self.convs()
        self.binaries()
        self.pools()
        self.moves()
        self.concats()
        self.functions()
        return self
