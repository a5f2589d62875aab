"""What must stand beside a recipe for it to raise a diagnostic: one builder for each `CodeDoc.setup`, by its words.

`SETUPS[words](folder)` writes the models, data and files that an example of `qdsl.diag.codes` needs into `folder`;
`CALLS[code](folder)` raises a code that no recipe can raise, by a call of the library.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from bad_sensitivity import CALLS as OF_SENSITIVITY
from data_cases import bomb, data_spec, graph_of, picture
from device_tools import written
from foreign_files import integer_conv, scaled
from git_tools import repository
from graph_cases import CASES as MODEL_CASES
from onnx import ModelProto, TensorProto, helper, numpy_helper, version_converter
from onnx import load as load_proto
from PIL import Image
from stand_in_network import VALUES, network, program
from structure_graphs import Net, backbone
from test_data_sources import coco_tree, opened, yolo_tree

import qdsl.api
from qdsl.auditing.formats.layout import lay_out
from qdsl.calibrate import Observations, Ranges, merged, minmax
from qdsl.diag import QdslError, Span
from qdsl.diag.codes import all_codes
from qdsl.diag.system import refused_by_system
from qdsl.engines.rtx import places
from qdsl.findings.arithmetic import arithmetic_findings
from qdsl.graph import load
from qdsl.harness import emulators
from qdsl.harness.engine_checks import EngineCheck
from qdsl.harness.measurements import BuildFacts, Measurements, ModelFacts
from qdsl.harness.profiles import BuildProfile, Profile
from qdsl.harness.st_reports import StReport
from qdsl.integer.records import Encoding, IntegerGraph, Reshape, Tensor
from qdsl.measure import building, st_reports
from qdsl.measure.building import TargetBuilt
from qdsl.measure.engine_checking import faults
from qdsl.measure.engines import sorted_out
from qdsl.measure.slower import slower
from qdsl.provenance.records import KEY
from qdsl.search import Unsolved, minimum
from qdsl.spec.engine import UNDECIDED
from qdsl.spec.plan import PLAN_VERSION
from qdsl.spec.plan_json import from_json, to_json
from qdsl.stedgeai.told import Told
from qdsl.targets.ort.emit import emit
from qdsl.targets.results import Arithmetic, Built, Parting, Verification
from qdsl.targets.stm32.emulated import cmsis_nn
from qdsl.targets.stm32.emulated.building import BuiltC
from qdsl.targets.stm32.emulated.building import build as build_c
from qdsl.targets.stm32.emulated.cores import CORES
from qdsl.targets.stm32.emulated.installed import Tool, Tools
from qdsl.targets.stm32.emulated.network import Network, held
from qdsl.targets.stm32.emulated.running import run as run_c
from qdsl.targets.stm32.emulated.sections import Layout
from qdsl.train.extra import require_torch

ROOT = Path(__file__).resolve().parent.parent
Setup = Callable[[Path], object]


def build(setup: str, folder: Path) -> None:
    """Write what `setup` says; nothing when it says nothing."""
    if setup:
        SETUPS[setup](folder)


# ---- models ----------------------------------------------------------------------------------------------------------


def save(model: ModelProto, folder: Path, name: str = "model.onnx") -> None:
    (folder / name).write_bytes(model.SerializeToString())


def conv(
    size: int | str = 8, *, inside: int = 3, weight: float = 0.5, opset: int = 17, batch: int | str = 1
) -> ModelProto:
    """images -> conv1 -> relu1 -> y."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["c"], ["y"], name="relu1"),
    ]
    weights = {"w": np.full((4, inside, 1, 1), weight, dtype=np.float32)}
    return graph_of(nodes, ["y"], shape=(batch, inside, size, size), constants=weights, opset=opset)


def dilated_pool(folder: Path) -> None:
    """The runtime makes an integer kernel of it that knows no dilations."""
    pair = ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", *pair], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", *pair], ["d"], name="d"),
        helper.make_node("AveragePool", ["d"], ["p"], name="pool", kernel_shape=[2, 2], dilations=[1, 1]),
        helper.make_node("QuantizeLinear", ["p", *pair], ["e"], name="e"),
        helper.make_node("DequantizeLinear", ["e", *pair], ["y"], name="y"),
    ]
    constants = {"s": np.float32(0.1), "z": np.uint8(128)}
    save(graph_of(nodes, ["y"], shape=(1, 3, 8, 8), constants=constants, opset=19), folder)
    noise(folder)


def two_convs(folder: Path) -> None:
    """x -> conv1 -> relu -> conv2 -> sub, and four samples for it."""
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, kernel=3, name="conv1")
    x = net.conv(net.op("Relu", x, name="relu"), 4, name="conv2")
    save(net.model(net.op("Sub", x, net.constant(1), name="sub")), folder, "two_convs.onnx")
    np.savez(folder / "calib.npz", x=np.random.default_rng(1).random((4, 3, 8, 8), dtype=np.float32))


