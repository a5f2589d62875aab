"""Metrics of models, in numpy: what a head's numbers mean, how good the answers are, and how sure a difference is."""

from qdsl.metrics.bootstrap import (
    Interval,
    ResampledPrecision,
    paired_interval,
    paired_intervals,
    paired_mean_interval,
)
from qdsl.metrics.boxes import Detections, Truth, iou, nms, to_picture
from qdsl.metrics.classification import (
    ClassificationMetrics,
    ClassRates,
    Guesses,
    Rates,
    classification_metrics,
    guesses,
    two_classes,
)
from qdsl.metrics.detection import (
    IOU_THRESHOLDS,
    ClassMetrics,
    DetectionMetrics,
    Matches,
    detection_metrics,
    match,
)
from qdsl.metrics.fidelity import FidelitySums, ks_distance
from qdsl.metrics.heads import yolov8, yolox
from qdsl.metrics.segmentation import ClassOverlap, SegmentationMetrics, pixel_confusion, segmentation_metrics

__all__ = [
    "IOU_THRESHOLDS",
    "ClassMetrics",
    "ClassOverlap",
    "ClassRates",
    "ClassificationMetrics",
    "DetectionMetrics",
    "Detections",
    "FidelitySums",
    "Guesses",
    "Interval",
    "Matches",
    "Rates",
    "ResampledPrecision",
    "SegmentationMetrics",
    "Truth",
    "classification_metrics",
    "detection_metrics",
    "guesses",
    "iou",
    "ks_distance",
    "match",
    "nms",
    "paired_interval",
    "paired_intervals",
    "paired_mean_interval",
    "pixel_confusion",
    "segmentation_metrics",
    "to_picture",
    "two_classes",
    "yolov8",
    "yolox",
]
