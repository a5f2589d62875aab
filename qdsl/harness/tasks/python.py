"""`decode python "package:function"`: the recipe's own function makes boxes of the outputs.

It is called with the outputs by name (numpy arrays), and height and width of the input. It returns boxes [n, 4] as x0,
y0, x1, y1 in input pixels and scores [n, classes], which are suppressed as for any head; or boxes, scores [n] and
classes [n], which are taken as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.diag import QdslError
from qdsl.harness.tasks.base import Outputs, wrong
from qdsl.lang.recipe import Evaluate
from qdsl.metrics.boxes import Floats
from qdsl.spec.words import count

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Returned:
    """Boxes [n, 4], scores [n, classes], or [n] with `labels` [n]."""

    boxes: Floats
    scores: Floats
    labels: NDArray[np.int64]


def loaded(spec: Evaluate, folder: Path, *, allowed: bool) -> Callable[..., Any] | None:
    """The function of `decode python`, from a module in the recipe's `folder` or an installed one; None where there is
    none. Raises QdslError: python-refused unless `allowed`, python-failed."""
    named = dict(spec.settings).get("python")
    if named is None:
        return None
    place = spec.at("decode")
    if not allowed:
        headline = f"`decode python` runs code that the recipe names: {str(named)[:80]}"
        raise wrong("python-refused", headline, place, "where you trust it, add `--allow-python`")
    module, _, function = str(named).partition(":")
    if not module or not function.isidentifier():
        raise wrong("python-failed", f"`{str(named)[:80]}` names no function", place, 'write "package.module:function"')
    sys.path.insert(0, str(folder))
    try:
        found = getattr(import_module(module), function)
    except (Exception, SystemExit) as error:  # importing runs any code
        raise _failed(f"`{str(named)[:80]}` cannot be imported", error, spec) from None
    finally:
        sys.path.remove(str(folder))
    if not callable(found):
        raise wrong("python-failed", f"`{str(named)[:80]}` is no function", place, "name one that takes outputs")
    made: Callable[..., Any] = found
    return made


def called(function: Callable[..., Any], outputs: Outputs, high: int, wide: int, spec: Evaluate) -> Returned:
    """What the function says of one sample. Raises QdslError python-failed, and ValueError for shapes."""
    try:
        parts = tuple(function(dict(outputs), high, wide))
    except (Exception, SystemExit) as error:  # it is any code
        raise _failed("the function of `decode python` failed", error, spec) from None
    if len(parts) not in (2, 3):
        raise ValueError(
            f"`decode python` returned {count(len(parts), 'value')}, expected boxes and scores (and classes)"
        )
    try:
        boxes, scores = (np.asarray(part, np.float64) for part in parts[:2])
        labels = np.asarray(parts[2] if len(parts) == 3 else np.zeros(0), np.int64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`decode python` returned what are no arrays of numbers: {error}") from None
    if scores.ndim != 4 - len(parts):
        raise ValueError(f"`decode python` returned scores of shape {list(scores.shape)}")
    return Returned(boxes.reshape(-1, 4) if boxes.size == 0 else boxes, scores, labels)


def misread(error: ValueError, spec: Evaluate) -> QdslError:
    """What to raise where that cannot be read as boxes."""
    headline = f"what `decode python` returns cannot be read: {' '.join(str(error).split())[:_SHOWN]}"
    cures = ("it returns boxes [n, 4] and scores [n, classes], or boxes, scores [n] and classes [n]",)
    return wrong("evaluate-shape", headline, spec.at("decode"), *cures)


def _failed(headline: str, error: BaseException, spec: Evaluate) -> QdslError:
    told = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_SHOWN]
    return wrong("python-failed", f"{headline}: {told}", spec.at("decode"), "run it by itself to see where")
