"""The loss of the task on one sample, in torch: cross-entropy for classifiers, else squared error of the outputs
against the float model's, each as a share of its signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qdsl.causes.errors import Part
from qdsl.causes.outputs import parts_of
from qdsl.data import Dataset
from qdsl.graph.view import GraphView

if TYPE_CHECKING:
    from torch import Tensor

LABELS, OUTPUTS = "labels", "float outputs"
_CLASSES = 2  # dimensions of scores: samples, classes


@dataclass(frozen=True, slots=True)
class Task:
    """What is compared. `logits` is the tensor of scores before any Softmax, None where the model is no classifier: one
    output [1, classes]. `labels` are the classes of the samples by their number; none where the float model's outputs
    stand for them."""

    parts: tuple[Part, ...]
    logits: str | None
    labels: tuple[int, ...] = ()

    @property
    def judged_by(self) -> str:
        return LABELS if self.labels else OUTPUTS

    @property
    def wanted(self) -> list[str]:
        """The tensors that the loss is computed of."""
        return [self.logits] if self.logits is not None else list(dict.fromkeys(part.output for part in self.parts))

    def loss(self, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], index: int) -> Tensor:
        """Of the outputs `found` for sample `index`, of which the float model's are `expected`."""
        import torch

        if self.logits is not None:
            scores = found[self.logits].flatten().float()
            best = self.labels[index] if self.labels else int(expected[self.logits].flatten().argmax())
            return torch.nn.functional.cross_entropy(scores[None], torch.tensor([best], device=scores.device))
        losses = []
        for part in self.parts:
            exact = _piece(part, expected[part.output])
            signal = exact.square().mean()
            if float(signal) > 0.0:
                losses.append((_piece(part, found[part.output]) - exact).square().mean() / signal)
        if not losses:
            return sum((found[part.output].square().mean() for part in self.parts), torch.zeros(()))
        return torch.stack(losses).mean()


def task_of(view: GraphView, dataset: Dataset, classifier: bool | None = None) -> Task:
    """What is compared of a graph on a dataset. `classifier` says whether the model is one; None: it is where its one
    output [1, classes] comes of a Softmax, or every sample has the label of one class."""
    parts = tuple(parts_of(view))
    logits = _logits(view, parts) if classifier is not False else None
    labels = _labels(dataset) if logits is not None else ()
    sure = classifier or labels or (logits is not None and logits != parts[0].output)
    return Task(parts, logits if sure else None, labels)


def _logits(view: GraphView, parts: Sequence[Part]) -> str | None:
    """The scores of a classifier, before any Softmax; None where there is no one output [1, classes]."""
    if len(parts) != 1 or parts[0].axis is not None:
        return None
    shape = view.tensors[parts[0].output].shape or ()
    classes = shape[-1] if len(shape) == _CLASSES else None
    if not isinstance(classes, int) or classes < _CLASSES:
        return None
    writer = view.producer(parts[0].output)
    return writer.inputs[0] if writer is not None and writer.op == "Softmax" and not writer.domain else parts[0].output


def _labels(dataset: Dataset) -> tuple[int, ...]:
    """The model's class of each sample, where every sample has one label that speaks of it whole."""
    found = []
    for index in range(len(dataset)):
        labels = dataset.labels(index)
        if len(labels) != 1 or labels[0].box is not None:
            return ()
        found.append(dataset.numbers[labels[0].index] if dataset.numbers else labels[0].index)
    return tuple(found)


def _piece(part: Part, tensor: Any) -> Any:
    if part.axis is None or part.axis >= tensor.ndim:
        return tensor
    return tensor.narrow(part.axis, part.start, part.end - part.start)
