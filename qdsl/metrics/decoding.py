"""Which head a model ends in: what its outputs must look like, which is which, and the boxes that they say.

Everything here speaks of one picture: shapes have a leading 1. Shapes alone decide whether a head fits, so that a
recipe can be refused before a model has run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdsl.metrics import heads
from qdsl.metrics.boxes import Detections, Floats, Ints, nms
from qdsl.metrics.grids import Shape, Sizes, cell_count, corners, level_of, rows_of, sigmoid, sizes_of, softmax

Shapes = Sequence[Shape]
Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Head:
    """A head by its name in a recipe, and what it was built with; plain data, so that a bundle carries it.

    `anchors` are widths and heights in pixels, grid by grid; `sizes` and `ratios` are those of SSD's priors, none where
    its boxes are decoded in the graph; `corners`, `fractions` and `background` say how boxes and classes that the graph
    decodes are written; `logits` that scores still need a sigmoid or softmax; `only`
    the classes that count, whose places there become their numbers, all where it is empty. `classes` is how many the
    model is known to have, 0 where nothing but its shapes says so.
    """

    name: str
    strides: tuple[int, ...] = ()
    anchors: tuple[float, ...] = ()
    reg_max: int = 7
    offset: float = 0.0
    sizes: tuple[float, ...] = ()
    ratios: tuple[int, ...] = ()
    corners: str = "xyxy"
    fractions: bool = False
    background: bool = False
    logits: bool = False
    only: tuple[int, ...] = ()
    classes: int = 0

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def of(stored: Mapping[str, Any]) -> Head:
        """What `stored` gave, also after JSON, which has lists alone."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
        return Head(**plain)


class _Kind(NamedTuple):
    """What a head's outputs are in words, what a recipe may say of it, its defaults, the number of classes by shapes
    (None: they do not say; ValueError: they do not fit), and how it is read: into boxes with a score for each class, or
    into detections that need no suppression."""

    outputs: str
    words: tuple[str, ...]
    default: Head
    classes: Callable[[Head, Shapes, int, int], int | None]
    boxes: Callable[[Head, Arrays, int, int], heads.Decoded] | None = None
    most: int = 1


def suited(name: str, shapes: Shapes, height: int, width: int, **said: Any) -> tuple[Head, int | None]:
    """The head called `name` with what a recipe says of it, and how many classes its outputs have. Raises ValueError
    where they do not have its shapes."""
    kind = KINDS[name]
    head = _settled(replace(kind.default, **said), said, shapes, height, width)
    try:
        return head, kind.classes(head, shapes, height, width)
    except ValueError as error:
        raise ValueError(f"{error}; `{name}` reads {kind.outputs}") from None


def resembling(shapes: Shapes, height: int, width: int, classes: int) -> tuple[str, ...]:
    """The heads, with what they have by default, whose shapes the outputs have; those of `classes` classes where that
    is known (not 0) and any has. With as many classes as are known, a head may have fewer boxes than these."""
    found = {}
    for name in KINDS:
        try:
            _, count = suited(name, shapes, height, width, classes=classes)
        except ValueError:
            continue
        found[name] = count
    alike = [name for name, count in found.items() if not classes or count is None or count == classes]
    return tuple(alike or found)


def detections(
    head: Head, arrays: Arrays, height: int, width: int, *, confidence: float, overlap: float, most: int
) -> Detections:
    """What the outputs of one picture say, in input pixels. Raises ValueError for shapes and values that do not fit."""
    kind = KINDS[head.name]
    kind.classes(head, [array.shape for array in arrays], height, width)
    if kind.boxes is None:
        return of_classes(_suppressed(head, arrays, height, width, confidence), head.only)
    boxes, scores = kind.boxes(head, arrays, height, width)
    scores = scores[:, list(head.only)] if head.only else scores
    return nms(boxes, scores, confidence=confidence, overlap=overlap, most=most)


def of_classes(found: Detections, only: Sequence[int]) -> Detections:
    """Those of the classes in `only`, by their places in it; all where it is empty."""
    if not only:
        return found
    places = np.full(max([*only, *found.classes.tolist()]) + 1, -1)
    places[list(only)] = np.arange(len(only))
    classes = places[found.classes]
    return Detections(found.boxes[classes >= 0], found.scores[classes >= 0], classes[classes >= 0])


def _settled(head: Head, said: Mapping[str, Any], shapes: Shapes, height: int, width: int) -> Head:
    """The defaults that hang on others, or on the shapes."""
    if head.name == "nanodet":
        strides = head.strides or _nanodet_strides(shapes, height, width)
        return replace(head, strides=strides, offset=said.get("offset", 0.0 if len(strides) == 4 else 0.5))
    if head.name == "ssd" and head.sizes:
        strides = head.strides or (8, 16, 32, 64, 100, 300)
        return replace(head, strides=strides, ratios=head.ratios or (1, 2, 2, 2, 1, 1))
    return head


