"""The words of the language, one table: read by the resolver, by completion and by the documentation.

A row says what a setting takes in a small notation: lower-case words stand for themselves, `a|b` is a choice, `[..]`
may be left out, a final `..` repeats after a comma, and upper-case words are kinds of values:

    N a whole number from 1, I one from 0, F a number or fraction, PCT a number with `%`, S a text, W a word,
    WS a word or text, D the name of a dataset, HW a side or [height, width], FS a list of numbers, NS a list of whole
    numbers from 1, IS one of whole numbers from 0, SS a list of texts, L a level from 1 to 5, LS a list of those, TYPE
    and METHOD what `weights` and `calibrate` say.
"""

from __future__ import annotations

from typing import NamedTuple

from qdsl.lang.selectors import CONDITIONS, PREDICATES
from qdsl.spec import DTYPES
from qdsl.spec.audit_rules import RULES


class Row(NamedTuple):
    """One setting of a block. `repeats`: it may stand more than once."""

    block: str
    word: str
    takes: str
    about: str
    repeats: bool = False


CPUS = ("any", "x86", "x86_vnni", "arm", "arm_dotprod")
DECODERS = ("yolov8", "yolox", "yolov5", "yolov7", "nanodet", "fastestdet", "ssd", "boxes")
_SCHEME = "a number type or `N bit`; the rest in any order"

TABLE: tuple[Row, ...] = (
    Row("input", "resize", "HW letterbox|stretch|crop", "scale to a size: padded, distorted, or filled and cut"),
    Row("input", "resize", "HW letterbox [top_left]", "padded below and to the right alone"),
    Row("input", "crop", "HW", "cut out the centre"),
    Row("input", "rescale", "F", "multiply every value"),
    Row("input", "mean", "FS", "subtract, one number per channel"),
    Row("input", "std", "FS", "divide, one number per channel"),
    Row("input", "color", "rgb|bgr|gray", "the order of channels"),
    Row("input", "layout", "nchw|nhwc", "the order of axes"),
    Row("input", "shape", "NS", "fix free dimensions of the model input"),
    Row("data", "split", "WS", "the part of the dataset to use"),
    Row("data", "take", "N [seed I]", "so many samples; without a seed the first in path order"),
    Row("data", "oversample", "S F ..", "draw samples with a class more often"),
    Row("data", "ratio", "S PCT ..", "the share of each class"),
    Row("data", "balance", "classes", "the same number of samples per class"),
    Row("data", "classes", "SS [as IS]", "only these classes, in this order; the numbers that the model gives them"),
    Row("data", "ignore", "I", "a label value that does not count"),
    Row("data", "array", "S S ..", "an array in the file, and the model input it feeds", True),
    Row("data", "label", "S", "the array in the file that holds labels"),
    Row("data", "every", "N", "one frame of a video in so many"),
    Row("data", "columns", "S ..", "the columns of a table that hold files, and labels"),
    Row("data", "outside", "S ..", "folders beside its own that the dataset may list files in"),
    Row("quantize", "weights", "TYPE", _SCHEME),
    Row("quantize", "activations", "TYPE", _SCHEME),
    Row("quantize", "calibrate", "METHOD [on D]", "how ranges are found, and on which data"),
    Row("quantize", "calibrate", "from cache S", "the ranges of a calibration cache of TensorRT"),
    Row("quantize", "range", "FS", "lowest and highest value, by hand"),
    Row("layers", "weights", "TYPE", _SCHEME),
    Row("layers", "activations", "TYPE", _SCHEME),
    Row("layers", "calibrate", "METHOD [on D]", "how ranges are found, and on which data"),
    Row("layers", "calibrate", "from cache S", "the ranges of a calibration cache of TensorRT"),
    Row("layers", "range", "FS", "lowest and highest value, by hand"),
    Row("sensitivity", "take", "N [seed I]", "so many samples"),
    Row("sensitivity", "trials", "N", "random directions per tensor"),
    Row("sensitivity", "epsilon", "F", "size of a perturbation"),
    Row("allocate", "evaluations", "N", "at most so many assignments are measured"),
    Row("improve", "equalize", "", "move range between the channels of neighbouring layers"),
    Row("improve", "bias_correct", "", "undo the mean shift of quantized weights"),
    Row("improve", "round", "adaptive", "choose up or down per weight"),
    Row("train", "epochs", "N", "how long"),
    Row("train", "batch", "N", "samples per step"),
    Row("train", "optimizer", "sgd|adam|adamw [lr F] [momentum F] [weight_decay F]", "what takes the steps"),
    Row("train", "schedule", "constant|plateau|cosine|step", "how the learning rate falls"),
    Row("train", "warm_start", "epoch I", "float until this epoch"),
    Row("train", "freeze_batchnorm", "[epoch I]", "statistics stay as they are, from the start or an epoch on"),
    Row("train", "distill", "[F]", "learn from the float model, with this weight"),
    Row("train", "early_stop", "N", "stop after so many epochs without gain"),
    Row("train", "class_weights", "balanced", "rare classes count more"),
    Row("train", "class_weights", "S F ..", "these classes count so much"),
    Row("train", "validate", "D", "the data that schedule and best checkpoint watch"),
    Row("train", "loss", "labels|float_model", "learn from labels or from the float model"),
    Row("tune", "trials", "N", "at most so many alternatives are built and timed"),
    Row("tune", "blocks", "N", "blocks of runs, taken in turns, per comparison"),
    Row("tune", "threads", "N", "threads while timing; without it those of the target"),
    Row("target", "device", "S", "the device that decides latency, energy and memory"),
    Row("target", "version", "S", "the version of the target's software, as a text"),
    Row("target", "threads", "auto|N", "how many threads run the model"),
    Row("target", "cpu", f"{'|'.join(CPUS)} ..", "the kinds of CPU that have to give the same answers"),
    Row(
        "target",
        "exact",
        "weights|session",
        "how sums are kept from saturating: by the weights, or by a session option",
    ),
    Row("target", "io", "int8|uint8", "integer graph inputs and outputs, for `stm32`"),
    Row("target", "optimize", "speed|ram", "what the C is made for, for `stm32`"),
    Row(
        "target",
        "rounding",
        "ort|tflite",
        "how the C rounds, for `stm32`: as ONNX Runtime does, or as TFLite",
    ),
    Row("target", "kernels", "own|cmsis_nn", "what computes products in the C, for `stm32`"),
    Row("target", "high_precision", "float16|float32", "the type of what is not quantized, for `tensorrt`"),
    Row("evaluate", "output", "S ..", "the model outputs to read"),
    Row("evaluate", "decode", "|".join(DECODERS), "how raw outputs become boxes; `boxes`: they are boxes already"),
    Row("evaluate", "decode", "python S", "`package:function` makes them boxes; needs `--allow-python`"),
    Row("evaluate", "strides", "NS", "pixels per cell of each grid of the head, finest first"),
    Row("evaluate", "anchors", "FS", "widths and heights in pixels, grid by grid, of a head with anchors"),
    Row("evaluate", "reg_max", "N", "the largest distance of a head that gives distributions, in cells"),
    Row("evaluate", "offset", "F", "how far grid points lie inside their cell, in cells"),
    Row("evaluate", "sizes", "FS", "sides of SSD's priors in pixels, grid by grid, and one more"),
    Row("evaluate", "ratios", "NS", "how many aspect ratios (2, 3, ..) SSD's priors have, grid by grid"),
    Row("evaluate", "corners", "xyxy|yxyx|cxcywh", "the order of the numbers of a box that the graph decodes"),
    Row("evaluate", "units", "pixels|fractions", "what those numbers count: pixels of the input, or parts of it"),
    Row("evaluate", "background", "first|none", "whether class 0 of the model is the background"),
    Row("evaluate", "scores", "probabilities|logits", "whether scores still need a sigmoid or softmax"),
    Row("evaluate", "confidence", "F", "boxes below this score are dropped"),
    Row("evaluate", "nms", "F", "boxes that overlap more are merged"),
    Row("corrupt", "light", "", "half of the pictures darker, half brighter, by 0.5 to 2.5 stops"),
    Row("corrupt", "blur", "", "out of focus"),
    Row("corrupt", "noise", "", "a noisy sensor"),
    Row("corrupt", "jpeg", "", "compressed hard"),
    Row("corrupt", "severity", "L|LS", "how much, from 1 to 5; a list takes each in turn"),
    Row("profile", "runs", "N", "measured runs"),
    Row("profile", "warmup", "I", "runs before measuring"),
    Row("profile", "batch", "N", "samples per run"),
    Row("profile", "threads", "N", "threads while measuring"),
)