def clipped(folder: Path) -> None:
    """Two Convs, the channels between them of ranges from 1 to 8, and bounded by 6."""
    zero, six = np.float32(0), np.float32(6)
    weights = {
        "w": np.float32([1, 2, 4, 8] * 4).reshape(4, 4, 1, 1).swapaxes(0, 1),
        "v": np.ones((4, 4, 1, 1), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1"),
        helper.make_node("Clip", ["c", "low", "high"], ["r"], name="clip"),
        helper.make_node("Conv", ["r", "v"], ["y"], name="conv2"),
    ]
    constants = {**weights, "low": zero, "high": six}
    save(graph_of(nodes, ["y"], shape=(1, 4, 8, 8), constants=constants), folder, "clipped.onnx")
    np.savez(folder / "calib.npz", images=np.random.default_rng(1).random((4, 4, 8, 8), dtype=np.float32))


def lossless(folder: Path) -> None:
    """Weights are allocated, and the noise of a layer is no number."""
    two_convs(folder)
    (folder / "demo.q").write_text(
        'recipe demo\nmodel onnx "two_convs.onnx"\ndata calib from npz "calib.npz"\n'
        "quantize static { calibrate minmax on calib }\ntarget ort\nallocate weights from [int8, int4]\n"
    )
    nothing = {name: {"int8": 0.0, "int4 storage_only": float("nan")} for name in ("conv1", "conv2")}
    with patch("qdsl.allocate.weight_losses.noises", lambda *_: nothing):
        qdsl.api.compile(folder / "demo.q", out=folder / "build", measure=False)


def grown(folder: Path) -> None:
    """Weights are allocated where no frontier may have a point."""
    _allocated_by(folder, partial(minimum, cap=0))


def unsolved(folder: Path) -> None:
    """Weights are allocated, and the solver ends without an answer."""
    _allocated_by(folder, lambda *_: Unsolved("HiGHS: Node limit reached"))


def _allocated_by(folder: Path, choose: Callable[..., object]) -> None:
    two_convs(folder)
    (folder / "demo.q").write_text(
        'recipe demo\nmodel onnx "two_convs.onnx"\ndata calib from npz "calib.npz"\n'
        "quantize static { calibrate minmax on calib }\ntarget ort\n"
        "allocate weights from [int8, int4] { minimize loss under size <= 1 MB }\n"
    )
    with patch("qdsl.allocate.fitting.minimum", choose):
        qdsl.api.compile(folder / "demo.q", out=folder / "build", measure=False)


def newer(folder: Path) -> None:
    """The same at an opset that TensorRT 8.6 does not know."""
    two_convs(folder)
    proto = version_converter.convert_version(load_proto(folder / "two_convs.onnx"), 21)
    save(proto, folder, "newer.onnx")


def two_convs_and_cache(line: str) -> Setup:
    """The same beside a calibration cache that holds `line`."""

    def write(folder: Path) -> None:
        two_convs(folder)
        (folder / "calib.cache").write_text(f"TRT-8601-EntropyCalibration2\n{line}\n")

    return write


def free_conv(folder: Path) -> None:
    """x -> conv1, for pictures of any size."""
    net = Net()
    x = net.input("x", 1, 3, "height", "width")
    save(net.model(net.op("Relu", net.conv(x, 4, name="conv1"), name="relu")), folder, "free.onnx")


def wide_range(folder: Path, largest: float) -> None:
    """A MatMul by a matrix of ones, with one value of 1e-9 and one that is `largest`."""
    weight = np.ones((32, 32), dtype=np.float32)
    weight[0, 0], weight[1, 1] = 1e-9, largest
    nodes = [helper.make_node("MatMul", ["images", "w"], ["y"], name="matmul1")]
    save(graph_of(nodes, ["y"], shape=(1, 32), constants={"w": weight}), folder)


def detector(folder: Path) -> None:
    """Per level a box and a score convolution; the decoding ends in one Concat of both."""
    net = Net()
    boxes, scores = [], []
    for x, size in zip(backbone(net), (32, 16, 8), strict=True):
        boxes.append(net.op("Reshape", net.conv(x, 4), net.values([1, 4, size * size])))
        scores.append(net.op("Reshape", net.conv(x, 3), net.values([1, 3, size * size])))
    box = net.op("Mul", net.op("Concat", *boxes, axis=2), net.values([8.0]))
    score = net.op("Sigmoid", net.op("Concat", *scores, axis=2))
    save(net.model(net.op("Concat", box, score, axis=1, name="detections")), folder, "detector.onnx")
    np.savez(folder / "calib.npz", images=np.zeros((4, 3, 64, 64), dtype=np.float32))


def quantized(folder: Path) -> None:
    """A Conv behind QuantizeLinear and DequantizeLinear."""
    net = Net()
    scale, zero = net.values([0.5]), net.constant(dtype="uint8")
    x = net.op("QuantizeLinear", net.input("x", 1, 3, 8, 8), scale, zero, name="quantize")
    x = net.op("DequantizeLinear", x, scale, zero, name="dequantize")
    save(net.model(net.conv(x, 4, name="conv", inside=3)), folder, "quantized.onnx")


def yolov8n(folder: Path) -> None:
    shutil.copy(ROOT / "examples" / "people" / "yolov8n.onnx", folder / "yolov8n.onnx")


def after_conv(*nodes: Any, opset: int = 17, **constants: Any) -> Setup:
    """The small Conv model with more nodes behind its output y, and noise to calibrate on."""

    def write(folder: Path) -> None:
        model = conv(opset=opset)
        more = graph_of(nodes, [nodes[-1].output[0]], constants=constants).graph
        model.graph.node.extend(more.node)
        model.graph.initializer.extend(more.initializer)
        model.graph.output[0].CopyFrom(more.output[0])
        if any(node.domain for node in nodes):  # nobody can infer what it writes
            model.graph.output[0].CopyFrom(helper.make_tensor_value_info(nodes[-1].output[0], 1, [1, 4, 8, 8]))
        domains = {node.domain for node in nodes} - {""}
        model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in sorted(domains))
        save(model, folder)
        noise(folder)
        photos(folder)

    return write


def large_picture(folder: Path) -> None:
    save(conv(256), folder)
    np.savez(folder / "calib.npz", images=np.zeros((1, 3, 256, 256), np.float32))
    photos(folder)


def unlike_joined(folder: Path) -> None:
    """Two Conv of one input, the second with values 1000 times as large, and a Concat of both."""
    nodes = [
        helper.make_node("Conv", ["images", "small"], ["a"], name="small1", kernel_shape=[1, 1]),
        helper.make_node("Conv", ["images", "large"], ["b"], name="large1", kernel_shape=[1, 1]),
        helper.make_node("Concat", ["a", "b"], ["y"], name="join1", axis=1),
    ]
    weights = np.random.default_rng(5).standard_normal((2, 3, 3, 1, 1)).astype(np.float32)
    save(graph_of(nodes, ["y"], constants={"small": weights[0], "large": 1000 * weights[1]}), folder)
    noise(folder)