def _nanodet_strides(shapes: Shapes, height: int, width: int) -> tuple[int, ...]:
    """NanoDet-Plus has a fourth grid, NanoDet before it three."""
    counts = {len(shapes)} if len(shapes) > 1 else {shape[1] for shape in shapes if len(shape) == 3}
    plus = (8, 16, 32, 64)
    return plus if counts & {8, cell_count(sizes_of(height, width, plus))} else plus[:3]


def _only(shapes: Shapes, rank: int, wanted: str) -> Shape:
    if len(shapes) != 1 or len(shapes[0]) != rank or shapes[0][0] != 1:
        raise ValueError(f"{_shown(shapes)}, expected {wanted}")
    return shapes[0]


def _shown(shapes: Shapes) -> str:
    """`it has shape [1, 6, 20]`, or the shapes of several outputs."""
    listed = ", ".join(str(list(shape)) for shape in shapes[:8])
    return f"it has shape {listed}" if len(shapes) == 1 else f"there are {len(shapes)} outputs of shape {listed}"


def _yolov8_classes(head: Head, shapes: Shapes, height: int, width: int) -> int:
    _, rows, boxes = _only(shapes, 3, "[1, 4 + classes, boxes]")
    if rows < 5 or (rows > boxes and rows - 4 != head.classes):
        more = f", and nothing says that it has {rows - 4} classes" if rows > 4 and not head.classes else ""
        raise ValueError(f"{_shown(shapes)}, expected [1, 4 + classes, boxes]{more}")
    return rows - 4


def _yolox_classes(head: Head, shapes: Shapes, height: int, width: int) -> int:
    count = cell_count(sizes_of(height, width, head.strides))
    wanted = f"[1, {count}, 5 + classes] for {width}x{height} pixels and strides {_listed(head.strides)}"
    _, boxes, columns = _only(shapes, 3, wanted)
    if boxes != count or columns < 6:
        raise ValueError(f"{_shown(shapes)}, expected {wanted}")
    return columns - 5


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _anchors(head: Head) -> Floats:
    """[grids, anchors, 2]."""
    grids, numbers = len(head.strides), len(head.anchors)
    if not grids or not numbers or numbers % (2 * grids):
        raise ValueError(f"{numbers} numbers of `anchors` are no widths and heights for {grids} strides")
    return np.reshape(np.asarray(head.anchors, np.float64), (grids, -1, 2))


def _yolov5_classes(head: Head, shapes: Shapes, height: int, width: int) -> int:
    each, sizes = _anchors(head).shape[1], sizes_of(height, width, head.strides)
    count, whole = each * cell_count(sizes), list(range(len(sizes)))
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] == count:
        placed = [(level, shapes[0][2]) for level in whole]
    else:
        placed = _placed(shapes, sizes, each)
    columns = {numbers for _, numbers in placed}
    if sorted(level for level, _ in placed) != whole or len(columns) != 1 or min(columns) < 6:
        wanted = f"[1, {count}, 5 + classes], or a map for each of {len(sizes)} strides"
        raise ValueError(f"{_shown(shapes)}, expected {wanted}")
    return columns.pop() - 5


def _placed(shapes: Shapes, sizes: Sizes, anchors: int = 1) -> list[tuple[int, int]]:
    """The grid, and the numbers per anchor, of each output; nothing where one has none."""
    try:
        return [level_of(shape, sizes, anchors) for shape in shapes]
    except ValueError:
        return []


def _yolov5_boxes(head: Head, arrays: Arrays, height: int, width: int) -> heads.Decoded:
    if len(arrays) == 1 and len(head.strides) > 1:
        return heads.yolov5(arrays[0])
    return heads.yolov5_maps(arrays, height, width, head.strides, _anchors(head), head.logits)


def _fastestdet_classes(head: Head, shapes: Shapes, height: int, width: int) -> int:
    sizes = sizes_of(height, width, head.strides)
    wanted = f"[1, 5 + classes, {sizes[0][0]}, {sizes[0][1]}]"
    shape = _only(shapes, 4, wanted)
    if len(sizes) != 1 or shape[1] < 6 or shape[2:] != sizes[0]:
        raise ValueError(f"{_shown(shapes)}, expected {wanted}")
    return shape[1] - 5


class _Parts(NamedTuple):
    """Where a NanoDet's outputs lie: by grid, which output has its scores and which its distances."""

    scores: tuple[int, ...]
    distances: tuple[int, ...]
    classes: int


