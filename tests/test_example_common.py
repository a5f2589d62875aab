"""What the examples share: drawing, labels, training that can be interrupted, and exports without a trace of origin."""

from __future__ import annotations

import ast
from argparse import Namespace
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from example_tools import shared

ROOT = Path(__file__).resolve().parents[1]
LEAST = 4  # lines: what is shorter is no loss to have twice


def test_no_function_stands_in_two_examples() -> None:
    found = defaultdict(list)
    for path in sorted((ROOT / "examples").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.FunctionDef)
                and node.name != "main"
                and len(ast.unparse(node.body).splitlines()) >= LEAST
            ):
                found[ast.unparse(node.body)].append(f"{path.parent.name}/{path.name}: {node.name}")
    assert not [places for places in found.values() if len(places) > 1]


def test_noise_blur_and_stencils() -> None:
    drawing = shared("drawing")
    sheet, rng = drawing.Sheet(64, over=4), np.random.default_rng(0)
    cloud = sheet.cloud(rng, 16)
    assert cloud.shape == (64, 64) and cloud.dtype == np.float32 and 0.5 < cloud.std() < 1.5
    assert drawing.blurred(cloud, 3.0).std() < 0.5 * cloud.std()
    np.testing.assert_allclose(drawing.blurred(np.full((8, 5), 3, np.float32), 2.0), 3, rtol=1e-6)
    stencil = drawing.Stencil(sheet)
    stencil.disc((32, 32), 10)
    assert stencil.finish().sum() == pytest.approx(np.pi * 100, rel=0.05)
    thin = drawing.Stencil(sheet)
    thin.line([(0, 32), (64, 32)], 1 / 16)
    assert thin.finish().sum() == pytest.approx(64 / 16, rel=0.05), "a hairline is faint, not gone"


def test_pictures_get_the_best_quality_that_fits() -> None:
    drawing = shared("drawing")
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    best, least = (drawing.encode_jpeg(picture, most, (90, 50, 10)) for most in (10**6, 1))
    assert len(best) > len(least)
    assert drawing.encode_jpeg(picture, len(best) - 1, (90, 50, 10)) not in (best, least)


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    boxes = shared("boxes")
    rows = [(2, 0.5, 0.25, 0.125, 0.0625), (0, 0.1, 0.2, 0.3, 0.4)]
    boxes.write_scene(tmp_path, "train", 7, b"jpeg", rows)
    boxes.write_scene(tmp_path, "train", 3, b"jpeg", [])
    (first, none), (second, found) = boxes.read_scenes(tmp_path, "train")
    assert (first.name, second.name, none.shape) == ("00003.jpg", "00007.jpg", (0, 5))
    np.testing.assert_allclose(found, rows)
    with pytest.raises(SystemExit, match=r"no pictures in .*val"):
        boxes.read_scenes(tmp_path, "val")


def arguments(folder: Path, *words: str) -> Namespace:
    parser = shared("training").arguments("", "", batch=2, rate=0.01, sgd=0.1)
    given = ["--data", str(folder), "--out", str(folder / "out.pt"), "--threads", "1", *words]
    found: Namespace = parser.parse_args(given)
    return found


class Items:
    """Twelve pictures of noise and a number each; past `last` the power fails."""

    def __init__(self, last: int = 12) -> None:
        self.last = last

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        import torch

        if index >= self.last:
            raise KeyboardInterrupt
        draw = torch.Generator().manual_seed(index)
        return torch.rand(3, 8, 8, generator=draw), torch.rand(2, generator=draw)


def fitted(folder: Path, items: Items, *words: str, average: bool = True) -> dict[str, Any]:
    """The weights that training writes."""
    torch, training = pytest.importorskip("torch", reason="torch trains"), shared("training")
    args = arguments(folder, *words)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )
    model(torch.zeros(1, 3, 8, 8))

    def loss(found: Any, wanted: Any) -> tuple[Any, dict[str, float]]:
        value = (found - wanted).square().mean()
        return value, {"loss": float(value.detach())}

    kept = training.Average(0.9, 2.0) if average else None
    training.fit(args, training.prepared(model, args), items, loss, training.Habit(decay=(0.0, 0.0)), kept)
    found: dict[str, Any] = torch.load(args.out, weights_only=True)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("average", [False, True])
def test_interrupted_training_ends_with_the_same_weights(average: bool, tmp_path: Path) -> None:
    whole = fitted(tmp_path, Items(), average=average)
    state = ("--state", str(tmp_path / "state.pt"), "--save", "2")
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, Items(last=9), *state, average=average)
    again = fitted(tmp_path, Items(), *state, average=average)
    assert all(bool((whole[name] == again[name]).all()) for name in whole) and whole.keys() == again.keys()


@pytest.mark.slow
def test_the_average_is_what_is_written(tmp_path: Path) -> None:
    last, mean = (fitted(tmp_path, Items(), average=average) for average in (False, True))
    assert any(bool((last[name] != mean[name]).any()) for name in last)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weights_decay_but_for_biases_and_where_it_says_so_depthwise_ones(optimizer: str) -> None:
    torch, training = pytest.importorskip("torch", reason="torch trains"), shared("training")
    model = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4), torch.nn.Conv2d(4, 4, 1))
    for depthwise in (True, False):
        habit = training.Habit(decay=(0.25, 0.5), depthwise_decays=depthwise)
        decayed, rest = training.make_optimizer(model, optimizer, 0.1, habit).param_groups
        assert (decayed["weight_decay"], rest["weight_decay"]) == (0.25 if optimizer == "sgd" else 0.5, 0.0)
        assert [tuple(p.shape) for p in decayed["params"]] == [(4, 1, 3, 3), (4, 4, 1, 1)][not depthwise :]


def test_the_learning_rate_rises_and_falls() -> None:
    pytest.importorskip("torch", reason="training.py imports torch")
    rates = [shared("training").rate_factor(step, 200) for step in range(200)]
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)
    assert max(rates) == 1 and rates[-1] == pytest.approx(0.01, abs=1e-3)


def test_an_export_says_nothing_of_where_it_was_made(tmp_path: Path) -> None:
    torch, exporting = pytest.importorskip("torch", reason="torch exports"), shared("exporting")
    node = onnx.helper.make_node("Relu", ["a"], ["b"], doc_string="File /home/somebody/x.py")
    for key, value in (("pkg.torch.onnx.stack_trace", "File x.py"), ("scope", "examples.people.model.Conv")):
        node.metadata_props.add(key=key, value=value)
    proto = onnx.ModelProto(graph=onnx.GraphProto(node=[node], doc_string="x"), doc_string="x")
    exporting.strip_origin(proto, "examples.people.")
    assert b"somebody" not in proto.SerializeToString() and not proto.graph.doc_string
    assert [(p.key, p.value) for p in proto.graph.node[0].metadata_props] == [("scope", "model.Conv")]
    batches = [torch.full((2, 3, 8, 8), value) for value in (1.0, 3.0)]
    model = exporting.with_weights(torch.nn.BatchNorm2d(3), "seeded", batches)
    assert model.running_mean.tolist() == [2.0] * 3 and not model.training
    for name in ("first", "second"):
        exporting.export(model, tmp_path / f"{name}.onnx", 8, "y")
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
    made = onnx.load(tmp_path / "first.onnx")
    assert ([i.name for i in made.graph.input], [o.name for o in made.graph.output]) == (["images"], ["y"])
    assert made.opset_import[0].version == 17
