"""Quantized builds of YOLOv8n: ours from its recipes, and those of ONNX Runtime's `quantize_static` beside them.

All are calibrated by smallest and largest values on the same pictures of the recipe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from common import ROOT
from peers.shared import Pictures, Reader
from pictures import decode

import qdsl

STATIC = ROOT / "recipes" / "yolov8n_static.q"
RECIPES = (STATIC, *(ROOT / "recipes" / f"yolov8n_{kind}.q" for kind in ("study", "dynamic", "fp16")))
DEFAULTS = "quantize_static, defaults"
DECODE = "/model.22/"  # everything below it but the convolutions of its two branches
BRANCHES = (f"{DECODE}cv2", f"{DECODE}cv3")


@dataclass(frozen=True, slots=True)
class Hand:
    """What someone sets by hand: uint8 activations, the sign of the weights, per channel or not, decoding in float; or
    instead of that some operator types in float, and weights of 7 bits."""

    name: str
    signed: bool
    per_channel: bool
    decode_excluded: bool
    types_excluded: tuple[str, ...] = ()
    reduce_range: bool = False


# What yolov8n_study.q says, for the other quantizer.
STUDY = Hand("as yolov8n_study.q", True, False, False, ("Concat", "Reshape", "Softmax", "Sigmoid"), True)
HANDS = (
    Hand("u8s8 per channel, decode excluded", True, True, True),
    Hand("u8s8 per tensor, decode excluded", True, False, True),
    Hand("u8u8 per channel, decode excluded", False, True, True),
    Hand("u8u8 per tensor, decode excluded", False, False, True),
    Hand("u8s8 per channel", True, True, False),
    Hand("u8s8 per tensor", True, False, False),
)


def ours(recipe: Path, model: Path, images: int, folder: Path) -> Path:
    """The recipe compiled for another model and number of calibration pictures, without its lock."""
    name = f"{recipe.stem}_{images}"
    text = f'recipe {name}\nextends "{recipe}"\nmodel onnx "{model}"\n'
    if "data calib" in recipe.read_text(encoding="utf-8"):
        text += f'data calib from yolo "{ROOT}/examples/people/people.yaml" {{ split train; take {images} seed 7 }}\n'
    path = folder / f"{name}.q"
    path.write_text(text, encoding="utf-8")
    (target,) = qdsl.compile(path, out=folder / "build", lock=False, measure=False).targets
    return target.emitted.model


def prepared(model: Path, folder: Path) -> Path:
    """The float model after ONNX Runtime's own preparation for its quantizer."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = folder / f"{model.stem}_prepared.onnx"
    if not path.exists():
        quant_pre_process(str(model), str(path), skip_symbolic_shape=True)
    return path


def by_hand(model: Path, pictures: Pictures, input_name: str, hand: Hand | None, out: Path) -> Path:
    """`quantize_static` of a prepared model; without `hand` as it comes."""
    from onnxruntime.quantization import QuantType, quantize_static

    reader = Reader(input_name, pictures)
    if hand is None:
        quantize_static(str(model), str(out), reader)
        return out
    nodes = onnx.load(model).graph.node
    decode_nodes = [n.name for n in nodes if n.name.startswith(DECODE) and not n.name.startswith(BRANCHES)]
    if hand.decode_excluded and not decode_nodes:
        raise SystemExit(f"{model} has no nodes below {DECODE}")
    excluded = [n.name for n in nodes if n.op_type in hand.types_excluded]
    quantize_static(
        str(model),
        str(out),
        reader,
        per_channel=hand.per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8 if hand.signed else QuantType.QUInt8,
        reduce_range=hand.reduce_range,
        nodes_to_exclude=decode_nodes if hand.decode_excluded else excluded,
    )
    return out


def build(model: Path, images: int, folder: Path, wanted: str = "all") -> Iterator[tuple[str, Path]]:
    """(name, model file), float first; `wanted` is ours, few (with defaults, the study's, the first by hand) or all."""
    yield "float", model
    for recipe in RECIPES:
        if recipe.exists():
            yield recipe.stem, ours(recipe, model, images, folder)
    if wanted == "ours":
        return
    decoded = decode(STATIC, images, folder / "pictures.u8")
    pictures = Pictures(decoded.path, decoded.shape, decoded.count)
    ready = prepared(model, folder)
    yield DEFAULTS, by_hand(ready, pictures, decoded.input, None, folder / "defaults.onnx")
    for number, hand in enumerate((STUDY, *HANDS[: 1 if wanted == "few" else None])):
        made = by_hand(ready, pictures, decoded.input, hand, folder / f"hand_{number}.onnx")
        yield f"quantize_static, {hand.name}", made
    decoded.path.unlink()