BLOCKS: tuple[str, ...] = tuple(dict.fromkeys(row.block for row in TABLE))
SETTING_WORDS: frozenset[str] = frozenset(row.word for row in TABLE)


def rows(block: str) -> dict[str, tuple[Row, ...]]:
    """The settings of a block: every form of each word."""
    found: dict[str, tuple[Row, ...]] = {}
    for row in TABLE:
        if row.block == block:
            found[row.word] = (*found.get(row.word, ()), row)
    return found


# Statements that may stand in a block beside its settings.
NESTED: dict[str, tuple[str, ...]] = {
    "target": ("quantize", "layers", "keep", "place", "allow", "passes", "profile", "require"),
    "tune": ("require",),
    "allocate": ("sensitivity", "minimize", "pin", "group"),
    "evaluate": ("measure", "profile", "corrupt", "require"),
}

FORMATS = ("onnx", "torch", "tensorflow", "tflite")
SOURCES = ("images", "folder", "yolo", "coco", "masks", "csv", "npz", "video")
MODES = ("static", "dynamic", "float", "none")
METHODS = ("minmax", "mean_minmax", "entropy", "percentile", "mse", "auto")
TARGETS = ("ort", "tensorrt", "stm32")
TASKS = ("classification", "detection", "segmentation", "fidelity")
CORRUPTIONS = ("light", "blur", "noise", "jpeg")
TYPES = tuple(DTYPES)
SCHEME_WORDS = ("symmetric", "affine", "per_tensor", "per_channel", "per_block", "reduce_range", "storage_only")
PORTS = ("inputs", "outputs", "skip")
TRAIN_METHODS = ("qat",)
TUNED = ("latency",)
SENSITIVITIES = ("gradient", "sqnr", "hessian")
ALLOCATED = ("weights", "activations", "layers")
MINIMIZED = ("loss", "size", "latency", "macs", "activation_bits", "bops")
# What `allow` silences: findings of the audit, of which the plan tells `shared_range`, too.
FINDINGS = tuple(sorted({*RULES, "half_quantized_op", "shared_range"}))
STAGES = ("canonicalise", "equalize", "calibrate", "quantize", "emit")