def masked_scores(folder: Path) -> None:
    """images -> scores -> Add of a mask -> Softmax -> MatMul -> y."""
    draw = np.random.default_rng(6)
    mask = np.zeros((1, 8), np.float32)
    mask[0, 5:] = -10000
    nodes = [
        helper.make_node("MatMul", ["images", "w"], ["s"], name="scores1"),
        helper.make_node("Add", ["s", "mask"], ["m"], name="mask1"),
        helper.make_node("Softmax", ["m"], ["p"], name="softmax1", axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"], name="values1"),
    ]
    weights = {name: draw.standard_normal((8, 8)).astype(np.float32) for name in "wv"}
    save(graph_of(nodes, ["y"], constants={**weights, "mask": mask}), folder)
    noise(folder)


def wide_silu(folder: Path) -> None:
    """images -> conv1 -> x * sigmoid(x), with one channel 1000 times as large as the others."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["c"], ["g"], name="gate1"),
        helper.make_node("Mul", ["c", "g"], ["y"], name="silu1"),
    ]
    weights = np.random.default_rng(7).standard_normal((4, 3, 1, 1)).astype(np.float32)
    weights[0] = 400
    save(graph_of(nodes, ["y"], constants={"w": weights}), folder)
    noise(folder)


def a_small_channel(folder: Path, size: float = 0.0005) -> None:
    model = conv()
    weights = np.full((4, 3, 1, 1), 0.5, np.float32)
    weights[1] = size
    model.graph.initializer[0].raw_data = weights.tobytes()
    save(model, folder)
    noise(folder)


def a_weight_for_nothing(folder: Path) -> None:
    """The scale of a channel is that of a weight which only meets zeros."""
    model = conv()
    weights = np.full((4, 3, 1, 1), 0.5, np.float32)
    weights[:, 0] = 1000
    model.graph.initializer[0].raw_data = weights.tobytes()
    save(model, folder)
    values = np.random.default_rng(2).random((4, 3, 8, 8), dtype=np.float32)
    values[:, 0] = 0
    np.savez(folder / "calib.npz", images=values)


def clipped_far_outside(folder: Path) -> None:
    """images -> conv1 -> clip1 (-300 to 600) -> conv2 -> y."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("Clip", ["c", "low", "high"], ["r"], name="clip1"),
        helper.make_node("Conv", ["r", "v"], ["y"], name="conv2", kernel_shape=[1, 1]),
    ]
    weights = {"w": np.full((4, 3, 1, 1), 0.5, np.float32), "low": np.float32(-300), "high": np.float32(600)}
    weights["v"] = np.full((4, 4, 1, 1), 0.5, np.float32)
    save(graph_of(nodes, ["y"], constants=weights), folder)
    noise(folder)


_TWO = ("crack/a.png", "clean/b.png")


def black(folder: Path) -> None:
    photos(folder)
    Image.new("RGB", (8, 8)).save(folder / "photos" / "b.png")


def two_inputs(folder: Path) -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["s"], name="add1"),
        helper.make_node("Conv", ["s", "w"], ["y"], name="conv1"),
    ]
    weights = {"w": np.ones((4, 3, 1, 1), dtype=np.float32)}
    save(graph_of(nodes, ["y"], constants=weights, inputs=("a", "b")), folder)
    photos(folder)


def takes_bytes(folder: Path) -> None:
    model = conv()
    model.graph.input[0].type.tensor_type.elem_type = 2
    model.graph.node[0].input[0] = "f"
    model.graph.node.insert(0, helper.make_node("Cast", ["images"], ["f"], name="cast1", to=1))
    save(model, folder)
    photos(folder)


def huge_values(folder: Path) -> None:
    """A Conv with a bias; input scale times weight scale is past float32, and no product of the two is."""
    model = conv(weight=0.0)
    weights = np.zeros((4, 3, 1, 1), dtype=np.float32)
    weights[:, 0] = 1e35
    model.graph.initializer[0].raw_data = weights.tobytes()
    model.graph.initializer.append(helper.make_tensor("b", 1, [4], [1.0] * 4))
    model.graph.node[0].input.append("b")
    save(model, folder)
    values = np.zeros((1, 3, 8, 8), dtype=np.float32)
    values[:, 1] = 1e35
    np.savez(folder / "calib.npz", images=values)


# ---- data ------------------------------------------------------------------------------------------------------------


def photos(folder: Path, names: Sequence[str] = ("a.jpg",), size: tuple[int, int] = (8, 8)) -> None:
    for name in names:
        picture(folder / "photos" / name, size)


def noise(folder: Path, samples: int = 4) -> None:
    values = np.random.default_rng(2).random((samples, 3, 8, 8), dtype=np.float32)
    np.savez(folder / "calib.npz", images=values)


def beside_conv(write: Setup) -> Setup:
    """The small Conv model and what `write` adds."""

    def both(folder: Path) -> None:
        save(conv(), folder)
        write(folder)

    return both


def arrays(**values: Any) -> Setup:
    return lambda folder: np.savez(folder / "calib.npz", **values)


def cut_picture(folder: Path) -> None:
    photos(folder, size=(64, 64))
    path = folder / "photos" / "a.jpg"
    path.write_bytes(path.read_bytes()[:400])


def claims_too_much(folder: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1, 1 << 38)})
    with zipfile.ZipFile(folder / "calib.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(8))


def cut_label(folder: Path) -> None:
    yolo_tree(folder)
    (folder / "labels/train/1.txt").write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5\n")


def one_probability(folder: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["m"], name="mean1"),
        helper.make_node("Flatten", ["m"], ["f"], name="flat1"),
        helper.make_node("Sigmoid", ["f"], ["y"], name="sigmoid1"),
    ]
    save(graph_of(nodes, ["y"], constants={"w": np.full((1, 3, 1, 1), 0.5, np.float32)}), folder)
    noise(folder)
    for seed, name in enumerate(("a/1.png", "b/2.png")):
        picture(folder / "photos" / name, (8, 8), seed=seed)


def with_head(folder: Path) -> None:
    noise(folder)
    coco_tree(folder).rename(folder / "labels.json")
    (folder / "heads.py").write_text("def decode(outputs, height, width):\n    return [], []\n")


def cut_coco(folder: Path) -> None:
    text = coco_tree(folder).read_text()
    (folder / "instances.json").write_text(text[:-9])


def odd_table(folder: Path) -> None:
    picture(folder / "a.png")
    (folder / "labels.csv").write_text("a,b\na.png,crack\n")


def no_video(folder: Path) -> None:
    """Reads a clip where the package is not installed."""
    with patch.dict(sys.modules, {"av": None}):
        opened(data_spec("video", folder / "clip.mp4"))


