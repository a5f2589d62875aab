"""One quantized network by other tools on an emulated Cortex-M7, beside the C of `target stm32`.

    qdsl compile recipes/cracks_v1_stm32.q
    python tests/benchmarks/whole.py build/cracks_v1_stm32/stm32/model.onnx \\
        --cmsis ../CMSIS-NN --emx venv/bin/emx-onnx-cgen

CMSIS-NN: a checkout, built at -O3 with one rounding; its functions are called as its documentation says, two tensors
at a time in memory, its own scratch from the heap. Its mean keeps the scale of what it averages, so that its outputs
may be others. emx-onnx-cgen: that of a virtual environment (`pip install emx-onnx-cgen`), as it comes, at -O2, all
weights in the program; the samples are floats, and no part of its RAM. Flash and RAM are those that the same program
without the network does not have, the heap the most that lived at a time. Networks of convolutions, a mean of the
whole plane and a matrix, one after the other, alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import frexp, prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import ROOT
from numpy.typing import NDArray

sys.path.insert(0, str(ROOT / "tests"))

from integer_models import interpreted
from kernel_tools import HERE, LINKED, NANOSECONDS, Driver, cross

from qdsl.integer.lower import lower
from qdsl.integer.records import AveragePool, Conv, Dense, IntegerGraph, Op, Requantize, Reshape
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.emulated.network import Network, emulated
from qdsl.targets.stm32.making import make_c

SAMPLES = 20
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Found:
    """Bytes of flash, of RAM without heap and stack, of both; instructions of a run; how many of the values are equal,
    and how far apart the others are at most (in steps where they are integers)."""

    flash: int
    ram: int
    heap: int
    stack: int
    instructions: int
    same: int
    values: int
    apart: float


def sizes(program: Path) -> tuple[int, int]:
    """Bytes of flash (what is read, first values) and of RAM (first values, zeros)."""
    said = subprocess.run(["arm-none-eabi-size", str(program)], check=True, capture_output=True, text=True).stdout
    text, data, bss = (int(word) for word in said.splitlines()[1].split()[:3])
    return text + data, data + bss


def built(folder: Path, name: str, more: Sequence[str], ends: tuple[int, int], level: str) -> Path:
    defined = (f"-DINPUT_BYTES={ends[0]}", f"-DOUTPUT_BYTES={ends[1]}", "-I", str(HERE))
    flags = (level, "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,--entry=main", "-w")
    wrapped = ("-Wl,--wrap=malloc", "-Wl,--wrap=free")
    driver = str(Path(__file__).with_name("whole_network.c"))
    words = [*cross("cortex-m7", folder), *flags, *wrapped, *defined, driver, *more, "-lm", *LINKED]
    subprocess.run([*words, "-o", str(folder / name)], check=True)
    return folder / name


def counted(folder: Path, more: Sequence[str], inputs: Array, expected: Array, level: str) -> Found:
    """The program of a network on all samples; `expected` are the values of all outputs, row by row."""
    ends = inputs[0].nbytes, expected[0].nbytes
    nothing = sizes(built(folder, "nothing.elf", ["-DNOTHING"], ends, level))
    program = built(folder, "network.elf", more, ends, level)
    whole = sizes(program)
    (folder / "inputs").write_bytes(inputs.tobytes())
    Driver(program, True).start()
    ticks, heap, stack = (int(each) for each in np.frombuffer((folder / "counts").read_bytes(), np.uint32))
    found = np.frombuffer((folder / "outputs").read_bytes(), expected.dtype).reshape(expected.shape)
    same = int(np.count_nonzero(found == expected))
    apart = float(np.abs(found.astype(np.float64) - expected).max())
    flash, ram = (one - other for one, other in zip(whole, nothing, strict=True))
    return Found(flash, ram, heap, stack, round(ticks * NANOSECONDS), same, expected.size, apart)


# --- CMSIS-NN ---------------------------------------------------------------------------------------------------------

HEAD = """#include "arm_nnfunctions.h"
#include <stdlib.h>
#include <string.h>
static int8_t arena[%d];
static void *scratch(cmsis_nn_context *context, int32_t size)
{
    context->size = size;
    return context->buf = malloc((size_t)(size > 0 ? size : 4));
}
static void check(arm_cmsis_nn_status status)
{
    if (status != ARM_CMSIS_NN_SUCCESS)
        abort();
}
"""
STEP = """    {
        cmsis_nn_dims x = {1, %(x)s}, w = {%(w)s}, b = {1, 1, 1, %(outs)d}, y = {1, %(y)s};
        cmsis_nn_per_channel_quant_params to = {(int32_t *)multiplier_%(n)d, (int32_t *)shift_%(n)d};
        cmsis_nn_%(kind)s_params how = {%(in_zero)d, %(out_zero)d, %(once)s{%(stride)s}, {%(pad)s}, {1, 1}, {%(ends)s}};
        cmsis_nn_context c;
        scratch(&c, arm_%(function)s_get_buffer_size(&how, &x, &w, &y));
        check(arm_%(function)s(
            &c, &how, &to, &x, arena + %(from)d, &w, weight_%(n)d, &b, bias_%(n)d, &y, arena + %(at)d));
        free(c.buf);
    }
