"""MLPerf Tiny's networks as C on an emulated Cortex-M7: flash, RAM, instructions, and whether every output is right.

    python tests/benchmarks/tiny.py
    python tests/benchmarks/tiny.py --optimize speed --networks vww

Reads ../shared/testdata. Float files are quantized with drawn samples, quantized ones become C as they are: neither
counts nor memory depend on what the samples show, and nothing here speaks of accuracy. "Right" is what ONNX Runtime's
fused kernels answer to the same samples, to the bit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import ROOT
from numpy.typing import NDArray
from onnx import numpy_helper

sys.path.insert(0, str(ROOT / "tests"))

from integer_models import fused

import qdsl
from qdsl.targets import target_of
from qdsl.targets.results import Verification
from qdsl.targets.stm32.emulated.installed import tools

MODELS = ROOT.parent / "shared" / "testdata" / "models"
SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Network:
    """A file, the shape of its input, whether it is quantized already."""

    name: str
    file: str
    input: str
    shape: tuple[int, ...]
    quantized: bool = False


NETWORKS = {
    "vww": Network("VWW, float file", "mlperf_vww_96_float", "input_1", (1, 3, 96, 96)),
    "vww_qdq": Network("VWW, quantized file", "mlperf_vww_96_int8_qdq", "input_1_int8", (1, 96, 96, 3), True),
    "resnet8": Network("ResNet8, float file", "mlperf_resnet8_float", "input_1", (1, 32, 32, 3)),
    "resnet8_qdq": Network(
        "ResNet8, quantized file", "mlperf_pretrainedResnet_quant_qdq", "input_1_int8", (1, 32, 32, 3), True
    ),
    "ds_cnn": Network("DS-CNN, float file", "mlperf_kws_float", "input_1", (1, 49, 10, 1)),
}
RECIPE = """recipe net
model onnx "{model}"
input "{input}" {{ shape {shape} }}
data drawn from npz "drawn.npz"
{quantize}
target stm32 {{ device "STM32H7B3I-DK"; optimize {optimize}{io} }}
"""
STATIC = "quantize static { weights 8 bit; activations 8 bit; calibrate minmax on drawn }"


def compiled(network: Network, optimize: str, folder: Path) -> tuple[qdsl.CompileResult, NDArray[Any]]:
    rng = np.random.default_rng(1)
    drawn: NDArray[Any] = rng.uniform(-1, 1, (SAMPLES, *network.shape[1:])).astype(np.float32)
    if network.quantized:
        drawn = rng.integers(-128, 128, drawn.shape).astype(np.int8)
    np.savez(folder / "drawn.npz", **{network.input: drawn})
    model = onnx.load(MODELS / f"{network.file}.onnx")
    onnx.save(model if network.quantized else in_floats(model), folder / "net.onnx")
    recipe = folder / "net.q"
    text = RECIPE.format(
        model="net.onnx",
        input=network.input,
        shape=list(network.shape),
        quantize="quantize none" if network.quantized else STATIC,
        optimize=optimize,
        io="" if network.quantized else "; io int8",
    )
    recipe.write_text(text, encoding="utf-8")
    return qdsl.compile(recipe, out=folder / "build", lock=False, measure=False), drawn


def in_floats(model: onnx.ModelProto) -> onnx.ModelProto:
    """The file with floats for weights that it stores as integers."""
    stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]:
        codes, scale, zero = (stored[name] for name in node.input)
        floats = (codes.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale
        assert scale.ndim == 0 or scale.size == 1, "one scale for a weight"
        model.graph.initializer.append(numpy_helper.from_array(floats, node.output[0]))
        model.graph.node.remove(node)
    return model


def right(result: qdsl.CompileResult, network: Network, drawn: NDArray[Any]) -> tuple[int, int]:
    """How many values of the integer graph, against which the C was held, are ONNX Runtime's, of how many."""
    emitted = result.targets[0].emitted
    golden, model = target_of("stm32").runner(emitted, as_written=True), onnx.load(emitted.model)
    same = values = 0
    for sample in drawn:
        feeds = {network.input: sample[None]}
        ours = golden.run(feeds)
        for name, theirs in fused(model, feeds).items():
            assert ours[name].dtype == theirs.dtype
            values += theirs.size
            same += int(np.count_nonzero(theirs == ours[name]))
    return same, values


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--optimize", choices=("speed", "ram"), default="ram")
    asked = parser.parse_args()
    if tools().missing or not MODELS.is_dir():
        print(tools().missing or f"{MODELS} is not here")
        return 1
    columns = ("network", "flash", "RAM + stack", "instructions", "per multiplication", "as ONNX Runtime")
    print(row(columns), row(["---"] * len(columns)), sep="\n")
    for network in (NETWORKS[name] for name in asked.networks):
        with tempfile.TemporaryDirectory() as folder:
            result, drawn = compiled(network, asked.optimize, Path(folder))
            same, values = right(result, network, drawn)
        verified = result.targets[0].verification
        assert isinstance(verified, Verification) and verified.emulated is not None
        found = verified.emulated
        assert found.exact == found.outputs > 0, f"the C is not its integer graph: {found.exact} of {found.outputs}"
        memory = f"{found.ram:,} + {found.stack:,}"
        count = (f"{found.instructions:,}", f"{found.instructions_per_mac or 0:.2f}")
        print(row((network.name, f"{found.flash:,}", memory, *count, f"{same} of {values}")), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