def broken_video(folder: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    (folder / "clip.mp4").write_bytes(bytes(range(200)))
    opened(data_spec("video", folder / "clip.mp4"))


def one_person(yaml: str) -> Setup:
    """A YOLO dataset with one picture for training."""

    def write(folder: Path) -> None:
        yolo_tree(folder, yaml)
        (folder / "images/train/2.jpg").unlink()

    return write


def long_file_name(folder: Path) -> None:
    coco_tree(folder, images=[{"id": 1, "file_name": "a" * 5000 + ".png", "width": 8, "height": 8}], annotations=[])


def half_masked(folder: Path) -> None:
    for name in ("images/a.png", "images/b.png", "masks/a.png"):
        picture(folder / "road" / name)


def twice_masked(folder: Path) -> None:
    for at, name in enumerate(("images/a.png", "masks/a.png", "masks/b.png")):
        picture(folder / "road" / name, seed=at)


def pipe(folder: Path) -> None:
    (folder / "photos").mkdir()
    os.mkfifo(folder / "photos" / "a.jpg")


# ---- recipes and folders ---------------------------------------------------------------------------------------------


def chain(folder: Path, length: int = 20) -> None:
    for index in range(length):
        (folder / f"chain_{index}.q").write_text(f'extends "chain_{index + 1}.q"\n')


def read_only(folder: Path) -> None:
    folder.chmod(0o555)


def build_is_a_file(folder: Path) -> None:
    save(conv(), folder)
    noise(folder)
    (folder / "build").write_text("in the way")


def target_is_a_file(folder: Path) -> None:
    save(conv(), folder)
    noise(folder)
    (folder / "build" / "example").mkdir(parents=True)
    (folder / "build" / "example" / "ort").write_text("in the way")


# ---- locks -----------------------------------------------------------------------------------------------------------


def locked(change: Setup) -> Setup:
    """The small Conv model, its data and its lock, and then what `change` does."""

    def write(folder: Path) -> None:
        save(conv(), folder)
        noise(folder)
        qdsl.api.compile(folder / "example.q", out=folder / "build")
        change(folder)

    return write


def edited(old: str, new: str) -> Setup:
    """Another text in the lock; the last line agrees with it."""

    def write(folder: Path) -> None:
        path = folder / "example.lock"
        body = path.read_text(encoding="utf-8").replace(old, new).rpartition("sum ")[0]
        path.write_text(f"{body}sum {hashlib.sha256(body.encode()).hexdigest()}\n", encoding="utf-8")

    return write


def built(change: Setup) -> Setup:
    """The folder of a build, and then what `change` does to it."""
    return locked(lambda folder: change(folder / "build" / "example"))


def cut_measurements(build: Path) -> None:
    path = build / "measurements.json"
    path.write_bytes(path.read_bytes()[:-9])


def bundled(change: Callable[[dict[str, Any], Path], object]) -> Setup:
    """The folder of a build after `change` of what its bundle says (and holds)."""

    def edit(build: Path) -> None:
        folder = build / "ort" / "bench"
        said = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        change(said, folder)
        (folder / "bundle.json").write_text(json.dumps(said), encoding="utf-8")

    return built(edit)


def other_goldens(said: dict[str, Any], folder: Path) -> None:
    """Those of other weights, of both models alike: what runs is then far from either."""
    for path in (folder / "golden_float.npz", folder / "golden_ort.npz"):
        with np.load(path) as stored:
            moved = {name: stored[name] + 1000 for name in stored.files}
        np.savez(path, **moved)
        said["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()


def more_predicted(said: dict[str, Any], folder: Path) -> None:
    said["predicted"] = {name: count + 1 for name, count in said["predicted"].items()} or {"QLinearConv": 9}


def emulated_by(folder: Path, qemu: str) -> object:
    """A build verified as another processor of this machine's kind, where the only emulator is a script of this text
    (none: "")."""
    (folder / "example.q").write_text(all_codes()["emulator-absent"].example, encoding="utf-8")
    built(lambda build: None)(folder)
    cpu = next(cpu for cpu in emulators.CPUS.values() if cpu.architecture == emulators.architecture())
    tools = folder / "tools" / "qemu"
    tools.mkdir(parents=True)
    if qemu:
        path = tools / f"qemu-{cpu.architecture}"
        path.write_text(qemu, encoding="utf-8")
        path.chmod(0o755)
    with patch.dict(os.environ, {emulators.PLACE: str(folder / "tools"), "PATH": ""}):
        return qdsl.api.verify(folder / "build" / "example", on=[cpu.name])


def compiled_by(folder: Path, lines: str) -> object:
    """Emitted C where the compiler is a script of these lines."""
    fake = Tool(program(folder / "gcc", lines), "1.0")
    return build_c(network(folder), folder / "out", found=Tools(fake, fake))


def one_copy(folder: Path) -> Network:
    """C of a graph that copies four integers."""
    tensors = {name: Tensor(name, (1, 4), "int8", (0, 1), Encoding(0.5, 3)) for name in ("x", "y")}
    return Network(folder, IntegerGraph("copy", ("x",), ("y",), tensors, (Reshape("copy", ("x",), "y"),)), ())


def refused_arena(folder: Path) -> object:
    """A program that ends as one does whose network_init fails."""
    fake, none = Tool(program(folder / "qemu", "exit 10"), "1.0"), Layout()
    built = BuiltC(CORES["cortex-m7"], folder, folder, none, none, (), "", 0.0)
    return run_c(built, [bytes(VALUES)], (VALUES, VALUES), found=Tools(fake, fake))


def emulated_device(build: Path) -> None:
    """What an emulated device measured."""
    written(build, build / "devices" / "board.json", lambda found: found.update(emulated=True))


def foreign_device(build: Path) -> None:
    """What a device measured, and then another hash of the artifact in it."""
    written(build, build / "devices" / "board.json", lambda found: found["files"].update({"../model.onnx": "0" * 64}))


def edited_range(folder: Path) -> None:
    path = folder / "example.lock"
    path.write_text(path.read_text(encoding="utf-8").replace("range ", "range  ", 1), encoding="utf-8")


def data_moves(folder: Path) -> None:
    """The data is written anew while it is calibrated on."""
    small(folder)

    def disturb(event: Any) -> None:
        if event.stage == "calibrate" and event.done == event.total:
            noise(folder, samples=5)

    qdsl.api.compile(folder / "example.q", out=folder / "build", listener=disturb)


def _models() -> dict[str, Setup]:
    def named(case: Callable[[Path], object]) -> Setup:
        return lambda folder: case(folder / "model.onnx")

    return {words: named(case) for words, case in MODEL_CASES.items()}


def half_typed(folder: Path) -> None:
    """An output that is declared int64 and computed float32."""
    model = conv()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 7, [1, 4, 8, 8]))
    save(model, folder)


def nameless(folder: Path) -> None:
    model = conv()
    for node in model.graph.node:
        node.name = ""
    save(model, folder)


def with_if(folder: Path) -> None:
    model = conv()
    bodies = [
        helper.make_graph([helper.make_node(op, ["y"], [op])], op, [], [helper.make_tensor_value_info(op, 1, None)])
        for op in ("Neg", "Abs")
    ]
    branch = helper.make_node("If", ["c2"], ["z"], name="if1", then_branch=bodies[0], else_branch=bodies[1])
    model.graph.node.append(branch)
    model.graph.input.append(helper.make_tensor_value_info("c2", 9, []))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", 1, None))
    save(model, folder)


