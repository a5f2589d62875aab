"""`new`: a first recipe for a model, from its graph and from what lies in a folder of data.

What is a guess says so. Every part is tried before it is written: a recipe that comes out checks, plans, and, where
data was given, opens it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from qdsl import data as datasets
from qdsl.capability import ACTIVATION, load
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.graph.structure import decode_head
from qdsl.lang import format_text, loads, require_complete
from qdsl.lang.scope import quoted
from qdsl.measure import evaluating
from qdsl.plan import gate
from qdsl.plan.gate import EMITS_C
from qdsl.spec.words import count
from qdsl.starter.examples import write_example
from qdsl.starter.guessing import Found, Picture, data_of, decoding, is_detector, pictures
from qdsl.targets import target_of
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import Prepared, prepare, takes

_TRIED = 2  # samples that the float model answers, to see whether labels and outputs fit
_SENSITIVE = ("Softmax", "LayerNormalization", "InstanceNormalization", "Gelu", "Erf", "Exp", "Pow", "ReduceMean")
_HALF = "quantize float { weights float16; activations float16 }"
_DYNAMIC = "quantize dynamic { weights 8 bit }"
_NONE = "quantize none"
_STATIC = """quantize static {
  weights int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate minmax on calib
}"""
# For targets whose kernels read other types.
_STATIC_8 = """quantize static {
  weights 8 bit
  activations 8 bit
  calibrate minmax on calib
}"""
_FIGURES = {
    "classification": ("measure top1", "require top1 drop <= 1 pp"),
    "detection": ("measure map50, map50_95", "require map50_95 drop <= 1 pp"),
    "segmentation": ("measure miou", "require miou drop <= 1 pp"),
    "fidelity": ("measure sqnr, cosine", "require sqnr >= 30 dB"),
}


@dataclass(frozen=True, slots=True)
class NewResult:
    """The recipe that was written, its text, and what else was written beside it."""

    path: Path
    text: str
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Draft:
    """The parts of a recipe. `head`: keep the decoding in float; `task`: what `evaluate` does, "" for nothing."""

    name: str
    model: str
    target: str
    mode: str
    head: int = 0
    task: str = ""


def new(
    model: str | Path | None = None,
    *,
    data: str | Path | None = None,
    target: str = "ort",
    out: str | Path | None = None,
    example: str | None = None,
) -> NewResult:
    """Write a commented recipe for `model` to `out` (default: `<stem>.q` here), or the example called `example` with
    its model and data into the folder `out`. Nothing that is there is overwritten.

    `data` is a folder, a data.yaml, an npz or a COCO json; without it the recipe needs none. Raises QdslError:
    new-exists, new-data, new-example, and what is wrong with the model or cannot be planned for the target.
    """
    if (model is None) == (example is None):
        raise ValueError("`new` takes a model or an example")
    if example is not None:
        return _example(example, Path(out) if out is not None else Path(example))
    source = Path(str(model))
    path = Path(out) if out is not None else Path(f"{_name(source.stem)}.q")
    if not source.is_file():
        help = ("name the ONNX file that a recipe is to be written for",)
        raise QdslError([Diagnostic("model-missing", f"there is no model file `{source}`", help=help)])
    _require_absent(path)
    try:
        text = _recipe(source, None if data is None else Path(data), target, path)
    except QdslError as error:  # the lines it speaks of stand in no file
        raise QdslError([replace(found, span=None) for found in error.diagnostics]) from None
    _write(path, text)
    return NewResult(path, text)


def _name(stem: str) -> str:
    """A recipe's name for a model's file name."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_") or "model"
    return f"m_{plain}" if plain[0].isdigit() else plain


def _require_absent(path: Path) -> None:
    if os.path.lexists(path):
        help = ("name another place with `--out`, or take it away first",)
        raise QdslError([Diagnostic("new-exists", f"`{path}` is there already, and is left as it is", help=help)])


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _require_absent(path)
        raise
    except OSError as error:
        headline = f"`{path}` cannot be written: {error.strerror or type(error).__name__}"
        raise QdslError([Diagnostic("artifact-write", headline)]) from None


def _example(name: str, folder: Path) -> NewResult:
    _require_absent(folder)
    return NewResult(*write_example(name, folder))


def _recipe(source: Path, data: Path | None, target: str, path: Path) -> str:
    """The best recipe that can be planned: the first of the drafts, in the order in which they are wished for."""
    relative = os.path.relpath(source, path.parent).replace(os.sep, "/")
    draft = _Draft(path.stem, relative, target, _HALF)
    plain = _prepared(_opening(draft), path)
    found = None if data is None else data_of(data, plain.view)
    if data is not None and found is None:
        raise QdslError([_nothing_found(data, plain)])
    shown = pictures(plain.view)
    inputs = "\n".join(_input(each, plain, found) for each in shown)
    prepared = _prepared(f"{_opening(draft)}\n{inputs}", path)
    first: QdslError | None = None
    for wished in _drafts(draft, prepared, found):
        text = _text(wished, prepared, found, inputs, path)
        try:
            told = _require_fit(text, prepared, path)
        except QdslError as error:
            first = first or error
            continue
        if found is not None and any(each.code == "take-short" for each in told):
            text = _text(wished, prepared, found.whole(), inputs, path)
        return format_text(text, str(path))
    if first is not None and any(each.code == "already-quantized" for each in first.diagnostics):
        return _as_it_is(replace(draft, mode=_NONE), prepared, found, inputs, path)
    assert first is not None, "there is a draft without any part"
    raise first


