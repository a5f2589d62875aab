"""Export the detector to ONNX: input `images` (1, 3, 320, 320) RGB in 0..1, output `detections` (1, 8, 2100).

    python examples/steel/export.py --weights seeded --out examples/steel/steel.onnx
    python examples/steel/export.py --weights build/steel/best.pt --out examples/steel/steel.onnx

`seeded` weights are untrained: drawn from a fixed seed, with BatchNorm statistics taken from generated pictures. The
same arguments give the same bytes with the same library versions.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from brush import SIDE
from model import Detector
from plates import make_scene
from torch import nn

OPSET = 17
MAX_IR = 13  # what ONNX Runtime 1.31 loads


def settle_statistics(model: Detector, pictures: int = 32, batch: int = 8) -> None:
    """Set every BatchNorm's running mean and variance to the average over generated pictures of the val split."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    usual = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    model.train()
    with torch.no_grad():
        for start in range(0, pictures, batch):
            images = np.stack([make_scene(0, "val", i).image for i in range(start, start + batch)])
            model(torch.from_numpy(images).movedim(-1, 1).float() / 255)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def load_model(weights: str) -> Detector:
    """The network in eval mode, with `seeded` weights or those of a checkpoint written by train.py."""
    torch.manual_seed(0)
    model = Detector()
    if weights == "seeded":
        settle_statistics(model)
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


def export(model: Detector, out: Path) -> onnx.ModelProto:
    """Write `out`, checked, and return it."""
    with warnings.catch_warnings():
        # The exporter warns about being the older of two, and about constants that we mean to be constants.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(out),
            input_names=["images"],
            output_names=["detections"],
            dynamo=False,
            opset_version=OPSET,
            verbose=False,
        )
    proto = onnx.load(str(out))
    proto.ir_version = min(proto.ir_version, MAX_IR)
    strip_origin(proto)
    onnx.checker.check_model(proto, full_check=True)
    out.write_bytes(proto.SerializeToString(deterministic=True))
    return proto


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the steel defect detector to ONNX.")
    parser.add_argument("--weights", default="seeded", help="'seeded' or a checkpoint of train.py")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order, so that two runs give the same bytes
    proto = export(load_model(args.weights), args.out)
    convs = sum(node.op_type == "Conv" for node in proto.graph.node)
    print(f"{args.out}: {len(proto.graph.node)} nodes, {convs} Conv, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