def half_conv(folder: Path) -> None:
    model = conv()
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    save(model, folder)


def classifier(folder: Path) -> None:
    """images -> conv1 -> mean over pixels -> y [1, 4]."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["m"], name="mean1"),
        helper.make_node("Flatten", ["m"], ["y"], name="flat1"),
    ]
    weights = np.random.default_rng(3).standard_normal((4, 3, 1, 1)).astype(np.float32)
    save(graph_of(nodes, ["y"], constants={"w": weights}), folder)


def best_beside(folder: Path) -> None:
    """images -> conv1 -> y, and the number of the best channel of each pixel."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["y"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("ArgMax", ["y"], ["best"], name="best1", axis=1),
    ]
    proto = graph_of(nodes, ["y", "best"], constants={"w": np.full((4, 3, 1, 1), 0.5, dtype=np.float32)})
    proto.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    save(proto, folder)
    noise(folder)


def same_answer(folder: Path) -> None:
    """A classifier whose first class always scores highest, and three pictures of each class."""
    classifier(folder)
    proto = load_proto(folder / "model.onnx")
    weights = np.zeros((4, 3, 1, 1), np.float32)
    weights[0] = 1
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    save(proto, folder)
    noise(folder)
    for at in range(12):
        picture(folder / "photos" / "abcd"[at // 3] / f"{at}.png", (8, 8), seed=at)


def slower_build(folder: Path) -> None:
    builds = (
        BuildProfile("float", (0.01,) * 10, 1.0, None, None),
        BuildProfile("ort", (0.02,) * 10, 1.0, None, None),
    )
    raise QdslError(slower(Profile("ort", 1, 1, 0, builds, {}), Span("example.q", 1, 1, 1, 2)))


def four_classes(folder: Path) -> None:
    noise(folder)
    for at, name in enumerate("abcd"):
        picture(folder / "photos" / name / f"{at}.png", (8, 8), seed=at)


def free_channels(folder: Path) -> None:
    net = Net()
    save(net.model(net.conv(net.input("x", 1, 3, "height", "width"), 64, kernel=3, name="conv1")), folder)


def hundred_rows(folder: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["images", "all"], ["r"], name="reshape1"),
        helper.make_node("MatMul", ["r", "w"], ["y"], name="matmul1"),
    ]
    constants = {"all": np.array([1, 100, 16]), "w": np.full((16, 32), 0.5, np.float32)}
    save(graph_of(nodes, ["y"], shape=(1, "rows", 16), constants=constants), folder)


def colour_mask(folder: Path) -> None:
    noise(folder)
    for name in ("images/a.png", "masks/a.png"):
        picture(folder / "road" / name, (8, 8))


def without_photos(folder: Path) -> None:
    classifier(folder)
    four_classes(folder)
    qdsl.api.compile(folder / "example.q", out=folder / "build")
    shutil.rmtree(folder / "photos")


def foreign(folder: Path) -> None:
    save(integer_conv(np.full((4, 4, 1, 1), 127, np.int8)), folder)


def other_axis(folder: Path) -> None:
    save(scaled("Conv", np.full((4, 4, 1, 1), 3, np.int8), axis=None), folder)


SETUPS: dict[str, Setup] = {
    "model.onnx is a float Conv that nothing is wrong with": lambda folder: save(conv(), folder),
    "model.onnx is a file of another quantizer whose weights reach 127 side by side": foreign,
    "model.onnx is a file of another quantizer with a scale per input channel in a Conv": other_axis,
    **_models(),
    # models that have something to quantize, beside what the words say
    "clipped.onnx is two Convs with channels of unequal range, and a Clip between them": clipped,
    "model.onnx has another input": beside_conv(noise),
    "a weight of model.onnx is NaN": lambda folder: (save(conv(weight=np.nan), folder), noise(folder)),
    "model.onnx is a Conv of a picture of 256 x 256 pixels": large_picture,
    "model.onnx is a Conv and a Neg of it": after_conv(helper.make_node("Neg", ["y"], ["z"], name="neg")),
    "model.onnx cuts its borders off with a Pad": after_conv(
        helper.make_node("Pad", ["y", "k"], ["z"], name="pad"), k=np.array([0, 0, -1, -1, 0, 0, -1, -1])
    ),
    "model.onnx, of opset 8, normalises each element for itself": after_conv(
        helper.make_node("BatchNormalization", ["y", "k", "k", "k", "k"], ["z"], name="norm", spatial=0),
        opset=8,
        k=np.ones((4, 8, 8), np.float32),
    ),
    "model.onnx declares an output of another type than is computed": half_typed,
    "the nodes of model.onnx have no names": nameless,
    "model.onnx has an If": with_if,
    "model.onnx is a Conv in float16": half_conv,
    "the build folder is a file": build_is_a_file,
    # the language
    "base.q is a recipe": lambda folder: (folder / "base.q").write_text("recipe base\n"),
    "chain_0.q to chain_19.q each extend the next": chain,
    "large.q has more than 1 MiB": lambda folder: (folder / "large.q").write_text("#" * (1 << 20) + "\n"),
    "latin1.q is not UTF-8": lambda folder: (folder / "latin1.q").write_bytes(b"recipe latin1\n# caf\xe9\n"),
    "the directory may not be written": read_only,
    # selectors and the plan
    "yolov8n.onnx: the detector of examples/people, beside the recipe": yolov8n,
    "two_convs.onnx: conv1, relu, conv2, sub in a row": two_convs,
    "newer.onnx: two Convs at opset 21": newer,
    "free.onnx: a Conv on a picture of any size": free_conv,
    "two_convs.onnx: conv1, relu, conv2, sub in a row, and a calib.cache with a line that has no colon": (
        two_convs_and_cache("x 3c010204")
    ),
    "two_convs.onnx: conv1, relu, conv2, sub in a row, and a calib.cache of another model": (
        two_convs_and_cache("images: 3c010204")
    ),
    "detector.onnx: a detector whose decoding ends in one Concat": detector,
    "quantized.onnx: a Conv behind QuantizeLinear and DequantizeLinear": quantized,
    # float16
    "model.onnx is a MatMul by numbers up to 1e5, some of them 1e-9": lambda folder: wide_range(folder, 1e5),
    "model.onnx is a MatMul by numbers of which some are 1e-9": lambda folder: wide_range(folder, 2.0),
    # locks
    "a lock, and another calib.npz than it was made from": locked(lambda folder: noise(folder, samples=5)),
    "model.onnx and calib.npz, and no lock": beside_conv(noise),
    "a lock whose weights.npz is gone": locked(lambda folder: (folder / "example.weights.npz").unlink()),
    "a lock with an edited range": locked(edited_range),
    "a folder stands where the lock should be": beside_conv(
        lambda folder: (noise(folder), (folder / "example.lock").mkdir())
    ),
    "a lock that was made with another version of numpy": locked(edited('tool "numpy" "', 'tool "numpy" "0.')),
    "a lock, and no calib.npz any more": locked(lambda folder: (folder / "calib.npz").unlink()),
    # data
    "no folder photos": beside_conv(lambda folder: None),
    "a pipe called photos/a.jpg": beside_conv(pipe),
    "an npz whose header claims a sample of 1 TiB": beside_conv(claims_too_much),
    "an empty folder photos": beside_conv(lambda folder: (folder / "photos").mkdir()),
    "a people.yaml whose train is ../../secret": beside_conv(
        lambda folder: yolo_tree(folder, "train: ../../secret\nnames: [a]\n")
    ),
    "two folders": beside_conv(lambda folder: [picture(folder / name / "a/a.png") for name in ("photos", "more")]),
    "a people.yaml with train and val": beside_conv(yolo_tree),
    "a folder photos with crack and clean": beside_conv(lambda folder: photos(folder, ("crack/a.png", "clean/b.png"))),
    "a folder photos with crack and clean, of different pictures": beside_conv(
        lambda folder: [picture(folder / "photos" / name, (8, 8), seed=at) for at, name in enumerate(_TWO)]
    ),
    "a folder photos with a black picture": beside_conv(black),
    "a folder photos with two pictures of clean and two of crack": beside_conv(
        lambda folder: [
            picture(folder / "photos" / name, (8, 8), seed=at)
            for at, name in enumerate(("clean/a.png", "clean/b.png", "crack/a.png", "crack/b.png"))
        ]
    ),
    "a labels.csv whose columns are called a and b": beside_conv(odd_table),
    "a label file with three numbers": beside_conv(cut_label),
    "a people.yaml whose names stand in a text": beside_conv(
        lambda folder: yolo_tree(folder, "train: images/train\nnames: person\n")
    ),
    "a people.yaml with person and dog, and one picture": beside_conv(
        one_person("train: images/train\nnames: [person, dog]\n")
    ),
    "a people.yaml with the key licence": beside_conv(
        one_person("train: images/train\nnames: [person, dog]\nlicence: MIT\n")
    ),
    "a people.yaml whose path is of another machine": beside_conv(
        one_person("path: elsewhere/people\ntrain: images/train\nnames: [person, dog]\n")
    ),
    "an instances_val.json with a file name of 5000 letters": beside_conv(long_file_name),
    "an instances.json that is cut off": beside_conv(cut_coco),
    "model.onnx gives one probability, photos has two classes": one_probability,
    "model.onnx, coco labels, and heads.py beside them": beside_conv(with_head),
    "a folder photos with one picture": beside_conv(photos),
    "a folder road with two images and one mask": beside_conv(half_masked),
    "a folder road with one image and two masks": beside_conv(twice_masked),
    "a folder photos with a cut-off picture": beside_conv(cut_picture),
    "a folder photos with a picture of 65000 x 65000": beside_conv(lambda folder: bomb(folder / "photos/a.png")),
    "an npz with a NaN": beside_conv(arrays(images=np.full((2, 3, 8, 8), np.nan, np.float32))),
    "a calib.npz of random bytes": beside_conv(
        lambda folder: (folder / "calib.npz").write_bytes(b"PK" + bytes(range(200)))
    ),
    "an npz with an array of objects": beside_conv(arrays(images=np.array([{}], dtype=object))),
    "a model that takes [1, 3, 8, 8] and a folder photos": beside_conv(photos),
    "a folder photos with a picture of 8 x 6": beside_conv(lambda folder: photos(folder, size=(8, 6))),
    "a model that takes uint8 and a folder photos": takes_bytes,
    "an npz with a float array": beside_conv(noise),
    "a model with two inputs and a folder photos": two_inputs,
    "a model with an operator nobody has": after_conv(
        helper.make_node("Nobody", ["y"], ["z"], name="nobody1", domain="none.such")
    ),
    "a model that reshapes its input to an impossible shape": after_conv(
        helper.make_node("Shape", ["y"], ["s"], name="shape1"),
        helper.make_node("Add", ["s", "one"], ["t"], name="add1"),
        helper.make_node("Reshape", ["y", "t"], ["z"], name="reshape1"),
        one=np.array([1]),
    ),
    "a model that takes the logarithm of its input": after_conv(
        helper.make_node("Sub", ["y", "far"], ["n"], name="sub1"),
        helper.make_node("Log", ["n"], ["l"], name="log1"),
        helper.make_node("Conv", ["l", "v"], ["z"], name="conv2"),
        far=np.float32([1e9]),
        v=np.ones((2, 4, 1, 1), np.float32),
    ),
    # what measured ranges show
    "model.onnx joins two convolutions, one of which writes values 1000 times as large": unlike_joined,
    "model.onnx is a Conv with a channel 1000 times smaller than the others": a_small_channel,
    "model.onnx is a Conv with a channel 100000 times smaller than the others": partial(a_small_channel, size=5e-6),
    "model.onnx is a Conv whose largest weight meets an input channel of zeros": a_weight_for_nothing,
    "model.onnx and calib.npz": beside_conv(noise),
    "model.onnx clips a convolution far outside of its values": clipped_far_outside,
    "model.onnx adds a mask of -10000 to scores before a Softmax": masked_scores,
    "model.onnx is a SiLU whose input reaches 1000": wide_silu,
    "model.onnx takes any number of rows, and runs on 100 alone": hundred_rows,
    # evaluating
    "model.onnx is a classifier of four classes, photos has four, of one picture each": lambda folder: (
        classifier(folder),
        four_classes(folder),
    ),
    "model.onnx is a Conv with its best channel beside it": best_beside,
    "model.onnx says the same of all of twelve pictures, of four classes": same_answer,
    "model.onnx is a Conv of four channels, photos has four classes": beside_conv(four_classes),
    "model.onnx is a Conv of four channels, road has a mask in colour": beside_conv(colour_mask),
    "a lock, and no folder photos any more": without_photos,
    "model.onnx is a Conv of 64 channels on a picture of any size": free_channels,
    # reports
    "the folder of a build without its measurements.json": built(lambda build: (build / "measurements.json").unlink()),
    "the folder of a build whose measurements.json is cut off": built(cut_measurements),
    "the folder of a build without its bench/": built(lambda build: shutil.rmtree(build / "ort" / "bench")),
    "the folder of a build whose golden outputs are others": bundled(other_goldens),
    "the folder of a build of which more integer kernels were predicted": bundled(more_predicted),
    "the folder of a build with what an emulated device measured": built(emulated_device),
    "the folder of a build with what a device measured of another artifact": built(foreign_device),
    "the folder of a build with another model.onnx": built(lambda build: (build / "ort/model.onnx").write_bytes(b"")),
    # artifacts
    "model.onnx is a Conv whose weight holds a NaN": lambda folder: (save(conv(weight=np.nan), folder), noise(folder)),
    "model.onnx is a Conv whose input and weight reach 1e35": huge_values,
    "a file stands where the target's folder should be": target_is_a_file,
    "model.onnx has a Relu with an attribute of its own": after_conv(
        helper.make_node("Neg", ["y"], ["n"], name="between"),
        helper.make_node("Relu", ["n"], ["z"], name="more", odd=1),
    ),
    "model.onnx has an AveragePool with dilations between Q/DQ pairs": dilated_pool,
}


# ---- what only a call of the library raises --------------------------------------------------------------------------


def small(folder: Path) -> tuple[Any, Any]:
    """The small Conv model and its plan."""
    save(conv(), folder)
    noise(folder)
    (folder / "example.q").write_text(
        'recipe example\nmodel onnx "model.onnx"\ndata calib from npz "calib.npz"\n'
        "quantize static { weights int8; activations uint8; calibrate minmax on calib }\ntarget ort\n"
    )
    return load(folder / "model.onnx"), qdsl.api.plan(folder / "example.q").plans[0]


def emit_with(folder: Path, edit: Callable[[dict[str, float]], object], weight: float = 0.5) -> None:
    """Emit with ranges of 0 to 1, changed by `edit`."""
    model, plan = small(folder)
    if weight != 0.5:
        save(conv(weight=weight), folder)
        model = load(folder / "model.onnx")
    names = [tensor.tensor for tensor in plan.tensors]
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 1.0)
    edit(high)
    emit(model, plan, Ranges({name: low[name] for name in high}, high, 1, 1), folder / "build")


