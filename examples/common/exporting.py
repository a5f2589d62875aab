"""From a network in torch to an ONNX file: its weights, and a file that says nothing of where it was made."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import onnx
import torch
from torch import Tensor, nn

MAX_IR = 13  # what ONNX Runtime 1.31 loads

Network = TypeVar("Network", bound=nn.Module)


def repeatable() -> None:
    """From here on weights are drawn from a fixed seed, and sums go in one order, so that two runs give the same
    bytes."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


def with_weights(model: Network, weights: str, batches: Iterable[Tensor]) -> Network:
    """The network in eval mode: with the weights of a checkpoint that a train.py wrote, or `seeded`, as it was drawn,
    with BatchNorm statistics of `batches` of pictures."""
    if weights == "seeded":
        settle_statistics(model, batches)
    else:
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def settle_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every BatchNorm's running mean and variance to the average over the batches."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    usual = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    model.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def strip_origin(proto: onnx.ModelProto, package: str) -> None:
    """Remove what tells where the exporter ran: stack traces, doc strings, and the package before the names of classes.
    Scopes and names stay."""
    proto.ClearField("doc_string")
    proto.graph.ClearField("doc_string")
    for owner in (*proto.graph.node, *proto.functions):
        owner.ClearField("doc_string")
        kept = [entry for entry in owner.metadata_props if entry.key != "pkg.torch.onnx.stack_trace"]
        for entry in kept:
            entry.value = entry.value.replace(package, "")
        del owner.metadata_props[:]
        owner.metadata_props.extend(kept)


def export(model: nn.Module, out: Path, size: int, output: str, *, dynamo: bool = False) -> None:
    """Write `out`, checked, with input `images` (1, 3, size, size), and say what it has: opset 17, by the dynamo
    exporter 20."""
    with warnings.catch_warnings():
        # The exporters warn about constants that we mean to be constants, and the older one about being the older one.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, size, size),),
            str(out),
            input_names=["images"],
            output_names=[output],
            dynamo=dynamo,
            opset_version=20 if dynamo else 17,
            external_data=False,
            verbose=False,
        )
    proto = onnx.load(str(out))
    proto.ir_version = min(proto.ir_version, MAX_IR)
    strip_origin(proto, "".join(type(model).__module__.rpartition(".")[:2]))
    onnx.checker.check_model(proto, full_check=True)
    out.write_bytes(proto.SerializeToString(deterministic=True))
    convs = sum(node.op_type == "Conv" for node in proto.graph.node)
    print(f"{out}: {len(proto.graph.node)} nodes, {convs} Conv, {out.stat().st_size} bytes")
