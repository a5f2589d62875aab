"""One line that parses for every word of the language: what an error shows, and `qdsl explain WORD`."""

from __future__ import annotations

from typing import NamedTuple

from qdsl.lang.vocabulary import METRICS, NESTED, MetricRow, Row, rows


class Statement(NamedTuple):
    """A statement: what it says, and one as people write it."""

    about: str
    example: str


STATEMENTS: dict[str, Statement] = {
    "recipe": Statement("the recipe's name, equal to the file's stem", "recipe detector"),
    "extends": Statement("start from another recipe", 'extends "base.q"'),
    "param": Statement("a value that `--set` changes, within the list", "param bits = int8 from [int8, int4]"),
    "model": Statement("the float model", 'model onnx "model.onnx"'),
    "input": Statement("preprocessing, in the order written", 'input "images" { resize 640 letterbox; rescale 1/255 }'),
    "data": Statement("a dataset", 'data calib from images "calib/*.jpg" { take 300 seed 7 }'),
    "select": Statement("a name for a selector", "select decode = decode_head"),
    "quantize": Statement("where the cascade starts", "quantize static { weights int8; activations uint8 }"),
    "layers": Statement("other settings for these nodes", "layers op Conv { weights int8 per_channel }"),
    "keep": Statement("these nodes compute in float", "keep op Softmax in float32"),
    "place": Statement("where Q/DQ pairs stand", "place { leave op Conv -> op Relu }"),
    "allocate": Statement(
        "choose types by itself, within a budget",
        "allocate weights from [int8, int4] { minimize loss under size <= 2 MB }",
    ),
    "improve": Statement("better weights without training", "improve { bias_correct }"),
    "train": Statement("quantization-aware training", "train qat on calib { epochs 10 }"),
    "tune": Statement("choose by measurement", "tune latency { require sqnr drop <= 0.5 dB }"),
    "target": Statement("what is built, and what must hold there", "target ort { require size <= 3.6 MiB }"),
    "evaluate": Statement(
        "what is measured, on which data", "evaluate classification on val { measure top1; require top1 drop <= 1 pp }"
    ),
    "passes": Statement("own rewrite rules", 'passes { use "my.rule" before quantize }'),
    "allow": Statement("silence a finding, with the reason", 'allow shared_range on op Concat because "wanted"'),
    "measure": Statement("metrics without bounds", "evaluate classification on val { measure top1, top5 }"),
    "require": Statement("a budget", "target ort { require size <= 3.6 MiB }"),
    "profile": Statement("times the model", "evaluate classification on val { profile latency { runs 200 } }"),
    "corrupt": Statement("evaluate on worse pictures, too", "evaluate classification on val { corrupt { noise } }"),
    "sensitivity": Statement(
        "how `allocate` finds what a type costs",
        "allocate weights from [int8, int4] { sensitivity sqnr on calib { take 64 } }",
    ),
}

# Where the settings of a block stand: `{}` is the setting.
AROUND: dict[str, str] = {
    "input": 'input "images" {{ {} }}',
    "data": 'data calib from folder "train" {{ {} }}',
    "quantize": "quantize static {{ {} }}",
    "layers": "layers op Conv {{ {} }}",
    "sensitivity": "allocate weights from [int8, int4] {{ sensitivity sqnr on calib {{ {} }} }}",
    "allocate": "allocate layers from [int8, float32] {{ {}; minimize latency under sqnr >= 30 dB on calib }}",
    "improve": "improve {{ {} }}",
    "train": "train qat on calib {{ {} }}",
    "tune": "tune latency {{ {} }}",
    "target": "target ort {{ {} }}",
    "evaluate": "evaluate detection on val {{ {} }}",
    "corrupt": "evaluate classification on val {{ corrupt {{ {} }} }}",
    "profile": "evaluate classification on val {{ profile latency {{ {} }} }}",
}

# Words that only some sources, and some targets, have.
_HELD_BY: dict[tuple[str, str], str] = {
    ("data", "array"): 'data calib from npz "calib.npz" {{ {} }}',
    ("data", "label"): 'data val from npz "val.npz" {{ {} }}',
    ("data", "ignore"): 'data val from masks "val" {{ {} }}',
    ("target", "high_precision"): "target tensorrt {{ {} }}",
    ("target", "version"): "target tensorrt {{ {} }}",
    **dict.fromkeys((("target", "io"), ("target", "optimize"), ("target", "rounding")), "target stm32 {{ {} }}"),
}