# A `select` may not take one of these as its name.
SELECTOR_WORDS: tuple[str, ...] = (
    *PREDICATES,
    *CONDITIONS,
    *("op", "matching", "under", "tensor", "between", "and", "or", "not", "first", "last", "of", "expect", "in", "on"),
)

# What conditions are compared with: a number, or a list of numbers for what has one per axis.
CONDITION_LISTS = ("kernel", "stride")


class MetricRow(NamedTuple):
    """A metric: where it may stand ("" for any task and target), what its bound measures, what may follow its name.

    `measures` is a key of the unit table ("bytes", "seconds", ..), "ratio" for 0..1 or `%`, "number" for a plain
    number, and "holds" for a condition without a bound. One qualifier may follow, and has to where `whole` names the
    metric of all classes together.
    """

    name: str
    tasks: tuple[str, ...]
    measures: str
    qualifiers: tuple[str, ...]
    about: str
    whole: str = ""


_LABELLED = ("classification", "detection", "segmentation")
_SPREAD = ("mean", "p50", "p90", "p95", "p99", "max")

METRICS: tuple[MetricRow, ...] = (
    MetricRow("top1", ("classification",), "ratio", (), "the best guess is right"),
    MetricRow("top5", ("classification",), "ratio", (), "one of the five best guesses is right"),
    MetricRow("accuracy", ("classification", "segmentation"), "ratio", (), "the share that is right"),
    MetricRow("precision", _LABELLED, "ratio", ("CLASS",), "the share of findings that are right"),
    MetricRow("recall", _LABELLED, "ratio", ("CLASS",), "the share of truths that are found"),
    MetricRow("f1", _LABELLED, "ratio", ("CLASS",), "harmonic mean of precision and recall"),
    MetricRow("map50", ("detection",), "ratio", ("CLASS",), "mean average precision at IoU 0.5"),
    MetricRow("map50_95", ("detection",), "ratio", ("CLASS",), "mean average precision over IoU 0.5 to 0.95"),
    MetricRow("fitness", ("detection",), "ratio", (), "what detectors are chosen by: map50_95"),
    MetricRow("iou", ("segmentation",), "ratio", ("CLASS",), "intersection over union", "miou"),
    MetricRow("miou", ("segmentation",), "ratio", (), "mean of iou over classes"),
    MetricRow("dice", ("segmentation",), "ratio", ("CLASS",), "overlap, twice over the sum"),
    MetricRow("agreement", ("fidelity",), "ratio", ("OUTPUT",), "same best class as the float model"),
    MetricRow("cosine", ("fidelity",), "number", ("OUTPUT",), "cosine with the float output"),
    MetricRow("sqnr", ("fidelity",), "decibels", ("OUTPUT",), "signal to quantization noise"),
    MetricRow("mse", ("fidelity",), "number", ("OUTPUT",), "mean squared difference"),
    MetricRow("max_error", ("fidelity",), "number", ("OUTPUT",), "largest difference"),
    MetricRow("size", (), "bytes", (), "the emitted file with its external data"),
    MetricRow("latency", (), "seconds", _SPREAD, "time per run"),
    MetricRow("throughput", (), "rate", (), "samples per second"),
    MetricRow("cpu", (), "ratio", (), "processor load"),
    MetricRow("memory", (), "bytes", (), "peak memory of the process"),
    MetricRow("flash", (), "bytes", (), "read-only memory on the device"),
    MetricRow("ram", (), "bytes", (), "working memory on the device"),
    MetricRow("instructions", (), "number", (), "instructions per run, on an emulated core"),
    MetricRow("energy", (), "joules", (), "energy per run"),
    MetricRow("power", (), "watts", (), "mean power"),
    MetricRow("macs", (), "number", (), "multiplications and additions per run"),
    MetricRow("integer_share", (), "ratio", (), "the share of those that runs in integers"),
    MetricRow("activation_bits", (), "number", (), "bits of a quantized activation, the mean over their elements"),
    MetricRow("bops", (), "number", (), "bit operations: each multiplication times the bits of both factors"),
    MetricRow("qdq", (), "holds", ("survives",), "what was planned in integers computes in them"),
)

# Words between a metric and its comparison: against the float model instead of by itself.
FORMS = ("drop", "ratio", "speedup")