def _nanodet_parts(head: Head, shapes: Shapes, height: int, width: int) -> _Parts:
    """Raises ValueError where a grid lacks either, or several outputs could be either."""
    sizes, wide = sizes_of(height, width, head.strides), 4 * (head.reg_max + 1)
    placed = _placed(shapes, sizes)
    scores: dict[int, int] = {}
    distances: dict[int, int] = {}
    for at, (level, numbers) in enumerate(placed):
        is_distance = numbers == wide and (level in scores or len({n for own, n in placed if own == level}) > 1)
        (distances if is_distance else scores)[level] = at
    counts = {placed[at][1] for at in scores.values()}
    whole = list(range(len(sizes)))
    if sorted(scores) != whole or sorted(distances) != whole or len(counts) != 1 or len(shapes) != 2 * len(sizes):
        raise ValueError(
            f"{_shown(shapes)}, expected [cells, classes] and [cells, {wide}] for each of {len(sizes)} strides"
        )
    return _Parts(tuple(scores[at] for at in whole), tuple(distances[at] for at in whole), counts.pop())


def _nanodet_classes(head: Head, shapes: Shapes, height: int, width: int) -> int:
    if len(shapes) > 1:
        return _nanodet_parts(head, shapes, height, width).classes
    count, wide = cell_count(sizes_of(height, width, head.strides)), 4 * (head.reg_max + 1)
    wanted = f"[1, {count}, classes + {wide}] for strides {_listed(head.strides)} and reg_max {head.reg_max}"
    _, boxes, columns = _only(shapes, 3, wanted)
    if boxes != count or columns <= wide:
        raise ValueError(f"{_shown(shapes)}, expected {wanted}")
    return columns - wide


def _nanodet_boxes(head: Head, arrays: Arrays, height: int, width: int) -> heads.Decoded:
    if len(arrays) == 1:
        wide = 4 * (head.reg_max + 1)
        rows = np.asarray(arrays[0][0], np.float64)
        scores, distances = [rows[:, :-wide]], [rows[:, -wide:]]
    else:
        parts = _nanodet_parts(head, [array.shape for array in arrays], height, width)
        sizes = sizes_of(height, width, head.strides)
        scores, distances = (
            [rows_of(arrays[at], size)[0] for at, size in zip(which, sizes, strict=True)]
            for which in (parts.scores, parts.distances)
        )
    scores = [sigmoid(part) if head.logits else part for part in scores]
    return heads.nanodet(scores, distances, height, width, head.strides, head.reg_max, head.offset)


def _ssd_parts(shapes: Shapes) -> tuple[int, int]:
    """(boxes, scores): which of two outputs is which; the first is that of boxes where both could be."""
    rows = [shape for shape in shapes if len(shape) == 3 and shape[0] == 1]
    if len(rows) != 2 or len(shapes) != 2 or rows[0][1] != rows[1][1] or 4 not in (rows[0][2], rows[1][2]):
        raise ValueError(f"{_shown(shapes)}, expected boxes [1, n, 4] and scores [1, n, classes]")
    return (0, 1) if rows[0][2] == 4 else (1, 0)


def _ssd_classes(head: Head, shapes: Shapes, height: int, width: int) -> int:
    boxes, scores = _ssd_parts(shapes)
    if head.sizes:
        count = len(_priors(head, height, width))
        if shapes[boxes][1] != count:
            raise ValueError(f"{_shown(shapes)}, and `sizes`, `ratios` and `strides` make {count} priors")
    classes = shapes[scores][2] - head.background
    if classes < 1:
        raise ValueError(f"{_shown(shapes)}: without the background no class is left")
    return classes


def _priors(head: Head, height: int, width: int) -> Floats:
    if len(head.ratios) != len(head.strides) or len(head.sizes) != len(head.strides) + 1:
        raise ValueError(
            f"{len(head.strides)} `strides` take as many `ratios` and one more of `sizes`: there are "
            f"{len(head.ratios)} and {len(head.sizes)}"
        )
    return heads.ssd_priors(height, width, head.strides, head.sizes, head.ratios)


def _ssd_boxes(head: Head, arrays: Arrays, height: int, width: int) -> heads.Decoded:
    places = _ssd_parts([array.shape for array in arrays])
    given, scores = (np.asarray(arrays[at][0], np.float64) for at in places)
    boxes = heads.ssd_boxes(given, _priors(head, height, width)) if head.sizes else _pixels(head, given, height, width)
    scores = softmax(scores) if head.logits and head.background else sigmoid(scores) if head.logits else scores
    return boxes, scores[:, int(head.background) :]


def _pixels(head: Head, boxes: Floats, height: int, width: int) -> Floats:
    """Boxes as the head writes them in corners and input pixels; one that ends before it begins is empty."""
    ordered = boxes[:, [1, 0, 3, 2]] if head.corners == "yxyx" else boxes
    scaled = ordered * np.array([width, height] * 2) if head.fractions else ordered
    if head.corners == "cxcywh":
        return corners(scaled)
    return np.hstack((scaled[:, :2], np.maximum(scaled[:, :2], scaled[:, 2:])))