def _as_it_is(draft: _Draft, prepared: Prepared, found: Found | None, inputs: str, path: Path) -> str:
    """A model that is quantized already is evaluated and timed as it is. Raises QdslError where that does not fit."""
    text = _text(draft, prepared, found, inputs, path)
    _require_fit(text, prepared, path)
    return format_text(text, str(path))


def _nothing_found(data: Path, prepared: Prepared) -> Diagnostic:
    if not data.exists():
        return Diagnostic("new-data", f"`{data}` is not there", help=("name the folder or file that holds the data",))
    holds = "pictures, one folder per class, a YOLO data.yaml, COCO json, images and masks, or npz files"
    holds = holds if pictures(prepared.view) else "npz files: the model takes no picture"
    return Diagnostic("new-data", f"`{data}` holds nothing that a recipe reads", help=(f"it may hold {holds}",))


def _opening(draft: _Draft) -> str:
    return f"model onnx {quoted(draft.model)}\n{draft.mode}\ntarget {draft.target}\n"


def _prepared(text: str, path: Path) -> Prepared:
    loaded = loads(text, name=str(path), directory=path.parent)
    require_complete(loaded.recipe)
    return prepare(loaded)


def _drafts(draft: _Draft, prepared: Prepared, found: Found | None) -> Iterator[_Draft]:
    """With data a static build, evaluated on its labels where they fit the model; without it what needs none."""
    head = len(decode_head(prepared.view))
    modes = [_DYNAMIC, _HALF] if found is None else [_STATIC, _STATIC_8, _DYNAMIC, _HALF]
    tasks = [""] if found is None else [*([found.task] if found.task else []), "fidelity"]
    for mode, task, kept in product(modes, tasks, dict.fromkeys((head, 0))):
        if task != "detection" or decoding(prepared.view):
            yield replace(draft, mode=mode, task=task, head=kept)


def _require_fit(text: str, prepared: Prepared, path: Path) -> Diagnostics:
    """What opening the data says. Raises QdslError where the recipe would not plan, or its data not fit the model."""
    loaded = loads(text, name=str(path), directory=path.parent)
    recipe = loaded.recipe
    told = Diagnostics()
    for each in recipe.targets:
        told.extend(gate(recipe, each.name))
    told.raise_errors()
    tried = replace(prepared, recipe=recipe)
    decide_all(tried, None, Diagnostics())
    for spec in recipe.data:
        datasets.open(spec, recipe.inputs, takes(tried), told)
    few = tuple(replace(spec, take=(_TRIED, 7)) for spec in recipe.data)
    tried = replace(tried, recipe=replace(recipe, data=few))
    evaluating.evaluations(
        tried, evaluating.planned(tried, Diagnostics(), needed=True), {}, lambda *words: None, Diagnostics()
    )
    return told


def _text(draft: _Draft, prepared: Prepared, found: Found | None, inputs: str, path: Path) -> str:
    view = prepared.view
    ops = Counter(node.op for node in view.nodes)
    most = ", ".join(f"{count} {op}" for op, count in ops.most_common(4))
    parts = [
        f"# {Path(draft.model).name}: {count(len(view.nodes), 'node')} ({most}), opset {view.opset}.",
        "# Written by `qdsl new`; what is a guess says so. `qdsl plan` shows what it does, `qdsl compile` does it.",
        f"recipe {draft.name}\n",
        f"model onnx {quoted(draft.model)}\n",
        inputs,
        *_data(found, path),
        *_mode(draft.mode, draft.target),
        *_kept(draft, ops),
        _target(draft.target, draft.mode),
        *_evaluation(draft, prepared, found),
    ]
    return "\n".join(parts)


def _target(name: str, mode: str) -> str:
    """The target's block: what runs on CPUs says on how many threads, what is C for which board."""
    if name in EMITS_C:
        return _on_board(name, mode)
    on_cpus = load(target_of(name).table).cpus
    return f"target {name} {{ threads auto }}\n" if on_cpus else f"target {name}\n"


def _on_board(name: str, mode: str) -> str:
    """The block with what a board asks, to be taken in."""
    static = mode in (_STATIC, _STATIC_8)
    lines = [
        f"target {name} {{",
        '  # device "NUCLEO-F446RE"  # its memory, clock and core; docs/stm32.md lists the boards',
        "  # optimize ram  # the smallest arena; without it the fastest kernels that fit",
        *(["  # io int8  # inputs and outputs in integers: a quarter of the bytes"] if static else []),
        "  # require flash <= 256 KiB",
        "  # require ram <= 96 KiB  # with its stack",
        "}\n",
    ]
    return "\n".join(lines)


