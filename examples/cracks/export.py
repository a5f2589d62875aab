"""Export a classifier to ONNX: input `images` (1, 3, 224, 224) RGB in -1..127/128, output `logits` (1, 2).

    python examples/cracks/export.py --network mobilenet_v1_025 --weights v1.pt --out build/cracks/v1.onnx

`--weights seeded` are untrained: drawn from a fixed seed, with BatchNorm statistics taken from generated pictures. The
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
from model import NETWORKS, Classifier
from surfaces import make_picture
from torch import nn
from train import SIDE, prepare

OPSET = 17
MAX_IR = 13  # what ONNX Runtime 1.31 loads


def settle_statistics(model: Classifier, pictures: int = 32, batch: int = 8) -> None:
    """Set every BatchNorm's running mean and variance to the average over generated pictures of the training split."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    usual = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    model.train()
    with torch.no_grad():
        for start in range(0, pictures, batch):
            model(prepare(np.stack([make_picture(0, "train", i) for i in range(start, start + batch)])))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def load_model(network: str, weights: str) -> Classifier:
    """The network in eval mode, with `seeded` weights or those of a checkpoint written by train.py."""
    torch.manual_seed(0)
    model = NETWORKS[network]()
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


def export(model: Classifier, out: Path) -> onnx.ModelProto:
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
            output_names=["logits"],
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
    parser = argparse.ArgumentParser(description="Export a crack classifier to ONNX.")
    parser.add_argument("--network", choices=sorted(NETWORKS), required=True)
    parser.add_argument("--weights", default="seeded", help="'seeded' or a checkpoint of train.py")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order, so that two runs give the same bytes
    proto = export(load_model(args.network, args.weights), args.out)
    convs = sum(node.op_type == "Conv" for node in proto.graph.node)
    print(f"{args.out}: {len(proto.graph.node)} nodes, {convs} Conv, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
