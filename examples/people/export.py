"""Export the detector to ONNX: input `images` (1, 3, S, S) RGB in 0..1, output `output0` (1, 5, S * S * 21 / 1024).

    python examples/people/export.py --weights seeded --out examples/people/yolov8n.onnx
    python examples/people/export.py --weights best.pt --out examples/people/yolov8n.onnx

`seeded` weights are untrained: drawn from a fixed seed, with BatchNorm statistics taken from generated scenes, so that
activations have the ranges of real images. The same arguments give the same bytes with the same library versions.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from model import YOLOv8
from numpy.typing import NDArray
from PIL import Image
from scenes import make_scene
from torch import Tensor, nn

GREY = 114  # what letterboxing pads with
MAX_IR = 13  # what ONNX Runtime 1.31 loads


def letterbox(image: NDArray[np.uint8], size: int) -> Tensor:
    """(H, W, 3) uint8 RGB -> (3, size, size) float in 0..1, aspect kept, centred on grey."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    w, h = round(width * scale), round(height * scale)
    padded = np.full((size, size, 3), GREY, dtype=np.uint8)
    top, left = (size - h) // 2, (size - w) // 2
    padded[top : top + h, left : left + w] = np.asarray(
        Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR)
    )
    return torch.from_numpy(padded).permute(2, 0, 1).float() / 255


def settle_statistics(model: YOLOv8, size: int, scenes: int = 32, batch: int = 4) -> None:
    """Set every BatchNorm's running mean and variance to the average over generated scenes of the training split."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    usual = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    model.train()
    with torch.no_grad():
        for start in range(0, scenes, batch):
            images = [make_scene(0, "train", i).image for i in range(start, start + batch)]
            model(torch.stack([letterbox(image, size) for image in images]))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def load_model(weights: str, width: float, box_channels: int | None, size: int) -> YOLOv8:
    """The network in eval mode, with `seeded` weights or those of a checkpoint written by train.py."""
    torch.manual_seed(0)
    model = YOLOv8(width=width, box_channels=box_channels)
    if weights == "seeded":
        # One size for the statistics whatever the export's, so that a fixture for 320 pixels is as fast to make.
        settle_statistics(model, min(size, 320))
    else:
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def strip_origin(proto: onnx.ModelProto) -> None:
    """Remove what tells where the exporter ran: stack traces and doc strings. Scopes and names stay."""
    proto.ClearField("doc_string")
    proto.graph.ClearField("doc_string")
    for owner in (*proto.graph.node, *proto.functions):
        owner.ClearField("doc_string")
        kept = [entry for entry in owner.metadata_props if entry.key != "pkg.torch.onnx.stack_trace"]
        del owner.metadata_props[:]
        owner.metadata_props.extend(kept)


def export(model: YOLOv8, out: Path, size: int, dynamo: bool) -> onnx.ModelProto:
    """Write `out`, checked, and return it."""
    example = (torch.zeros(1, 3, size, size),)
    with warnings.catch_warnings():
        # The exporters warn about constants that we mean to be constants, and the older one about being the older one.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            model,
            example,
            str(out),
            input_names=["images"],
            output_names=["output0"],
            dynamo=dynamo,
            opset_version=20 if dynamo else 17,
            external_data=False,
            verbose=False,
        )
    proto = onnx.load(str(out))
    proto.ir_version = min(proto.ir_version, MAX_IR)
    strip_origin(proto)
    onnx.checker.check_model(proto, full_check=True)
    out.write_bytes(proto.SerializeToString(deterministic=True))
    return proto


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the person detector to ONNX.")
    parser.add_argument("--weights", default="seeded", help="'seeded' or a checkpoint of train.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=640, help="input height and width in pixels, a multiple of 32")
    parser.add_argument("--width", type=float, default=0.25, help="channel multiplier; 0.25 is nano")
    parser.add_argument("--box-channels", type=int, help="narrow the head's box branch (tiny fixtures only)")
    parser.add_argument("--dynamo", action="store_true", help="use the dynamo exporter (opset 20)")
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order, so that two runs give the same bytes
    model = load_model(args.weights, args.width, args.box_channels, args.size)
    proto = export(model, args.out, args.size, args.dynamo)
    convs = sum(node.op_type == "Conv" for node in proto.graph.node)
    print(f"{args.out}: {len(proto.graph.node)} nodes, {convs} Conv, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
