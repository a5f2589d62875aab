"""The detector's training loss: task-aligned assignment, then BCE for classes, CIoU and DFL for boxes.

Assignment after TOOD (Feng et al., 2021), complete IoU after Zheng et al. (2020), distribution focal loss after
Li et al. (2020). N is the batch, A the cells of all levels, M the most boxes of an image, padded with `valid` False.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from examples.common.training import Targets
from examples.people.model import REG_MAX, anchor_points

TOP_K = 10  # cells per box
ALPHA, BETA = 0.5, 6.0  # exponents of score and overlap in the alignment metric
BOX_GAIN, CLASS_GAIN, DFL_GAIN = 7.5, 0.5, 1.5
EPS = 1e-7


@dataclass(frozen=True)
class Assignment:
    """Per cell: is it positive (N, A), its box (N, A, 4) in pixels and its soft class scores (N, A, nc)."""

    positive: Tensor
    boxes: Tensor
    scores: Tensor


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """CIoU of corner boxes (..., 4), broadcast: IoU minus the distance of centres and the difference of aspect."""
    wa, ha = (a[..., 2] - a[..., 0]).clamp(min=EPS), (a[..., 3] - a[..., 1]).clamp(min=EPS)
    wb, hb = (b[..., 2] - b[..., 0]).clamp(min=EPS), (b[..., 3] - b[..., 1]).clamp(min=EPS)
    inter_w = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    inter_h = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    inter = inter_w.clamp(min=0) * inter_h.clamp(min=0)
    iou = inter / (wa * ha + wb * hb - inter + EPS)
    hull_w = torch.maximum(a[..., 2], b[..., 2]) - torch.minimum(a[..., 0], b[..., 0])
    hull_h = torch.maximum(a[..., 3], b[..., 3]) - torch.minimum(a[..., 1], b[..., 1])
    dx = a[..., 0] + a[..., 2] - b[..., 0] - b[..., 2]
    dy = a[..., 1] + a[..., 3] - b[..., 1] - b[..., 3]
    aspect = (4 / math.pi**2) * (torch.atan(wa / ha) - torch.atan(wb / hb)) ** 2
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + EPS)
    return iou - (dx**2 + dy**2) / 4 / (hull_w**2 + hull_h**2 + EPS) - weight * aspect


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, points: Tensor, targets: Targets) -> Assignment:
    """Give each box its `TOP_K` best aligned cells among those whose centre it contains.

    `scores` (N, A, nc) are probabilities, `boxes` (N, A, 4) predicted corners in pixels, `points` (A, 2) in pixels.
    A cell wanted by several boxes goes to the one it overlaps most.
    """
    n, cells, nc = scores.shape
    most = targets.boxes.shape[1]
    low, high = targets.boxes[:, :, None, :2], targets.boxes[:, :, None, 2:]
    inside = torch.cat((points - low, high - points), -1).amin(-1) > 1e-6
    inside &= targets.valid[..., None]
    overlap = complete_iou(targets.boxes[:, :, None], boxes[:, None]).clamp(min=0) * inside
    chosen = targets.classes[:, None, :].expand(n, cells, most)
    own_score = scores.gather(2, chosen).transpose(1, 2)
    metric = own_score**ALPHA * overlap**BETA * inside
    top, index = metric.topk(min(TOP_K, cells), -1)
    picked = torch.zeros_like(metric).scatter_(-1, index, (top > 1e-9).to(metric.dtype)).bool() & inside
    # Of the boxes that picked a cell, keep the one with the largest overlap.
    owner = torch.where(picked, overlap, -torch.ones_like(overlap)).argmax(1)
    positive = picked.any(1)
    picked &= owner[:, None] == torch.arange(most, device=owner.device)[None, :, None]
    # The soft score: alignment, scaled so that the best cell of each box scores that box's best overlap.
    metric = metric * picked
    scale = (overlap * picked).amax(-1, keepdim=True) / (metric.amax(-1, keepdim=True) + 1e-9)
    level = (metric * scale).amax(1)
    one_hot = functional.one_hot(targets.classes.gather(1, owner), nc).to(scores.dtype)
    assigned = targets.boxes.gather(1, owner[..., None].expand(n, cells, 4))
    return Assignment(positive, assigned, one_hot * (level * positive)[..., None])


def distribution_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Cross-entropy of (P, 4, REG_MAX) logits with the two bins around each distance (P, 4), in strides -> (P,)."""
    distances = distances.clamp(0, REG_MAX - 1 - 0.01)
    left = distances.long()
    share = distances - left
    logs = logits.log_softmax(-1)
    lower = logs.gather(-1, left[..., None])[..., 0]
    upper = logs.gather(-1, left[..., None] + 1)[..., 0]
    return -(lower * (1 - share) + upper * share).mean(-1)


def detection_loss(maps: list[Tensor], targets: Targets) -> tuple[Tensor, dict[str, float]]:
    """Loss per image times the batch, and its parts, from the raw maps of the model in training mode."""
    n, rows = maps[0].shape[:2]
    nc = rows - 4 * REG_MAX
    joined = torch.cat([m.reshape(n, rows, -1) for m in maps], 2).float().transpose(1, 2)
    sides, logits = torch.split(joined, [4 * REG_MAX, nc], 2)
    sizes = [(int(m.shape[2]), int(m.shape[3])) for m in maps]
    points, strides = anchor_points(sizes, joined)
    points, strides = points[0].T, strides[0][:, None]  # (A, 2) in strides, (A, 1) in pixels
    bins = sides.reshape(n, -1, 4, REG_MAX)
    reach = bins.softmax(-1) @ torch.arange(REG_MAX, dtype=bins.dtype, device=bins.device)
    boxes = torch.cat((points - reach[..., :2], points + reach[..., 2:]), -1)
    found = assign(logits.detach().sigmoid(), boxes.detach() * strides, points * strides, targets)
    total = found.scores.sum().clamp(min=1)
    bce = functional.binary_cross_entropy_with_logits(logits, found.scores, reduction="sum") / total
    box, dfl = bins.sum() * 0, bins.sum() * 0
    if bool(found.positive.any()):
        weight = found.scores.sum(-1)[found.positive]
        wanted = found.boxes / strides
        box = ((1 - complete_iou(boxes[found.positive], wanted[found.positive])) * weight).sum() / total
        distances = torch.cat((points - wanted[..., :2], wanted[..., 2:] - points), -1)[found.positive]
        dfl = (distribution_loss(bins[found.positive], distances) * weight).sum() / total
    loss = n * (BOX_GAIN * box + CLASS_GAIN * bce + DFL_GAIN * dfl)
    return loss, {"box": float(box.detach()), "class": float(bce.detach()), "dfl": float(dfl.detach())}