def calibrate_unknown(folder: Path) -> None:
    model, _ = small(folder)
    minmax(model, ["no_such_tensor"], ())  # type: ignore[arg-type]


def save_below_a_file(folder: Path) -> None:
    model, _ = small(folder)
    (folder / "build").write_text("in the way")
    qdsl.graph.save(model, folder / "build" / "model.onnx")


def sweep_of(folder: Path, *names: str, text: str = "", how: str = "local") -> None:
    """A sweep of small recipes at `names`."""
    small(folder)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text((folder / "example.q").read_text() + text)
    qdsl.api.sweep([folder / name for name in names], out=folder / "sweep", how=how)


def sharded_unknown(folder: Path) -> None:
    """Two shards of a model that no runtime runs."""
    small(folder)
    SETUPS["a model that reshapes its input to an impossible shape"](folder)
    qdsl.api.compile(folder / "example.q", out=folder / "build", shards=2)


def evaluate_nothing(folder: Path) -> None:
    small(folder)
    qdsl.api.compile(folder / "example.q", out=folder / "build")
    qdsl.api.evaluate(folder / "example.q", out=folder / "build")


def saturated(folder: Path) -> None:
    """What a CPU that adds in saturating pairs shows."""
    plan = small(folder)[1]
    worse = Arithmetic("y", 34.0, 13.0, 13.1, 2)
    ran = Verification(2, 2, (), (), (), (), (), arithmetic=(worse,), partings=(Parting("c", 20.0),))
    raise QdslError(arithmetic_findings(plan, ran, Span("example.q", 5, 1, 5, 8)))


