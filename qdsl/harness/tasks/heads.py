"""From the words of an `evaluate detection` and the shapes of the model's outputs to the head that reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qdsl.harness.tasks.base import Expected, OutputInfo, require_classes, require_outputs, wrong
from qdsl.lang.recipe import Evaluate
from qdsl.lang.vocabulary import DECODERS
from qdsl.metrics.decoding import KINDS, Head, resembling, suited

_OPTIONS = ("strides", "anchors", "reg_max", "offset", "sizes", "ratios", "corners", "units", "background", "scores")
# A word of the recipe that is a yes or no of the head: its name there, and the word that means yes.
_SWITCHES = {"units": ("fractions", "fractions"), "background": ("background", "first"), "scores": ("logits", "logits")}
# What outputs of such a shape can only mean one thing by: other heads leave the units or the anchors open.
_GUESSED = ("yolov8", "yolox", "yolov5", "nanodet", "fastestdet")


@dataclass(frozen=True, slots=True)
class Read:
    """A head, and the outputs that it reads, in its order."""

    head: Head
    outputs: tuple[str, ...]


def most_outputs(spec: Evaluate) -> int:
    """How many outputs the head of the statement may read; of any head where it names none."""
    name = dict(spec.settings).get("decode")
    return KINDS[str(name)].most if name in KINDS else max(kind.most for kind in KINDS.values())


def read(expected: Expected, known: Mapping[str, OutputInfo], height: int, width: int) -> Read | None:
    """How the outputs in `known` become boxes; None where their shapes leave it open until the model has run.

    Raises QdslError: evaluate-output, evaluate-shape for outputs that are not the head's, evaluate-classes, and
    setting-unused for words that the head does not take.
    """
    name = dict(expected.spec.settings).get("decode")
    names = expected.spec.output or expected.outputs
    if name is not None:
        _require_words(expected, str(name))
        names = _in_order(expected, str(name), known)
    shapes = [known.get(each, OutputInfo()).plain for each in names]
    whole = [shape for shape in shapes if shape is not None]
    if len(whole) < len(names):
        return None
    if name is None:
        name = _guessed(expected, whole, height, width)
        _require_words(expected, name)
    return Read(_fitting(expected, str(name), names, known, whole, (height, width)), names)


def _fitting(
    expected: Expected,
    name: str,
    names: Sequence[str],
    known: Mapping[str, OutputInfo],
    shapes: Sequence[tuple[int, ...]],
    size: tuple[int, int],
) -> Head:
    try:
        options = _options(expected, name, names, known)
        head, classes = suited(name, shapes, *size, classes=_classes(expected), **options)
    except ValueError as error:
        alike = [each for each in resembling(shapes, *size, _classes(expected)) if each != name]
        cures = [f"its outputs look like `decode {each}`" for each in alike[:3]]
        cures = cures or ['another head: `decode python "package:function"`; another output: `output ..`']
        headline = f"`decode {name}` does not fit the model: {' '.join(str(error).split())[:300]}"
        raise wrong("evaluate-shape", headline, expected.spec.at("decode"), *cures) from None
    if classes is not None and expected.dataset.classes:
        require_classes(expected, classes, "the model")
    return replace(head, only=expected.dataset.numbers)


def _classes(expected: Expected) -> int:
    """How many classes the model has: those of the data, or where this maps its own onto them or names none, those that
    the model's file names; 0 where neither says."""
    return expected.count or len(expected.names)


def _options(expected: Expected, name: str, names: Sequence[str], known: Mapping[str, OutputInfo]) -> dict[str, Any]:
    """What the recipe says of the head, as fields of `Head`; whether scores are probabilities, the graph says where the
    recipe does not."""
    said = dict(expected.spec.settings)
    found: dict[str, Any] = {}
    for word in _OPTIONS:
        if word in said:
            field, yes = _SWITCHES.get(word, (word, None))
            found[field] = said[word] if yes is None else said[word] == yes
    if "scores" in KINDS[name].words and "scores" not in said:
        found["logits"] = not any(known[each].squashed for each in _scoring(name, names, known) if each in known)
    return found


def _scoring(name: str, names: Sequence[str], known: Mapping[str, OutputInfo]) -> Sequence[str]:
    """The outputs that have scores: where boxes have one of their own, a Sigmoid there says nothing of them."""
    if name != "ssd" or len(names) != 2:
        return names
    return [each for each in names if _last(known.get(each)) != 4] or names[1:]


def _require_words(expected: Expected, name: str) -> None:
    """Raises QdslError setting-unused for a word that another head takes."""
    takes = KINDS[name].words
    for word in _OPTIONS:
        if word in dict(expected.spec.settings) and word not in takes:
            has = f"it takes {', '.join(f'`{each}`' for each in takes)}" if takes else "it takes no settings of a head"
            headline = f"`{word}` is nothing that `decode {name}` reads"
            raise wrong("setting-unused", headline, expected.spec.at(word), has)


def _guessed(expected: Expected, shapes: Sequence[tuple[int, ...]], height: int, width: int) -> str:
    """The only head whose shapes the outputs have. Raises QdslError evaluate-shape where there is none, or several."""
    alike = resembling(shapes, height, width, _classes(expected))
    if alike == ("yolov5", "yolov7") and len(shapes) == 1:
        return "yolov5"  # the graph has decoded it, with whatever anchors
    if len(alike) == 1 and alike[0] in _GUESSED:
        return alike[0]
    if not alike:
        require_outputs(expected)
    told = ", ".join(str(list(shape)) for shape in shapes[:4])
    outputs = "the output of shape" if len(shapes) == 1 else "the outputs of shape"
    headline = f"nothing says how {outputs} {told} becomes boxes"
    options = ", ".join(f"`decode {name}`" for name in alike or DECODERS)
    cure = f"they look like {options}: write one" if alike else f'write one of {options}, or `decode python "p:f"`'
    raise wrong("evaluate-shape", headline, expected.spec.span, cure)


def _in_order(expected: Expected, name: str, known: Mapping[str, OutputInfo]) -> tuple[str, ...]:
    """The outputs in the order that the head reads: as the recipe names them, else by their types, shapes and names.
    Raises QdslError evaluate-output where nothing tells boxes from scores."""
    names = expected.spec.output or expected.outputs
    if expected.spec.output or name not in _PARTS:
        return names
    places = {each: _place(each, known.get(each, OutputInfo())) for each in names}
    order = tuple(sorted(names, key=lambda each: places[each]))
    if [places[each] for each in order] == list(range(len(names))):
        return order
    if name == "ssd" and len(names) == 2 and {_last(known.get(each)) for each in names} == {4}:
        headline = "nothing tells which output has boxes and which scores"
        raise wrong("evaluate-output", headline, expected.spec.at("decode"), 'write `output "boxes", "scores"`')
    return names


# Heads with an output for each part of the answer, in this order, and what such an output is called.
_PARTS = ("boxes", "ssd")
_CALLED = (("box", "loc", "reg"), ("score", "conf"), ("class", "label"), ("num", "count"))


def _place(name: str, info: OutputInfo) -> int:
    """0 for boxes, 1 for scores, 2 for classes, 3 for their count."""
    word, rank = name.lower(), len(info.shape or ())
    if rank > 1 and _last(info) == 4 and not any(each in word for each in _CALLED[1]):
        return 0
    called = (place for place, words in enumerate(_CALLED) if any(each in word for each in words))
    return next(called, 2 if "int" in info.dtype else 1)


def _last(info: OutputInfo | None) -> int | str | None:
    return info.shape[-1] if info is not None and info.shape else None