def _input(shown: Picture, prepared: Prepared, found: Found | None) -> str:
    """The preprocessing: what the graph says, and what has to be guessed."""
    shape = (
        [1, shown.height, shown.width, shown.channels] if shown.last else [1, shown.channels, shown.height, shown.width]
    )
    sizes = f"  shape {shape}  # the model leaves sizes free: fixed here, a guess\n" if not shown.fixed else ""
    if found is not None and found.source == "npz":
        return f"input {quoted(shown.name)} {{\n{sizes}}}\n" if sizes else ""
    yolox = is_detector(prepared.view) and decoding(prepared.view) == "yolox"
    lines = [
        "# A guess at the preprocessing: it must be what the model was trained with. Compare with its training code.",
        f"input {quoted(shown.name)} {{",
        sizes.rstrip("\n"),
        f"  resize [{shown.height}, {shown.width}] {_fit(prepared, yolox)}",
        *(["  color gray"] if shown.channels == 1 else ["  color bgr"] if yolox else []),
        *_scaling(shown, prepared, yolox),
        *(["  layout nhwc"] if shown.last else []),
        "}\n",
    ]
    return "\n".join(line for line in lines if line)


def _fit(prepared: Prepared, yolox: bool) -> str:
    if not is_detector(prepared.view):
        return "stretch  # or `crop`, which fills and cuts the centre"
    return "letterbox top_left" if yolox else "letterbox"


def _scaling(shown: Picture, prepared: Prepared, yolox: bool) -> list[str]:
    if not shown.floats or yolox:
        return []
    lines = ["  rescale 1/255"]
    if shown.channels == 3 and not is_detector(prepared.view):
        lines += [
            "  # Classifiers trained on ImageNet mostly want these two, too:",
            "  # mean [0.485, 0.456, 0.406]",
            "  # std [0.229, 0.224, 0.225]",
        ]
    return lines


def _data(found: Found | None, path: Path) -> list[str]:
    if found is None:
        return []
    lines = (
        [] if found.apart or not found.task else ["# The same pictures calibrate and evaluate: better keep some apart."]
    )
    for name, place, body in (("calib", found.path, found.calib), ("val", found.validates_on, found.val)):
        where = os.path.relpath(place, path.parent).replace(os.sep, "/")
        block = f" {{ {body} }}" if body else ""
        if name == "calib" or found.task:
            lines.append(f"data {name} from {found.source} {quoted(where)}{block}")
    return [*lines, ""]


def _mode(mode: str, target: str) -> list[str]:
    if mode in (_STATIC, _STATIC_8):
        return [f"{mode}\n"]
    if mode == _NONE:
        return ["# The model is quantized already: it is taken as it is, to be evaluated and timed.", f"{mode}\n"]
    reads = load(target_of(target).table).executed_types(ACTIVATION)
    static = _STATIC if any(dtype.name == "uint8" for dtype in reads) else _STATIC_8
    without = "\n".join(f"# {line}" for line in static.splitlines())
    return [
        "# Needs no data. With pictures or arrays like those the model will see, the build gets faster:",
        '# data calib from images "calib/*.jpg" { take 300 seed 7 }',
        without,
        f"{mode}\n",
    ]


def _kept(draft: _Draft, ops: Counter[str]) -> list[str]:
    lines = []
    if draft.head:
        lines += [
            "# Decoding mixes pixels and probabilities: what follows the last convolutions stays in float.",
            f"select head = decode_head expect {draft.head}",
            "keep head in float32\n",
        ]
    if draft.mode == _NONE:
        return lines
    sensitive = [op for op in _SENSITIVE if ops[op]]
    lines.append("# Where accuracy is lost, these are the first to try in float:")
    lines += [f"# keep op {op} in float32  # {ops[op]} of them" for op in sensitive]
    return [
        *lines,
        "# keep first 1 of op Conv in float32" if ops["Conv"] else "# keep last 1 of op [Gemm, MatMul] in float32",
        "",
    ]


def _evaluation(draft: _Draft, prepared: Prepared, found: Found | None) -> list[str]:
    if found is None or not draft.task:
        return []
    measures, budget = _FIGURES[draft.task]
    on = "calib" if draft.task == "fidelity" else "val"
    reads = [f"  decode {decoding(prepared.view)}; confidence 0.001; nms 0.7  # a guess by the output's shape"]
    return [
        *_why_fidelity(draft, found),
        f"evaluate {draft.task} on {on} {{",
        *(reads if draft.task == "detection" else []),
        f"  {measures}",
        f"  # {budget}  # a budget: `compile` says whether it holds, and ends with exit code 4 when not",
        *([] if draft.target in EMITS_C else ["  # profile latency, memory { runs 100; warmup 10 }"]),
        "}",
    ]


def _why_fidelity(draft: _Draft, found: Found) -> Sequence[str]:
    if draft.task == "fidelity" and found.task:
        return [f"# The labels are for {found.task}, but do not fit the model's outputs: held against the float model."]
    return ["# Without labels: how close to the float model."] if draft.task == "fidelity" else []