def refuse(error: Exception) -> None:
    """What the command line tells of what the system raises."""
    found = refused_by_system(error)
    raise QdslError([found] if found is not None else [])


def no_such_revision(folder: Path) -> None:
    """A repository with one commit, which does not have the file."""
    repository(folder, {"a.q": "recipe a\n"})
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        qdsl.api.diff("HEAD:b.q", "a.q")


def recipe_against_lock(folder: Path) -> None:
    shutil.copy(Path(__file__).parent.parent / "recipes/yolov8n_static.lock", folder / "a.lock")
    (folder / "a.q").write_text("recipe a\n", encoding="utf-8")
    qdsl.api.diff(folder / "a.q", folder / "a.lock")


def extracted(folder: Path, said: str | None) -> None:
    """Take the recipe out of a file that says `said` of where it comes from; None for nothing."""
    model = conv()
    if said is not None:
        model.metadata_props.add(key=KEY, value=said)
    save(model, folder)
    qdsl.api.show(folder / "model.onnx", extract=folder / "out.q")


def extracted_hashes(folder: Path) -> None:
    small(folder)
    made = qdsl.api.compile(folder / "example.q", out=folder / "build", provenance="hashes", measure=False)
    qdsl.api.show(made.targets[0].emitted.model, extract=folder / "out.q")


def undrawn(folder: Path) -> None:
    """Lays out a graph where the package is not installed."""
    with patch.dict(sys.modules, {"fast_sugiyama": None}):
        lay_out(2, [(0, 1)])


def rtx_absent(folder: Path) -> None:
    """Asks for TensorRT-RTX where neither the extra nor an environment of its own is installed."""
    with patch.dict(sys.modules, {places.MODULE: None}), patch.dict(os.environ, {"QDSL_RTX": str(folder)}):
        qdsl.api.audit(folder / "model.onnx", engine="rtx")


def two_engines(folder: Path) -> object:
    """Layers of two engines, added at once."""
    paths = [folder / "one.json", folder / "two.json"]
    for path in paths:
        path.write_text('{"Layers": []}', encoding="utf-8")
    return sorted_out(paths)


def two_runs_of_st(folder: Path) -> object:
    """Reports of ST's tool of two versions, added at once to a build that has an artifact for it."""
    head = "Parameters : analyze\nmacc : 10\nweights (ro) : 5 B (5 B)\n"
    paths = [folder / "network_analyze_report.txt", folder / "network_validate_report.txt"]
    for path, version in zip(paths, ("10.0.0", "4.0.0"), strict=True):
        path.write_text(f"ST Edge AI Core v{version}\n{head}", encoding="utf-8")
    facts = BuildFacts("stm32", "static", "", 0, {}, "0" * 64, 0, None, (), None, "", (), (), ())
    model = ModelFacts("m", 0, 0, 0, 0, 17, 0, None, {})
    build = Measurements("example", "0" * 64, model, (facts,), (), (), {}, {}, None)
    return st_reports.taken_in(folder, build, st_reports.sorted_out(paths)[0])


