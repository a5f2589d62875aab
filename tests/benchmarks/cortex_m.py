"""Instructions per product of the C kernels for Cortex-M, layer by layer, counted under QEMU.

    python tests/benchmarks/cortex_m.py
    python tests/benchmarks/cortex_m.py --network resnet8 --optimize ram --core cortex-m4
    python tests/benchmarks/cortex_m.py --cmsis ../CMSIS-NN

The shapes are those of known networks, what they hold is random: instructions do not depend on it. Counts are exact and
the same on every host; they are no cycles. `--cmsis` runs the convolutions through a checkout of CMSIS-NN beside it,
built at -O3 with one rounding.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from kernel_tools import CORES, HERE, LINKED, NANOSECONDS, Case, Driver, build, cross, tools_absent

from qdsl.integer.records import Conv, Dense, Encoding, IntegerGraph, Requantize, Tensor, Window
from qdsl.targets.stm32.c.conv_calls import conv_call, dense_call, over_plane
from qdsl.targets.stm32.c.records import Wish


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution of `size` x `size` pixels with as much padding as keeps size / stride; `kernel` 0 is a matrix."""

    kind: str
    size: int
    ins: int
    outs: int
    kernel: int = 1
    stride: int = 1

    @property
    def out_size(self) -> int:
        return -(-self.size // self.stride)

    @property
    def macs(self) -> int:
        seen = 1 if self.kind == "depthwise" else self.ins
        return self.out_size**2 * self.outs * self.kernel**2 * seen


def mobilenet_v1(width: float = 0.25, size: int = 224, classes: int = 2, channels: int = 3) -> list[Layer]:
    """Howard et al., 2017, table 1, without the pool."""
    layers = [Layer("conv", size, channels, int(32 * width), 3, 2)]
    size //= 2
    ins = int(32 * width)
    blocks = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
    for full, stride in blocks:
        outs = int(full * width)
        layers.append(Layer("depthwise", size, ins, ins, 3, stride))
        size = -(-size // stride)
        layers.append(Layer("pointwise", size, ins, outs))
        ins = outs
    return [*layers, Layer("dense", 1, ins, classes)]


def mobilenet_v2(width: float = 0.5, size: int = 224, classes: int = 2) -> list[Layer]:
    """Sandler et al., 2018, table 2, without the pool and the sums."""
    ins, size = int(32 * width), size // 2
    layers = [Layer("conv", 2 * size, 3, ins, 3, 2)]
    for expand, full, times, first in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        outs = max(8, int(full * width + 4) // 8 * 8)
        outs += 8 if outs < 0.9 * full * width else 0
        for stride in [first] + [1] * (times - 1):
            inner = ins * expand
            if expand > 1:
                layers.append(Layer("pointwise", size, ins, inner))
            layers.append(Layer("depthwise", size, inner, inner, 3, stride))
            size = -(-size // stride)
            layers.append(Layer("pointwise", size, inner, outs))
            ins = outs
    return [*layers, Layer("pointwise", size, ins, 1280), Layer("dense", 1, 1280, classes)]


def resnet8() -> list[Layer]:
    """MLPerf Tiny's, on CIFAR-10."""
    layers, size, ins = [Layer("conv", 32, 3, 16, 3)], 32, 16
    for outs, stride in ((16, 1), (32, 2), (64, 2)):
        layers.append(Layer("conv", size, ins, outs, 3, stride))
        layers.append(Layer("conv", size // stride, outs, outs, 3))
        if stride > 1:
            layers.append(Layer("conv", size, ins, outs, 1, stride))
        size, ins = size // stride, outs
    return [*layers, Layer("dense", 1, 64, 10)]


NETWORKS = {
    "v1": mobilenet_v1,
    "v2": mobilenet_v2,
    "vww": lambda: mobilenet_v1(size=96),
    "resnet8": resnet8,
    "autoencoder": lambda: [
        Layer("dense", 1, a, b)
        for a, b in ((640, 128), *[(128, 128)] * 3, (128, 8), (8, 128), *[(128, 128)] * 3, (128, 640))
    ],
}


def case_of(layer: Layer, wish: Wish, rng: np.random.Generator) -> Case:
    kernel, pad = layer.kernel, (layer.kernel - 1) // 2
    depthwise = layer.kind == "depthwise"
    shape = (1, layer.size, layer.size, layer.ins)
    out = (1, layer.out_size, layer.out_size, layer.outs)
    if layer.kind == "dense":
        shape, out = (1, layer.ins), (1, layer.outs)
    weight = rng.integers(-127, 128, (layer.outs, kernel, kernel, 1 if depthwise else layer.ins)).astype(np.int8)
    bias = rng.integers(-999, 999, layer.outs).astype(np.int32)
    to = Requantize(np.full(layer.outs, 0.01 / np.sqrt(weight[0].size), np.float32))
    tensors = {
        name: Tensor(name, dims, "int8", tuple(range(len(dims))), Encoding(0.02, -128))
        for name, dims in (("x", shape), ("y", out))
    }
    x = rng.integers(-128, 128, shape).astype(np.int8)
    if layer.kind == "dense":
        op = Dense("n", ("x",), "y", weight.reshape(layer.outs, -1), bias, to)
        return Case(dense_call(op, IntegerGraph("one", ("x",), ("y",), tensors, (op,)), wish), x, out)
    window = Window((kernel, kernel), (layer.stride, layer.stride), (1, 1), (pad,) * 4)
    conv = Conv("n", ("x",), "y", weight, bias, window, to, layer.ins if depthwise else 1)
    call = conv_call(conv, IntegerGraph("one", ("x",), ("y",), tensors, (conv,)), wish)
    if layer.kind == "pointwise":
        flat = (1, layer.size**2)
        return Case(over_plane(call, layer.size), x.reshape(*flat, -1)[0], (*flat, layer.outs)[1:])
    return Case(call, x, out)


def cmsis(layers: Sequence[Layer], checkout: Path, core: str, folder: Path) -> list[int]:
    """Instructions per layer by CMSIS-NN's kernels, those of floats not compiled."""
    parts = ("ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions")
    found = [file for part in parts for file in sorted((checkout / "Source" / part).glob("*.c"))]
    sources = [str(file) for file in found if not file.stem.endswith(("_f16", "_f32", "_flt"))]
    rows = (
        f"{{{layer.kind == 'depthwise':d},{layer.size},{layer.ins},{layer.outs},{layer.kernel},{layer.stride}}}"
        for layer in layers
    )
    driver = str(Path(__file__).with_name("cmsis_layers.c"))
    defined = (f"-DCMSIS_LAYERS={','.join(rows)}", "-DCMSIS_NN_USE_SINGLE_ROUNDING")
    includes = ("-I", str(checkout / "Include"), "-I", str(HERE))
    flags = ("-O3", "-ffunction-sections", "-Wl,--gc-sections", "-Wl,--entry=main")
    command = [*cross(core, folder), *flags, *defined, *includes, driver, *sources, *LINKED]
    program = folder / "cmsis.elf"
    subprocess.run([*command, "-o", str(program)], check=True)
    Driver(program, True).start()
    ticks = np.frombuffer((folder / "outputs").read_bytes(), np.uint32)
    return [round(int(each) * NANOSECONDS) for each in ticks]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="v1")
    parser.add_argument("--optimize", choices=("speed", "ram"), default="speed")
    parser.add_argument("--rounding", choices=("ort", "tflite"), default="ort")
    parser.add_argument("--core", choices=CORES, default="cortex-m7")
    parser.add_argument("--cmsis", type=Path, help="a checkout of CMSIS-NN")
    asked = parser.parse_args()
    absent = tools_absent()
    if absent:
        print(absent)
        return 1
    layers, wish = NETWORKS[asked.network](), Wish(asked.optimize, asked.rounding)
    rng = np.random.default_rng(1)
    cases = [case_of(layer, wish, rng) for layer in layers]
    with tempfile.TemporaryDirectory() as folder:
        counts = [ran.instructions for ran in build(Path(folder), asked.core).run(cases)]
        show(layers, counts, f"{asked.network}, {asked.core} emulated by QEMU, {asked.optimize}, {asked.rounding}")
        if asked.cmsis is not None:
            kept = [i for i, layer in enumerate(layers) if layer.kind != "dense"]
            convs = [layers[i] for i in kept]
            theirs = cmsis(convs, asked.cmsis, asked.core, Path(folder))
            show(convs, theirs, f"the convolutions by CMSIS-NN, {asked.core} emulated by QEMU")
            print(f"ratio {sum(counts[i] for i in kept) / sum(theirs):.3f}")
    return 0


def show(layers: list[Layer], counts: list[int], title: str) -> None:
    print(f"{title}\n{'layer':10} {'input':>13} {'output':>13} {'products':>11} {'instructions':>12} {'each':>6}")
    for layer, count in zip(layers, counts, strict=True):
        shapes = [
            f"{size}x{size}x{channels}" for size, channels in ((layer.size, layer.ins), (layer.out_size, layer.outs))
        ]
        print(f"{layer.kind:10} {shapes[0]:>13} {shapes[1]:>13} {layer.macs:11} {count:12} {count / layer.macs:6.2f}")
    for kind in [*dict.fromkeys(layer.kind for layer in layers), "all"]:
        chosen = [i for i, layer in enumerate(layers) if kind in (layer.kind, "all")]
        macs, taken = sum(layers[i].macs for i in chosen), sum(counts[i] for i in chosen)
        print(f"{kind:38} {macs:11} {taken:12} {taken / macs:6.2f}")


if __name__ == "__main__":
    sys.exit(main())