"""
POOL = """    {
        cmsis_nn_dims x = {1, %(x)s}, w = {1, %(w)s, 1}, y = {1, 1, 1, %(outs)d};
        cmsis_nn_pool_params how = {{1, 1}, {0, 0}, {-128, 127}};
        cmsis_nn_context c;
        scratch(&c, arm_avgpool_s8_get_buffer_size(1, %(outs)d));
        check(arm_avgpool_s8(&c, &how, &x, arena + %(from)d, &w, &y, arena + %(at)d));
        free(c.buf);
    }
"""


def words(values: Sequence[int] | tuple[int, ...]) -> str:
    return ", ".join(str(int(value)) for value in values)


def constant(kind: str, name: str, values: Array) -> str:
    return f"static const {kind} {name}[] = {{{words(values.reshape(-1).tolist())}}};\n"


def fixed(scales: Array) -> tuple[Array, Array]:
    """Multipliers of 31 bits and shifts, as TFLite takes them."""
    pairs = [frexp(float(scale)) for scale in scales]
    return np.array([round(part * 2**31) for part, _ in pairs]), np.array([shift for _, shift in pairs])


def cmsis_source(graph: IntegerGraph) -> str:
    """The network with tensors at alternating ends of one arena."""
    ops = [op for op in graph.ops if not isinstance(op, Reshape)]
    bytes_of = {name: prod(tensor.shape) for name, tensor in graph.tensors.items()}
    arena = max(bytes_of[op.inputs[0]] + bytes_of[op.output] for op in ops)
    data, steps, start = "", f"    memcpy(arena, in, {bytes_of[graph.inputs[0]]});\n", 0
    for number, op in enumerate(_as_averaged(graph, ops)):
        at = arena - bytes_of[op.output] if start == 0 else 0
        more, step = _step(graph, op, number, start, at)
        data, steps, start = data + more, steps + step, at
    steps += f"    memcpy(out, arena + {start}, {bytes_of[graph.outputs[0]]});\n"
    return HEAD % arena + data + f"void network(const void *in, void *out)\n{{\n{steps}}}\n"


def _as_averaged(graph: IntegerGraph, ops: Sequence[Op]) -> Iterator[Op]:
    """A matrix behind a mean reads what has the scale of what is averaged: its own scale and bias make up for it."""
    ratio = 1.0
    for op in ops:
        encodings = [graph.tensors[name].encoding for name in (op.inputs[0], op.output)]
        if isinstance(op, Dense) and isinstance(op.to, Requantize) and op.bias is not None:
            to = replace(op.to, scale=op.to.scale * np.float32(ratio))
            op = replace(op, bias=np.rint(op.bias / ratio).astype(np.int32), to=to)
        assert encodings[0] is not None and encodings[1] is not None
        ratio = encodings[0].scale / encodings[1].scale if isinstance(op, AveragePool) else 1.0
        yield op


def _sides(graph: IntegerGraph, name: str) -> tuple[int, ...]:
    shape = graph.tensors[name].shape
    return tuple(shape[1:]) if len(shape) == 4 else (1, 1, shape[-1])


def _step(graph: IntegerGraph, op: Op, number: int, start: int, at: int) -> tuple[str, str]:
    x, y = (_sides(graph, name) for name in (op.inputs[0], op.output))
    places = {"from": start, "at": at, "x": words(x), "y": words(y), "outs": y[-1], "n": number}
    if isinstance(op, AveragePool):
        return "", POOL % {**places, "w": words(x[:2])}
    assert isinstance(op, Conv | Dense) and isinstance(op.to, Requantize), f"{op.node}: not for this script"
    depthwise = isinstance(op, Conv) and op.depthwise
    weight = op.weight if isinstance(op, Conv) else op.weight.reshape(len(op.weight), 1, 1, -1)
    weight = weight.transpose(3, 1, 2, 0) if depthwise else weight
    window = op.window if isinstance(op, Conv) else None
    encodings = [graph.tensors[name].encoding for name in (op.inputs[0], op.output)]
    assert encodings[0] is not None and encodings[1] is not None and op.bias is not None
    scales = np.broadcast_to(op.to.scale, (y[-1],))
    multiplier, shift = fixed(scales)
    data = constant("int8_t", f"weight_{number}", weight) + constant("int32_t", f"bias_{number}", op.bias)
    data += constant("int32_t", f"multiplier_{number}", multiplier) + constant("int32_t", f"shift_{number}", shift)
    said = {
        "w": words(weight.shape),
        "kind": "dw_conv" if depthwise else "conv",
        "function": "depthwise_conv_wrapper_s8" if depthwise else "convolve_wrapper_s8",
        "in_zero": -encodings[0].zero,
        "out_zero": encodings[1].zero,
        "once": "1, " if depthwise else "",
        "stride": words(window.strides[::-1] if window else (1, 1)),
        "pad": words(window.pads[1::-1] if window else (0, 0)),
        "ends": words((op.to.low, op.to.high)),
    }
    return data, STEP % {**places, **said}


def by_cmsis(graph: IntegerGraph, checkout: Path, inputs: Array, expected: Array, folder: Path) -> Found:
    (folder / "cmsis.c").write_text(cmsis_source(graph), encoding="ascii")
    parts = ("ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions", "PoolingFunctions")
    found = [file for part in parts for file in sorted((checkout / "Source" / part).glob("*.c"))]
    sources = [str(file) for file in found if not file.stem.endswith(("_f16", "_f32", "_flt"))]
    more = ["-DCMSIS_NN_USE_SINGLE_ROUNDING", "-I", str(checkout / "Include"), str(folder / "cmsis.c"), *sources]
    return counted(folder, more, inputs, expected, "-O3")


# --- emx-onnx-cgen ----------------------------------------------------------------------------------------------------


def by_emx(model: Path, tool: Path, inputs: Array, expected: Array, folder: Path) -> Found:
    command = (str(tool), "compile", "--large-weight-threshold", "0", str(model), str(folder / "emx.c"))
    subprocess.run(command, check=True, capture_output=True)
    adapter = "extern void model(const void *, void *);\nvoid network(const void *in, void *out) { model(in, out); }\n"
    (folder / "adapter.c").write_text(adapter, encoding="ascii")
    strict = ("-std=c11", "-ffp-contract=off")
    return counted(folder, [*strict, str(folder / "emx.c"), str(folder / "adapter.c")], inputs, expected, "-O2")


# --- ours -------------------------------------------------------------------------------------------------------------


def by_ours(graph: IntegerGraph, wanted: Asked, samples: Sequence[Array], folder: Path) -> Found:
    made = make_c(graph, wanted, folder / "c")
    fed = [{graph.inputs[0]: sample} for sample in samples]
    found = emulated(Network(folder / "c", made.graph, made.files.steps), fed, out=folder / "out")
    if isinstance(found, NotHere):
        raise SystemExit(found.why)
    return Found(found.flash, found.ram, 0, found.stack, found.instructions, found.exact, found.outputs, found.apart)


def rows(asked: argparse.Namespace) -> Iterator[tuple[str, Found]]:
    model = onnx.load(asked.model)
    graph, floats = lower(model, "net", "int8"), lower(model, "net", None)
    shape = [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim]
    rng = np.random.default_rng(1)
    samples = [rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(SAMPLES)]
    network = Network(Path(), graph, ())
    stored = [network.sample({graph.inputs[0]: sample}) for sample in samples]
    integers = np.array([np.frombuffer(network.golden(sample), np.int8) for sample in stored])
    answers = np.array([interpreted(floats, {graph.inputs[0]: s})[graph.outputs[0]].reshape(-1) for s in samples])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for optimize in ("speed", "ram"):
            yield f"`optimize {optimize}`", by_ours(graph, Asked(optimize=optimize, integers=True), samples, folder)
        if asked.cmsis is not None:
            given = np.array([np.frombuffer(sample, np.int8) for sample in stored])
            yield "CMSIS-NN", by_cmsis(graph, asked.cmsis, given, integers, folder)
        if asked.emx is not None:
            yield "emx-onnx-cgen", by_emx(asked.model, asked.emx, np.array(samples)[:1], answers[:1], folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model with Q/DQ pairs, one input and one output")
    parser.add_argument("--cmsis", type=Path, help="a checkout of CMSIS-NN")
    parser.add_argument("--emx", type=Path, help="emx-onnx-cgen, as it is installed")
    print("| by | flash | RAM | of it heap, stack | instructions | outputs as the integer graph (apart) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, found in rows(parser.parse_args()):
        memory = f"{found.ram + found.heap + found.stack:,} | {found.heap:,}, {found.stack:,}"
        equal = f"{found.same} of {found.values} ({found.apart:.2g})"
        print(f"| {name} | {found.flash:,} | {memory} | {found.instructions:,} | {equal} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