def st_overlap(folder: Path) -> None:
    """A plan of memory of ST's in which two buffers meet."""
    told = Told("4.0.0", overlaps=("`a` and `b` share 5 bytes in epochs 1 to 2",))
    raise QdslError(st_reports.overlapping([StReport("example", "stm32", "0" * 64, False, {"f": "0" * 64}, told)]))


def device_build(folder: Path) -> None:
    """As `compile --build` tells it."""
    found = TargetBuilt("tensorrt", Built(folder, "trtexec", "A10", 1.0, "`sh commands.sh build` fails"))
    raise QdslError(building.faults([found]))


def engine_otherwise(folder: Path) -> None:
    """An engine of which the process died."""
    raise QdslError(faults(EngineCheck("tensorrt", "an engine", UNDECIDED, reason="its process died by SIGSEGV")))


def no_cmsis_nn(folder: Path) -> None:
    """A place without a checkout."""
    with patch.dict(os.environ, {cmsis_nn.PLACE: str(folder)}):
        cmsis_nn.checkout()


def no_torch(folder: Path) -> None:
    with patch("qdsl.train.extra.find_spec", lambda name: None):
        require_torch()


def executor_lacks(folder: Path) -> None:
    pytest.importorskip("torch")
    from qdsl.train import Executor

    Executor(graph_of([helper.make_node("Hardmax", ["images"], ["y"])], ["y"]))


def executor_failed(folder: Path) -> None:
    pytest.importorskip("torch")
    from qdsl.train import Executor

    node = helper.make_node("Reshape", ["images", "shape"], ["y"])
    executor = Executor(graph_of([node], ["y"], constants={"shape": np.array([192], np.int64)}))
    executor.run({"images": np.zeros((2, 3, 8, 8), np.float32)})


CALLS: dict[str, Setup] = {
    **OF_SENSITIVITY,
    "allocate-grown": grown,
    "allocate-unsolved": unsolved,
    "allocate-loss": lossless,
    "rtx-absent": rtx_absent,
    "rtx-capability": lambda folder: qdsl.api.audit(folder / "model.onnx", engine="rtx", capability="sm87"),
    "engine-choice": lambda folder: qdsl.api.audit(folder / "model.onnx", engine="rtz"),
    "engine-files": two_engines,
    "st-files": two_runs_of_st,
    "st-overlap": st_overlap,
    "engine-otherwise": engine_otherwise,
    "device-build": device_build,
    "engine-layers": lambda folder: qdsl.api.audit(folder / "model.onnx", engine=folder / "layers.json"),
    "engine-target": lambda folder: qdsl.api.audit(folder / "model.onnx", engine="rtx", target="ort"),
    "graph-absent": undrawn,
    "fix-place": beside_conv(lambda folder: qdsl.api.audit(folder / "model.onnx", fix=folder / "model.onnx")),
    "diff-input": lambda folder: qdsl.api.diff(folder / "a.q", folder / "b.q"),
    "diff-revision": no_such_revision,
    "diff-kinds": recipe_against_lock,
    "diff-git": lambda folder: qdsl.api.git_setup(folder / "nowhere"),
    "provenance-missing": lambda folder: extracted(folder, None),
    "provenance-invalid": lambda folder: extracted(folder, "{}"),
    "provenance-hashes": extracted_hashes,
    "show-exists": beside_conv(lambda folder: qdsl.api.show(folder / "model.onnx", export=folder)),
    "new-data": beside_conv(
        lambda folder: qdsl.api.new(folder / "model.onnx", data=folder / "nowhere", out=folder / "made.q")
    ),
    "new-example": lambda folder: qdsl.api.new(example="shape", out=folder / "made"),
    "new-exists": lambda folder: qdsl.api.new(example="shapes", out=folder),
    "cpu-unknown": lambda folder: qdsl.api.verify(folder, on=["haswel"]),
    "emulator-absent": lambda folder: emulated_by(folder, ""),
    "emulator-failed": lambda folder: emulated_by(folder, "#!/bin/sh\necho no >&2; exit 1\n"),
    "c-invalid": lambda folder: compiled_by(folder, "echo network.c:1:1: error: no >&2; exit 1"),
    "cmsis-nn-unfit": no_cmsis_nn,
    "c-too-large": lambda folder: compiled_by(folder, 'echo "region \\`FLASH\' overflowed by 8 bytes" >&2; exit 1'),
    "c-differs": lambda folder: held(one_copy(folder), [bytes(4)], [bytes([0, 0, 1, 0])]),
    "emulation-failed": refused_arena,
    "kernels-differ": saturated,
    "calibration-shard": sharded_unknown,
    "out-of-memory": lambda folder: refuse(MemoryError()),
    "system-refused": lambda folder: refuse(PermissionError(13, "Permission denied", str(folder))),
    "evaluate-nothing": evaluate_nothing,
    "build-slower": slower_build,
    "sweep-names": lambda folder: sweep_of(folder, "example.q", "more/example.q"),
    "sweep-size": lambda folder: sweep_of(
        folder, "example.q", text="".join(f"param p{n} = 1 from [1, 2, 3]\n" for n in range(6))
    ),
    "video-absent": no_video,
    "video-broken": broken_video,
    "sweep-engine": lambda folder: sweep_of(folder, "example.q", how="nobody"),
    "calibration-tensor": calibrate_unknown,
    "calibration-parts": lambda folder: merged([Observations("key", 2, {0}), Observations("key", 2, {0, 1})]),
    "calibration-ranges": lambda folder: Ranges.from_json('{"samples": 1, "tensors": {"a": [2, 1]}}'),
    "plan-file": lambda folder: from_json(to_json(replace(small(folder)[1], version=PLAN_VERSION - 1))),
    "range-missing": lambda folder: emit_with(folder, lambda high: high.pop("images")),
    "range-not-finite": lambda folder: emit_with(folder, lambda high: high.update(images=float("inf"))),
    "weight-not-finite": lambda folder: emit_with(folder, lambda high: None, weight=float("nan")),
    "model-write": save_below_a_file,
    "lock-moved": data_moves,
    "torch-absent": no_torch,
    "executor-lacks": executor_lacks,
    "executor-failed": executor_failed,
}
