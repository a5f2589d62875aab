"""The detector's training loss: fixed assignment by size and place, focal loss of quality, generalised IoU.

A box belongs to one stride by its size and to the cells around its middle (center sampling, Tian et al. 2019). The
wanted score of such a cell is the IoU of what it predicts (Li et al. 2020, "Generalized Focal Loss"); boxes learn by
GIoU (Rezatofighi et al. 2019). N is the batch, A the cells of all strides, M the most boxes of a picture, others being
padded with `valid` False.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from examples.common.training import Targets
from examples.steel.model import STRIDES, cells, corners, flatten

LIMITS = (48.0, 112.0)  # pixels of size, from which on a box belongs to the next stride
FLATTEST = 3.0  # a box counts as no larger than this many times its shorter side: a cell's middle must lie in it
RADIUS = 1.5  # strides around the middle of a box that learn it
BOX_GAIN, CLASS_GAIN = 2.0, 1.0
EPS = 1e-7


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and GIoU of corner boxes (..., 4), broadcast."""
    area_a, area_b = ((c[..., 2:] - c[..., :2]).clamp(min=0).prod(-1) for c in (a, b))
    common = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    inter = common.clamp(min=0).prod(-1)
    union = area_a + area_b - inter
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    iou = inter / (union + EPS)
    return iou, iou - (hull - union) / (hull + EPS)


@torch.no_grad()
def assign(points: Tensor, strides: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Which cells learn a box (N, A), and the index of that box (N, A). `points` (A, 2) and `strides` (A,) in pixels.

    A box's cells are those of its stride whose middle lies in it, within `RADIUS` strides of its own, and the nearest
    one in any case. A cell of several boxes goes to the smallest.
    """
    low, high = targets.boxes[..., :2], targets.boxes[..., 2:]
    sides = (high - low).clamp(min=EPS)
    size = torch.minimum(sides.prod(-1).sqrt(), FLATTEST * sides.amin(-1))
    level = torch.bucketize(size, torch.tensor(LIMITS, device=size.device), right=True)
    own = torch.tensor(STRIDES, device=size.device, dtype=strides.dtype)[level][..., None] == strides
    away = (points - ((low + high) / 2)[:, :, None]).abs().amax(-1)  # (N, M, A)
    inside = ((points > low[:, :, None]) & (points < high[:, :, None])).all(-1)
    nearest = away.masked_fill(~own, torch.inf).argmin(-1, keepdim=True)
    chosen = (own & inside & (away < RADIUS * strides)).scatter(-1, nearest, True) & targets.valid[..., None]
    owner = size[..., None].expand(away.shape).masked_fill(~chosen, torch.inf).argmin(1)
    return chosen.any(1), owner


def detection_loss(maps: list[Tensor], targets: Targets) -> tuple[Tensor, dict[str, float]]:
    """The loss per box, and its parts, from the raw maps of the model in training mode."""
    rows = flatten(maps).float()
    points, strides = cells([(int(m.shape[2]), int(m.shape[3])) for m in maps], rows)
    boxes = torch.cat(corners(rows[:, :4], points, strides), 1).transpose(1, 2)
    logits = rows[:, 4:].transpose(1, 2)
    positive, owner = assign(points.T, strides, targets)
    count = positive.sum().clamp(min=1)
    wanted = targets.boxes.gather(1, owner[..., None].expand(-1, -1, 4))[positive]
    iou, giou = overlaps(boxes[positive], wanted)
    box = (1 - giou).sum() / count
    quality = torch.zeros_like(logits)
    one_hot = functional.one_hot(targets.classes.gather(1, owner)[positive], logits.shape[2])
    quality[positive] = one_hot * iou.detach()[:, None]
    focus = (quality - logits.detach().sigmoid()).square()
    entropy = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    kind = (focus * entropy).sum() / count
    return BOX_GAIN * box + CLASS_GAIN * kind, {"box": float(box.detach()), "class": float(kind.detach())}