# Values as people write them, where those made from the kind of value alone would say little.
_USUAL: dict[tuple[str, str], str] = {
    ("input", "resize"): "640 letterbox",
    ("input", "crop"): "224",
    ("input", "rescale"): "1/255",
    ("input", "mean"): "[0.485, 0.456, 0.406]",
    ("input", "std"): "[0.229, 0.224, 0.225]",
    ("input", "shape"): "[1, 3, 224, 224]",
    ("data", "take"): "300 seed 7",
    ("data", "oversample"): '"crack" 10',
    ("data", "ratio"): '"crack" 50 %, "clean" 50 %',
    ("data", "classes"): '["crack", "clean"]',
    ("data", "split"): "train",
    ("data", "ignore"): "255",
    ("data", "array"): '"x" "images"',
    ("data", "label"): '"y"',
    ("quantize", "weights"): "int8 symmetric per_channel",
    ("quantize", "activations"): "uint8 affine per_tensor",
    ("quantize", "calibrate"): "percentile 99.99 on calib",
    ("quantize", "range"): "[0, 6]",
    ("layers", "weights"): "int8 per_tensor",
    ("layers", "activations"): "int16",
    ("layers", "calibrate"): "entropy on calib",
    ("layers", "range"): "[0, 6]",
    ("train", "optimizer"): "sgd lr 0.01 momentum 0.9",
    ("train", "warm_start"): "epoch 4",
    ("tune", "blocks"): "21",
    ("target", "device"): '"raspberry-pi-5"',
    ("target", "version"): '"10.3"',
    ("evaluate", "confidence"): "0.001",
    ("evaluate", "nms"): "0.7",
    ("corrupt", "severity"): "[1, 3, 5]",
}

# A value of each kind that the table's notation knows.
_KINDS: dict[str, str] = {
    "N": "8",
    "I": "7",
    "F": "0.5",
    "PCT": "50 %",
    "S": '"name"',
    "W": "name",
    "WS": '"name"',
    "D": "calib",
    "HW": "640",
    "FS": "[0.5]",
    "NS": "[1]",
    "IS": "[0]",
    "SS": '["name"]',
    "L": "3",
    "LS": "[3]",
    "TYPE": "int8",
    "METHOD": "minmax",
}


def line(row: Row) -> str:
    """A setting as it stands in its block: `rescale 1/255`."""
    usual = _USUAL.get((row.block, row.word))
    if usual is not None and row is rows(row.block)[row.word][0]:
        return f"{row.word} {usual}"
    body, *options = row.takes.removesuffix("..").replace("]", "").split("[")
    needed = body.split() if usual is None else " ".join((body, *options)).split()
    values = [next((_KINDS.get(kind, kind) for kind in piece.split("|")), "") for piece in needed]
    return " ".join((row.word, *values))


def example(row: Row) -> str:
    """A whole statement that holds the setting."""
    around = _HELD_BY.get((row.block, row.word), AROUND[row.block])
    return around.format(line(row))


def saying(row: Row, word: str) -> str:
    """A whole statement in which the setting takes `word`, one of those that its row names."""
    body, *options = row.takes.removesuffix("..").replace("]", "").split("[")
    chosen = next((option for option in options if word in option.replace("|", " ").split()), "")
    values = []
    for piece in f"{body} {chosen}".split():
        kinds = piece.split("|")
        values.append(word if word in kinds else _KINDS.get(kinds[0], kinds[0]))
    around = _HELD_BY.get((row.block, row.word), AROUND[row.block])
    return around.format(" ".join((row.word, *values)))


def elsewhere(word: str, but: str) -> tuple[str, ...]:
    """Statements that show where a word belongs which the block `but` does not know ("" for a recipe's own lines)."""
    if word in STATEMENTS and word not in NESTED.get(but, ()):
        found = [STATEMENTS[word].example]
    else:
        found = [example(rows(block)[word][0]) for block in AROUND if block != but and word in rows(block)]
    if not found:
        found = [measuring(row) for row in METRICS if row.name == word]
    return tuple(dict.fromkeys(found))


_OF_C = {"flash": "512 KiB", "ram": "96 KiB", "instructions": "20000000"}  # no profile times these


def measuring(row: MetricRow) -> str:
    """A statement that holds the metric."""
    if row.measures == "holds":
        return f"target ort {{ require {row.name} {row.qualifiers[0]} }}"
    if row.name in _OF_C:
        return f"target stm32 {{ require {row.name} <= {_OF_C[row.name]} }}"
    if not row.tasks:
        return f"evaluate fidelity on val {{ profile {row.name} }}"
    which = ' "person"' if row.whole else ""
    return f"evaluate {row.tasks[0]} on val {{ measure {row.name}{which} }}"
