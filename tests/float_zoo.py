"""Integer graphs whose operators compute in float32, or on what is quantized at run time."""

from __future__ import annotations

import numpy as np
from c_zoo import Zoo

from qdsl.integer import records as r
from qdsl.integer.functions import FUNCTIONS

ATTRIBUTES: dict[str, dict[str, float]] = {
    "Clip": {"min": -1.5, "max": 2.0},
    "LeakyRelu": {"alpha": 0.2},
    "ThresholdedRelu": {"alpha": 0.7},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "Swish": {"alpha": 1.3},
    "Elu": {"alpha": 0.8},
    "Celu": {"alpha": 1.7},
}
ABOVE_ZERO = ("Sqrt", "Log", "Reciprocal")


class FloatZoo(Zoo):
    """Every operator reads inputs of its own, floats around 0."""

    def floats(self, *shape: int) -> str:  # type: ignore[override]
        return self.feed(*shape, dtype="float32")

    def made(self, *shape: int, dtype: str = "float32") -> str:
        return self.tensor(*shape, dtype=dtype)

    def sample(self) -> dict[str, np.ndarray]:
        found = {name: self.random(*self.tensors[name].shape) * np.float32(3) for name in self.inputs}
        for op in self.ops:
            if isinstance(op, r.Unary) and op.function in ABOVE_ZERO:
                found[op.inputs[0]] = np.abs(found[op.inputs[0]]) + np.float32(0.1)
            if isinstance(op, r.Binary) and op.kind == "div":
                found[op.inputs[1]] = np.abs(found[op.inputs[1]]) + np.float32(0.5)
        return found

    def bounds(self) -> dict[str, float]:
        return {} if self.rng.random() < 0.5 else {"low": -1.0, "high": 6.0}

    def random(self, *shape: int) -> np.ndarray:
        return self.rng.normal(0, 1, shape).astype(np.float32)

    def kind(self, kind: str) -> tuple[int, int, int, int, r.Window, int]:
        """Height, width, channels in and out, window, groups."""
        h, w, c, outs = self.size(5, 9), self.size(5, 9), 4 * self.size(1, 3), self.size(1, 9)
        window, groups = self.window(), 1
        if kind == "pointwise":
            window = r.Window((1, 1))
        elif kind == "depthwise":
            outs = groups = c
        elif kind == "narrow":
            c = outs = groups = 3
        elif kind == "grouped":
            groups, outs = 2, 6
        return h, w, c, outs, window, groups

    def float_sums(self) -> None:
        for kind in ("pointwise", "pointwise", "depthwise", "depthwise", "narrow", "any", "any", "grouped"):
            h, w, c, outs, window, groups = self.kind(kind)
            weight = self.random(outs, *window.kernel, c // groups)
            bias = self.random(outs) if self.rng.random() < 0.7 else None
            out = self.made(1, *self.after(h, w, window), outs)
            self.add(r.FloatConv, (self.floats(1, h, w, c),), out, weight, bias, window, groups, **self.bounds())
        for shape in ((1, 10), (1, 3, 7), (1, 2, 3, 5)):
            outs = self.size(1, 9)
            weight, out = self.random(outs, shape[-1]), self.made(*shape[:-1], outs)
            self.add(r.FloatDense, (self.floats(*shape),), out, weight, self.random(outs), **self.bounds())

    def float_values(self) -> None:
        h, w, c = self.size(2), self.size(2), self.size(2)
        for kind in ("add", "sub", "mul", "div"):
            for first, second in (
                ((1, h, w, c), (1, h, w, c)),
                ((1, 1, 1, c), (1, h, w, c)),
                ((1, h, 1, c), (1, 1, w, 1)),
                ((w, c), ()),
            ):
                a, b = self.floats(*first), self.floats(*second)
                out = self.made(*np.broadcast_shapes(first, second))
                self.add(r.Binary, (a, b), out, kind, **self.bounds())
        for function in sorted(FUNCTIONS):
            x = self.floats(1, h, w, 9)
            self.add(r.Unary, (x,), self.made(1, h, w, 9), function, ATTRIBUTES.get(function, {}))
        self.add(r.Softmax, (self.floats(2, 9),), self.made(2, 9))

    def float_pools(self) -> None:
        for _ in range(3):
            h, w, c, window = self.size(5, 9), self.size(5, 9), self.size(), self.window()
            sizes = self.after(h, w, window)
            self.add(r.MaxPool, (self.floats(1, h, w, c),), self.made(1, *sizes, c), window)
            counts = bool(self.rng.random() < 0.5)
            if window.dilations == (1, 1):
                self.add(r.AveragePool, (self.floats(1, h, w, c),), self.made(1, *sizes, c), window, counts)
            self.add(r.AveragePool, (self.floats(1, h, w, c),), self.made(1, 1, 1, c), None)

    def float_moves(self) -> None:
        h, w, c = self.size(), self.size(), self.size()
        x = self.floats(1, h, w, c)
        self.add(r.Transpose, (x,), self.made(1, c, h, w), (0, 3, 1, 2))
        self.add(r.Pad, (x,), self.made(1, h + 3, w + 2, c + 1), (0, 1, 2, 0), (0, 2, 0, 1), -0.5)
        self.add(r.Slice, (self.floats(1, 7, 8, 3),), self.made(1, 3, 4, 2), (0, 1, 0, 1), (1, 2, 2, 1))
        rows, columns = (self.rng.integers(0, n, 2 * n).astype(np.int32) for n in (h, w))
        self.add(r.Resize, (x,), self.made(1, 2 * h, 2 * w, c), rows, columns)
        for axis in (1, 3):
            parts = [self.floats(1, *(n if at == axis else 4 for at in range(1, 4))) for n in (1, 3)]
            out = self.made(1, *(4 for _ in range(3)))
            self.add(r.Concat, tuple(parts), out, axis)

    def all(self) -> FloatZoo:
        self.float_sums()
        self.float_values()
        self.float_pools()
        self.float_moves()
        return self


class DynamicZoo(FloatZoo):
    """Layers of what is quantized at run time, then what quantizes their floats, of some by a function."""

    def graph(self) -> r.IntegerGraph:
        """Floats that only what quantizes them reads are no outputs, so that their layers may run twice."""
        read = {name for op in self.ops for name in op.inputs}
        outputs = tuple(op.output for op in self.ops if op.output not in read)
        return r.IntegerGraph("zoo", tuple(self.inputs), outputs, self.tensors, tuple(self.ops), self.constants)

    def measured(self, name: str) -> tuple[str, str]:
        codes, found = self.made(*self.tensors[name].shape, dtype="uint8"), self.made(2)
        self.add(r.DynamicQuantize, (name,), codes, found)
        return codes, found

    def to(self, channels: int, products: int) -> r.Floats:  # type: ignore[override]
        count = channels if self.rng.random() < 0.7 else 1
        scale = (self.rng.uniform(0.5, 2.0, count) / (40 * products**0.5)).astype(np.float32)
        return r.Floats(scale, self.random(channels) if self.rng.random() < 0.5 else None, **self.bounds())

    def all(self) -> DynamicZoo:
        kinds = ("pointwise", "pointwise", "depthwise", "depthwise", "depthwise", "narrow", "any", "any", "grouped")
        for number, kind in enumerate(kinds):
            h, w, c, outs, window, groups = self.kind(kind)
            if kind == "depthwise" and number % 2:
                window = r.Window((3, 3), (number // 2, number // 2), pads=(1, 1, 1, 1))
            weight = self.weight(outs, *window.kernel, c // groups)
            out, to = self.made(1, *self.after(h, w, window), outs), self.to(outs, weight[0].size)
            self.add(r.Conv, self.measured(self.floats(1, h, w, c)), out, weight, None, window, to, groups)
            self.ending(out)
        for shape in ((1, 10), (1, 3, 7)):
            outs = self.size(1, 9)
            weight, out = self.weight(outs, shape[-1]), self.made(*shape[:-1], outs)
            to = self.to(outs, shape[-1])
            self.add(r.Dense, self.measured(self.floats(*shape)), out, weight, None, to)
            self.ending(out)
        return self

    def ending(self, name: str) -> None:
        if self.rng.random() < 0.5:
            name = self.add(r.Unary, (name,), self.made(*self.tensors[name].shape), "HardSwish")
        self.measured(name)
