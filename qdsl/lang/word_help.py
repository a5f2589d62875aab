"""What `qdsl explain WORD` knows of a word: where it stands, what it takes, what it says, and a line that parses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from qdsl.lang import examples
from qdsl.lang.selectors import CONDITIONS
from qdsl.lang.vocabulary import (
    FINDINGS,
    FORMATS,
    FORMS,
    METHODS,
    METRICS,
    MODES,
    SCHEME_WORDS,
    SELECTOR_WORDS,
    SOURCES,
    TABLE,
    TARGETS,
    TASKS,
    TYPES,
)
from qdsl.spec import UNITS


class Keyword(NamedTuple):
    """One meaning of a word."""

    word: str
    stands: str
    takes: str
    says: str
    example: str


class _Kind(NamedTuple):
    """Words that stand at one place: what they are, a statement around them, and what each says."""

    stands: str
    around: str
    words: tuple[str, ...]
    says: dict[str, str] = {}  # noqa: RUF012 - read only
    after: dict[str, str] = {}  # noqa: RUF012 - what must follow a word


_KINDS: tuple[_Kind, ...] = (
    _Kind("a format of `model`", 'model {} "model"', FORMATS),
    _Kind(
        "a source of `data`",
        'data val from {} "val"',
        SOURCES,
        {
            "images": "pictures without labels: a glob, a list, or a folder",
            "folder": "one folder per class",
            "yolo": "a data.yaml of Ultralytics, with images and labels beside it",
            "coco": "annotations in COCO's JSON form",
            "masks": "a picture and a mask of class numbers for each",
            "csv": "a table of pictures and their labels",
            "npz": "arrays as they enter the model",
            "video": "frames of a video file",
        },
    ),
    _Kind(
        "a mode of `quantize`",
        "quantize {}",
        MODES,
        {
            "static": "ranges are measured on data before",
            "dynamic": "activations are quantized while the model runs: no data",
            "none": "a file that is quantized already, or float: measured as it is",
            "float": "float16 builds, and integer weights beside float activations: no data",
        },
    ),
    _Kind(
        "a method of `calibrate`",
        "quantize static {{ calibrate {} on calib }}",
        METHODS,
        {
            "minmax": "the lowest and highest value seen",
            "mean_minmax": "the mean over samples of the lowest and of the highest value",
            "entropy": "the range whose codes keep the distribution best (Kullback-Leibler)",
            "percentile": "cut so that this share of the values lies inside; `symmetric`: of absolute values",
            "mse": "the range with the least squared error",
            "auto": "for each tensor the one of these with which its readers compute best",
        },
        {"percentile": " 99.99"},
    ),
    _Kind("a target", "target {}", TARGETS, {"ort": "ONNX Runtime on a CPU"}),
    _Kind(
        "a task of `evaluate`",
        "evaluate {} on val",
        TASKS,
        {
            "classification": "one class per picture",
            "detection": "boxes",
            "segmentation": "a class per pixel",
            "fidelity": "against the float model: no labels needed",
        },
    ),
    _Kind(
        "a word of `weights` and `activations`",
        "layers op Conv {{ weights int8 {} }}",
        SCHEME_WORDS,
        {
            "symmetric": "zero is the middle of the range",
            "affine": "a zero point of its own",
            "per_tensor": "one scale for all",
            "per_channel": "a scale per output channel",
            "per_block": "a scale per so many values of a row",
            "reduce_range": "one bit less, so that 16 bit sums of products hold",
            "storage_only": "stored in this type, computed in float",
        },
        {"per_block": " 32"},
    ),
    _Kind("a number type", "layers op Conv {{ weights {} }}", TYPES),
    _Kind("a finding that `allow` silences", 'allow {} on op Concat because "wanted"', FINDINGS),
)

# Selectors, each with a statement that holds it.
_SELECTORS: dict[str, tuple[str, str, str]] = {
    "op": ("OPERATOR|[OPERATOR, ..]", "nodes by operator", "keep op [Conv, Gemm] in float32"),
    "matching": ("S", "nodes whose name matches a regular expression", 'keep matching "^/layer[34]/" in float32'),
    "under": ("S|SS", "nodes inside a module", 'keep under "/model.22" in float32'),
    "tensor": ("S|SS", "tensors by name, graph inputs included", 'layers tensor "x" { range [0, 6] }'),
    "between": ("A and B", "nodes on a path from A to B", 'keep between "/a" and "/b" in float32'),
    "and": ("A and B", "what both pick", "keep op Conv and depthwise in float32"),
    "or": ("A or B", "what either picks", "keep silu or gelu in float32"),
    "not": ("A", "all that A does not pick", "layers op Conv and not depthwise { weights int8 per_channel }"),
    "first": ("N of A", "the first ones, in the order of the graph", "keep first 1 of op Conv in float32"),
    "last": ("N of A", "the last ones, in the order of the graph", "keep last 1 of op Gemm in float32"),
    "of": ("A", "what `first` and `last` take from", "keep first 1 of op Conv in float32"),
    "expect": (
        "N",
        "how many nodes the selector picks; anything else is an error",
        "select head = decode_head expect 24",
    ),
    "in": ("float32|float16", "the type that `keep` computes in", "keep op Softmax in float32"),
    "on": ("D", "the data of a setting or statement", "quantize static { calibrate minmax on calib }"),
    "all": ("", "every node", "layers all { weights int8 }"),
    "depthwise": ("", "Conv with one group per channel", "layers depthwise { weights int8 per_channel }"),
    "pointwise": ("", "Conv of one by one pixel", "layers pointwise { weights int8 per_channel }"),
    "activation": ("", "activation functions, those of several nodes included", "keep activation in float32"),
    "silu": ("", "x * sigmoid(x), both nodes", "keep silu in float32"),
    "gelu": ("", "GELU, as one node or spelled out", "keep gelu in float32"),
    "layer_norm": ("", "LayerNormalization, as one node or spelled out", "keep layer_norm in float32"),
    "residual_add": ("", "Add of a block's output and its input", "place { quantize skip of residual_add }"),
    "decode_head": ("", "what follows the last convolutions of a detector", "keep decode_head in float32"),
}

_FORMS: dict[str, tuple[str, str]] = {
    "drop": ("what is lost against the float model, in `pp` or `%`", "{ require top1 drop <= 1 pp }"),
    "ratio": ("the quotient with the float model", "{ require latency ratio <= 50 % }"),
    "speedup": ("how many times faster than the float model", "{ require latency speedup >= 2 }"),
}

KINDS_OF_VALUES: dict[str, str] = {
    "N": "a whole number from 1",
    "I": "a whole number from 0",
    "F": "a number, such as 0.5 or 1/255",
    "PCT": "a number with `%`",
    "S": "a text in quotes",
    "W": "a word",
    "WS": "a word or text",
    "D": "the name of a dataset",
    "HW": "a side or [height, width]",
    "FS": "a list of numbers",
    "NS": "a list of whole numbers from 1",
    "IS": "a list of whole numbers from 0",
    "SS": "a list of texts",
    "L": "a level from 1 to 5",
    "LS": "a list of levels",
    "TYPE": "a type such as int8, or `8 bit`, then symmetric|affine, per_tensor|per_channel|per_block N, ..",
    "METHOD": "minmax|mean_minmax|entropy|mse|percentile P [symmetric]|auto",
}


def meanings(word: str) -> tuple[Keyword, ...]:
    """Every meaning of a word of the language; () for a word that it does not have."""
    return tuple(dict.fromkeys(found for found in _all() if found.word == word))


def known() -> tuple[str, ...]:
    """Every word of the language."""
    return tuple(dict.fromkeys(found.word for found in _all()))


def _all() -> Iterator[Keyword]:
    for word, statement in examples.STATEMENTS.items():
        yield Keyword(word, "a statement", "", statement.about, statement.example)
    for row in TABLE:
        yield Keyword(row.word, f"a setting of `{row.block}`", row.takes, row.about, examples.example(row))
    for kind in _KINDS:
        for word in kind.words:
            after = kind.after.get(word, "")
            takes = " ".join(after.split())
            yield Keyword(word, kind.stands, takes, kind.says.get(word, ""), kind.around.format(word + after))
    yield from _selectors()
    for metric in METRICS:
        where = f"a metric of {', '.join(metric.tasks)}" if metric.tasks else "a metric of any task or target"
        yield Keyword(metric.name, where, " ".join(metric.qualifiers), metric.about, examples.measuring(metric))
    for form in FORMS:
        about, body = _FORMS.get(form, ("", ""))
        yield Keyword(
            form, "between a metric and its bound", "", about, f"evaluate classification on val {body}".strip()
        )
    for unit, info in UNITS.items():
        yield Keyword(unit, f"a unit of {info.measures}", "", "", "")
    yield from _values()


def _selectors() -> Iterator[Keyword]:
    for word in SELECTOR_WORDS:
        if word in CONDITIONS:
            value = "[1, 1]" if word in ("kernel", "stride") else "16"
            example = f"layers op Conv and {word} == {value} {{ weights int8 }}"
            yield Keyword(word, "a condition of selectors", "<|<=|==|!=|>=|> F|NS", "nodes by this number", example)
        else:
            takes, about, example = _SELECTORS.get(word, ("", "", ""))
            yield Keyword(word, "a word of selectors", takes, about, example)


def _values() -> Iterator[Keyword]:
    """Words that a setting takes: `letterbox`."""
    for row in TABLE:
        for word in row.takes.replace("[", " ").replace("]", " ").replace("|", " ").split():
            if word.islower():
                line = examples.saying(row, word)
                yield Keyword(word, f"a word of `{row.word}` in `{row.block}`", "", row.about, line)