def _boxes_classes(head: Head, shapes: Shapes, height: int, width: int) -> None:
    """Boxes that the graph has suppressed say no number of classes."""
    first = shapes[0] if shapes else ()
    if len(shapes) == 1 and (first[:1] == (1,) if len(first) == 3 else len(first) == 2) and first[-1] == 6:
        return
    if len(shapes) == 1 and len(first) == 2 and first[1] == 7:
        return
    inner = [shape[1:] if len(shape) > 1 and shape[0] == 1 else shape for shape in shapes]
    if len(shapes) not in (3, 4) or [shape[1:] for shape in inner[:3]] != [(4,), (), ()]:
        raise ValueError(f"{_shown(shapes)}, expected [1, n, 6], or boxes [1, n, 4], scores [1, n] and classes [1, n]")
    if len({shape[0] for shape in inner[:3]}) != 1:
        raise ValueError(f"{_shown(shapes)}: not as many boxes, scores and classes")


def _suppressed(head: Head, arrays: Arrays, height: int, width: int, confidence: float) -> Detections:
    boxes, scores, labels = _columns(arrays)
    labels = labels - int(head.background)
    kept = np.flatnonzero((scores >= confidence) & (labels >= 0))
    return Detections(_pixels(head, boxes[kept], height, width), scores[kept], labels[kept])


def _columns(arrays: Arrays) -> tuple[Floats, Floats, Ints]:
    """Boxes [n, 4], scores [n] and classes [n] of outputs that `_boxes_classes` has seen; rows behind the count that a
    fourth output gives are padding."""
    if len(arrays) == 1:
        rows = np.asarray(arrays[0], np.float64).reshape(-1, arrays[0].shape[-1])
        if rows.shape[1] == 7:  # the picture's number first, then box, class, score
            return rows[:, 1:5], rows[:, 6], rows[:, 5].astype(np.int64)
        return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)
    boxes, scores, labels = (np.asarray(array, np.float64) for array in arrays[:3])
    count = len(scores.reshape(-1)) if len(arrays) == 3 else int(np.asarray(arrays[3]).reshape(-1)[0])
    return boxes.reshape(-1, 4)[:count], scores.reshape(-1)[:count], labels.reshape(-1).astype(np.int64)[:count]


_YOLO = (8, 16, 32)
_V5 = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
_V7 = (12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401)
_MAPS = "[1, boxes, 5 + classes], or a map of each stride with 5 + classes numbers for each anchor"

KINDS: Mapping[str, _Kind] = {
    "yolov8": _Kind(
        "one output [1, 4 + classes, boxes]",
        (),
        Head("yolov8"),
        _yolov8_classes,
        lambda h, a, *_: heads.yolov8(a[0], h.classes),
    ),
    "yolox": _Kind(
        "one output [1, cells, 5 + classes]",
        ("strides",),
        Head("yolox", strides=_YOLO),
        _yolox_classes,
        lambda h, a, high, wide: heads.yolox(a[0], high, wide, h.strides),
    ),
    "yolov5": _Kind(
        _MAPS,
        ("strides", "anchors", "scores"),
        Head("yolov5", _YOLO, _V5, logits=True),
        _yolov5_classes,
        _yolov5_boxes,
        most=8,
    ),
    "yolov7": _Kind(
        _MAPS,
        ("strides", "anchors", "scores"),
        Head("yolov7", _YOLO, _V7, logits=True),
        _yolov5_classes,
        _yolov5_boxes,
        most=8,
    ),
    "nanodet": _Kind(
        "one output [1, cells, classes + 4 * (reg_max + 1)], or two for each stride",
        ("strides", "reg_max", "offset", "scores"),
        Head("nanodet"),
        _nanodet_classes,
        _nanodet_boxes,
        most=16,
    ),
    "fastestdet": _Kind(
        "one output [1, 5 + classes, h, w]",
        ("strides",),
        Head("fastestdet", strides=(16,)),
        _fastestdet_classes,
        lambda h, a, high, wide: heads.fastestdet(a[0], high, wide),
    ),
    "ssd": _Kind(
        "boxes [1, n, 4] and scores [1, n, classes]",
        ("strides", "sizes", "ratios", "corners", "units", "background", "scores"),
        Head("ssd", fractions=True, background=True),
        _ssd_classes,
        _ssd_boxes,
        most=2,
    ),
    "boxes": _Kind(
        "rows [1, n, 6] or [n, 7], or boxes [1, n, 4], scores [1, n], classes [1, n] and a count",
        ("corners", "units", "background"),
        Head("boxes"),
        _boxes_classes,
        most=4,
    ),
}
