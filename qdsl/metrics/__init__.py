"""Metrics of models, in numpy: what a head's numbers mean, and how good the answers are."""

from qdsl.metrics.boxes import Detections, Truth, iou, nms, to_picture
from qdsl.metrics.detection import (
    IOU_THRESHOLDS,
    ClassMetrics,
    DetectionMetrics,
    Matches,
    detection_metrics,
    match,
)
from qdsl.metrics.heads import yolov8, yolox

__all__ = [
    "IOU_THRESHOLDS",
    "ClassMetrics",
    "DetectionMetrics",
    "Detections",
    "Matches",
    "Truth",
    "detection_metrics",
    "iou",
    "match",
    "nms",
    "to_picture",
    "yolov8",
    "yolox",
]
