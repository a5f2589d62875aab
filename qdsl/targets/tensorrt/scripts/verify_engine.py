"""What became of a model's quantization in a TensorRT engine, node by node: the manifest beside the model against what
the engine's inspector tells.

    python3 verify_engine.py --manifest quant_manifest.json --layers layers.json [--profile profile.json] [--json]

`layers.json` is what `trtexec --exportLayerInfo` writes, or `EngineInspector.get_engine_information` with
`LayerInformationFormat.JSON`, of TensorRT 8.x, 10.x or 11.x, built with detailed profiling verbosity; `profile.json` is
what `trtexec --exportProfile` writes. It needs Python 3.10 and nothing else.

Exit code 0: every planned node computes in what it was planned in, or the recipe waives it; 4: one does not, or nothing
tells; 1: a file is wrong.

That a Q or DQ is named in a layer proves nothing, and neither does that it is not: it may have been folded into float
weights, and a fused one leaves no name. What counts is what the layer multiplies that contains the node.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

INT8, INT8_IN_FLOAT_OUT, FP8, WEIGHT_ONLY = "INT8", "INT8_IN_FLOAT_OUT", "FP8", "WEIGHT_ONLY"
DROPPED, ELIMINATED, UNKNOWN = "DROPPED", "ELIMINATED", "UNKNOWN"
# What a node may turn out to be, by what it was planned in.
KEPT = {
    "int8": (INT8, INT8_IN_FLOAT_OUT),
    "fp8": (FP8,),
    "weights": (WEIGHT_ONLY, INT8, INT8_IN_FLOAT_OUT, FP8),
}
_WORST_FIRST = (DROPPED, UNKNOWN, WEIGHT_ONLY, INT8_IN_FLOAT_OUT, INT8, FP8)

MANIFEST_FORMAT = 1
LARGEST = 1 << 28  # bytes of a file
FEW_RUNS = 10  # a profile of fewer says nothing of which layer takes longest
_MOST_SHOWN = 8
_NARROW = ("int8", "fp8", "int4", "fp4")
_FLOATS = ("fp16", "bf16", "fp32")
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_REBUILD = "build with `--profilingVerbosity=detailed` (`config.profiling_verbosity = ProfilingVerbosity.DETAILED`)"


class WrongInputError(ValueError):
    """A file that is not what it should be: what was found, and what helps."""


# --- what is asked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One node of the manifest: what it has to compute in, why it may part from that ("": it may not), and its Q/DQ."""

    node: str
    op: str
    expect: str
    waived: str = ""
    pairs: tuple[str, ...] = ()

    @property
    def weighted(self) -> bool:
        return self.op in _WEIGHTED


@dataclass(frozen=True)
class Manifest:
    """What is read of `quant_manifest.json`: its nodes in graph order, and the Q that have to stand alone."""

    model: str
    nodes: tuple[Asked, ...]
    boundary: tuple[str, ...] = ()

    @property
    def planned(self) -> tuple[Asked, ...]:
        """The nodes that must not run in floats."""
        return tuple(each for each in self.nodes if each.expect in KEPT)


def read_manifest(text: str) -> Manifest:
    """Raises WrongInputError."""
    found = _json(text)
    if not isinstance(found, dict) or "nodes" not in found:
        raise WrongInputError("it is no quant_manifest.json: expected an object with `nodes`")
    if found.get("format") != MANIFEST_FORMAT:
        raise WrongInputError(f"it is of format {str(found.get('format'))[:20]}, this script reads {MANIFEST_FORMAT}")
    nodes = tuple(_asked(each, number) for number, each in enumerate(_rows(found["nodes"], "nodes")))
    twice = [name for name, count in Counter(each.node for each in nodes).items() if count > 1]
    if twice:
        raise WrongInputError(f"two of its nodes are called {_shown(twice[0])}")
    boundary = tuple(_text(each, "boundary") for each in _rows(found.get("boundary", []), "boundary"))
    return Manifest(_text(found.get("model", ""), "model"), nodes, boundary)


def _asked(found: Any, number: int) -> Asked:
    where = f"nodes[{number}]"
    if not isinstance(found, dict):
        raise WrongInputError(f"{where}: expected an object")
    words = [_text(found.get(key), f"{where}.{key}") for key in ("node", "op", "expect")]
    waived = _text(found.get("waived", ""), f"{where}.waived")
    pairs = [each for each in _rows(found.get("pairs", []), f"{where}.pairs") if isinstance(each, dict)]
    names = [_text(pair.get(key, ""), f"{where}.pairs") for pair in pairs for key in ("quantize", "dequantize")]
    return Asked(words[0], words[1], words[2], waived, tuple(name for name in names if name))


# --- what the inspector tells -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tensor:
    """`type` is one of this script's words ("int8", "fp16", ..), "" where `shown`, the file's own, names none."""

    name: str
    type: str
    shown: str


@dataclass(frozen=True)
class Layer:
    """One layer. `weights` are the types of its constants, `nodes` the ONNX nodes that it names; `place` counts layers
    of the same name, from 0. `profile` is the optimization profile that it belongs to."""

    name: str
    kind: str
    origin: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: tuple[str, ...]
    tactic: str
    nodes: tuple[str, ...]
    place: int
    profile: int

    @property
    def idle(self) -> bool:
        return bool(_IDLE.fullmatch(self.kind)) or self.name.startswith("Reformatting CopyNode")

    @property
    def multiplies(self) -> bool:
        """Whether it is one that multiplies by weights, or a matrix by a matrix; not one that merely names such a node
        because it adds its bias."""
        return not self.idle and bool(_MULTIPLIES.search(self.kind) or _by_pair(self.tactic))

    @property
    def block(self) -> bool:
        """Whether many nodes are one layer, of which nothing but the ends is told."""
        return "ForeignNode[" in self.name


@dataclass(frozen=True)
class Dump:
    """All layers of an engine, its inputs and outputs (None: the file does not tell), and which form the file has."""

    layers: tuple[Layer, ...]
    bindings: tuple[str, ...] | None
    form: str

    @property
    def holes(self) -> tuple[str, ...]:
        """Tensors that a layer reads and none writes, and outputs that none writes: of a layer that is missing."""
        written = {tensor.name for layer in self.layers for tensor in layer.outputs}
        read = dict.fromkeys(tensor.name for layer in self.layers for tensor in layer.inputs)
        ends = dict.fromkeys(self.bindings or ())
        outer = [name for name in ends if name not in written and name not in read]
        return (*(name for name in read if name not in written and name not in ends), *outer)


_IDLE = re.compile(r"NoOp|Reformat|Constant|signal|wait|shape_call|ShapeHostToDevice", re.I)
_MULTIPLIES = re.compile(
    r"conv(?!ert)|gemm|correlation|matrix|matmul|fullyconnected|runtime_fusion|attention|mha", re.I
)
_MYELIN = re.compile(r"correlation|gemm|deconv", re.I)
_PROFILE = re.compile(r"(?<!\s)\s*\[profile (\d{1,9})\]$")
_RECORD = "[ONNX Layer: "
_END = re.compile(r"\](?=[\x1e\x1f\s]*(?:\[|$))")
_WRAPPER = re.compile(r"[A-Z]{3,}\(")
_WRAPPED = re.compile(r"(?:[A-Z]{3,}\()+")
_BLOCK = re.compile(r"^-+ ?Layer \d+ ?-+[ \t\r]*$", re.M)
_TYPES = (
    ("", r"N/A"),
    ("int8", r"int8"),
    ("uint8", r"uint8"),
    ("fp8", r"fp8\w*|float8\w*|e4m3\w*|e5m2"),
    ("int4", r"int4"),
    ("fp4", r"fp4\w*|float4\w*|e2m1\w*"),
    ("bf16", r"bf16|bfloat16|bfloat"),
    ("fp16", r"fp16|float16|half"),
    ("fp32", r"fp32|float32|float|tf32"),
    ("int32", r"int32"),
    ("int64", r"int64"),
    ("bool", r"bool"),
)
_TYPE = [(name, re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", re.I)) for name, words in _TYPES]


def read_layers(text: str) -> Dump:
    """Raises WrongInputError for what holds no layers, or their names alone."""
    if _BLOCK.search(text):
        return _dump(_blocks(text), None, "blocks of get_layer_information")
    if re.match(r"\s*(Layers:|Name: )", text):
        raise WrongInputError("it is the inspector's one-line form: ask for LayerInformationFormat.JSON")
    found = _json(text)
    if isinstance(found, list):
        if any(isinstance(each, dict) and "averageMs" in each for each in found):
            raise WrongInputError("it is a profile, which tells times alone: give what `--exportLayerInfo` writes")
        return _dump(found, None, "a list of layers")
    if not isinstance(found, dict) or not isinstance(found.get("Layers"), list):
        raise WrongInputError("it holds no layers: expected an object with `Layers`, as `--exportLayerInfo` writes it")
    ends = found.get("I/O Tensors", found.get("Bindings"))
    told = None if ends is None else tuple(_end(each) for each in _rows(ends, "Bindings"))
    return _dump(found["Layers"], told, _form(found))


def _form(found: Mapping[str, Any]) -> str:
    if "I/O Tensors" in found:
        return "11.x form"
    newer = any(isinstance(each, dict) and ("Metadata" in each or "StreamId" in each) for each in found["Layers"])
    return "10.x form" if newer else "8.x form"


def _blocks(text: str) -> list[Any]:
    found = []
    for number, part in enumerate(_BLOCK.split(text)[1:]):
        try:
            found.append(_json(part))
        except WrongInputError as error:
            raise WrongInputError(f"layer {number}: {error}") from None
    return found


def _end(found: Any) -> str:
    return _PROFILE.sub("", _text(found.get("Name") if isinstance(found, dict) else found, "Bindings"))


def _dump(rows: Sequence[Any], bindings: tuple[str, ...] | None, form: str) -> Dump:
    if not rows:
        raise WrongInputError("it holds no layer")
    if any(isinstance(each, str) for each in rows):
        raise WrongInputError(
            f"it holds the names of layers alone, which say nothing of what they compute in: {_REBUILD}"
        )
    seen: Counter[str] = Counter()
    layers = []
    for number, each in enumerate(rows):
        if not isinstance(each, dict):
            raise WrongInputError(f"Layers[{number}]: expected an object")
        layer = _layer(each, f"Layers[{number}]")
        layers.append(replace(layer, place=seen[layer.name]))
        seen[layer.name] += 1
    return Dump(tuple(layers), bindings, form)


def _layer(found: Mapping[str, Any], where: str) -> Layer:
    name = _text(found.get("Name"), f"{where}.Name")
    suffix = _PROFILE.search(name)
    kind = _text(found.get("LayerType", found.get("ParameterType", "")), f"{where}.LayerType")
    metadata = _text(found.get("Metadata") or "", f"{where}.Metadata")
    return Layer(
        name=name,
        kind=kind,
        origin=_text(found.get("Origin", ""), f"{where}.Origin"),
        inputs=_tensors(found.get("Inputs", []), f"{where}.Inputs"),
        outputs=_tensors(found.get("Outputs", []), f"{where}.Outputs"),
        weights=_weights(found, where),
        tactic=_text(found.get("TacticName") or "", f"{where}.TacticName"),
        nodes=_of_metadata(metadata) or _of_name(_PROFILE.sub("", name)),
        place=0,
        profile=int(suffix[1]) if suffix else 0,
    )


def _tensors(found: Any, where: str) -> tuple[Tensor, ...]:
    tensors = []
    for each in _rows(found, where):
        if not isinstance(each, dict):
            raise WrongInputError(f"{where}: expected objects with `Name` and the type of each tensor: {_REBUILD}")
        shown = next((each[key] for key in ("Datatype", "DataType", "Format/Datatype", "Format") if key in each), "")
        shown = _text(shown, f"{where}.Datatype")
        tensors.append(Tensor(_PROFILE.sub("", _text(each.get("Name"), f"{where}.Name")), type_of(shown), shown))
    return tuple(tensors)


def _weights(found: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The types of what it multiplies by: 8.x and 10.x tell one, 11.x all constants, of which those of weights and of
    biases are not told apart."""
    if "Constants" in found:
        return tuple(each.type for each in _tensors(found["Constants"], f"{where}.Constants"))
    told = next((found[key] for key in ("Weights", "ConvWeights") if isinstance(found.get(key), dict)), None)
    shown = "" if told is None else _text(told.get("Type", ""), f"{where}.Weights.Type")
    return (type_of(shown),) if shown else ()


def type_of(shown: str) -> str:
    """One word for a type, of any of the inspector's: "Row major linear FP32", "Half", "Thirty-two wide channel
    vectorized row major Int8 format"; "" where it tells none."""
    return next((name for name, words in _TYPE if words.search(shown)), "")


def _of_metadata(metadata: str) -> tuple[str, ...]:
    """The nodes of `[ONNX Layer: a]\\x1e[ONNX Layer: b]`, in time linear in the text: whoever wrote it."""
    records = [(part, _END.search(part)) for part in metadata.split(_RECORD)[1:]]
    return tuple(part[: end.start()] for part, end in records if end is not None)


def _of_name(name: str) -> tuple[str, ...]:
    """The nodes that the name of a layer is made of, where no metadata tells them: `a + PWN(b, c) || d`."""
    if name.startswith("Reformatting CopyNode"):
        return ()
    inside = re.findall(r"ForeignNode\[(.*?)\.\.\.(.*?)\]\}", name)
    parts = [part for row in inside for part in row]
    for part in re.split(r" \+ | \|\| ", name):
        whole = part.strip()
        bare = _unwrapped(whole)
        parts += [bare, *re.split(r", |(?<![A-Z])[A-Z]{3,}\(|\)", bare)] if bare != whole else [bare]
    return tuple(dict.fromkeys(part for part in (name, *parts) if part))


def _unwrapped(text: str) -> str:
    """`a` of `PWN(PWN(a))`."""
    opened = _WRAPPED.match(text)
    ends = [each.end() for each in _WRAPPER.finditer(opened[0])] if opened is not None else []
    depth = min(len(ends), len(text) - len(text.rstrip(")")))
    return text[ends[depth - 1] : len(text) - depth] if depth else text


# --- what a layer computes in -----------------------------------------------------------------------------------------

_PAIR = re.compile(r"(?<![a-z0-9])((?:tf32|bf16|e4m3|e5m2|e2m1|i8|i4|u8|f8|f16|f32){2})(?=_)")
_SHORT = {"i8": "int8", "u8": "int8", "i4": "int4", "e2m1": "fp4", "f16": "fp16", "bf16": "bf16", "f32": "fp32"}
_SHORT |= {"e4m3": "fp8", "e5m2": "fp8", "f8": "fp8", "tf32": "fp32"}
_TACTICS = (
    ("int8", re.compile(r"int8x4|_int8_|i8816|i16832|icudnn|imma")),
    ("fp8", re.compile(r"_fp8_|qmma|e4m3")),
    ("fp16", re.compile(r"hmma|h884|h1688|h16816|hcudnn|f16f16")),
    ("fp32", re.compile(r"scudnn|sgemm|s1688|tf32")),
)


def _by_pair(tactic: str) -> tuple[str, str] | None:
    """What a kernel reads and writes, as `.._i8f16_..` in its name tells."""
    found = _PAIR.search(tactic.lower())
    if found is None:
        return None
    words = re.findall(r"tf32|bf16|e4m3|e5m2|e2m1|i8|i4|u8|f8|f16|f32", found[1])
    return (_SHORT[words[0]], _SHORT[words[1]]) if len(words) == 2 else None


def tactic_type(tactic: str) -> str:
    """What a kernel multiplies, by its name; "" where that tells nothing."""
    pair = _by_pair(tactic)
    if pair is not None:
        return pair[0]
    return next((name for name, words in _TACTICS if words.search(tactic.lower())), "")


@dataclass(frozen=True)
class Verdict:
    """What became of one node: `layer` computes it ("": none), `share` is that layer's part of the measured time."""

    node: str
    op: str
    expect: str
    verdict: str
    layer: str = ""
    because: str = ""
    share: float | None = None
    waived: str = ""

    @property
    def passes(self) -> bool:
        """Whether nothing was lost: it survived, the recipe waives it, or the engine has no need of a node without
        weights. UNKNOWN never passes."""
        spared = self.verdict == ELIMINATED and self.op not in _WEIGHTED
        return self.kept or spared or (bool(self.waived) and self.verdict != UNKNOWN)

    @property
    def kept(self) -> bool:
        """Whether it computes in what it was planned in."""
        return self.verdict in KEPT[self.expect]


Told = tuple[str, str]  # a verdict, and why


def _judged(
    asked: Asked, layers: Sequence[Layer], holes: Sequence[str] | None, blocks: Sequence[Layer]
) -> tuple[Told, Layer | None]:
    """One node by the layers that name it: by the worst of those that compute it."""
    working = [layer for layer in layers if not layer.idle]
    if not working:
        return _absent(holes, blocks), next(iter(layers), None)
    heavy = [layer for layer in working if layer.multiplies] if asked.weighted else []
    if asked.weighted and not heavy:
        return _generated(working, holes), working[0]
    judge = _multiplied if heavy else _passed_on
    told = [(judge(layer), layer) for layer in heavy or working]
    return min(told, key=lambda each: _WORST_FIRST.index(each[0][0]))


def _absent(holes: Sequence[str] | None, blocks: Sequence[Layer]) -> Told:
    if blocks:
        return UNKNOWN, f"no layer names it; it may be inside {_shown(blocks[0].name)}"
    if holes is None:
        return UNKNOWN, "no layer names it, and the file does not tell whether it is whole"
    if holes:
        return UNKNOWN, f"no layer names it, and one is missing: none writes {_shown(holes[0])}"
    return ELIMINATED, "no layer computes it"


def _generated(layers: Sequence[Layer], holes: Sequence[str] | None) -> Told:
    """A node with weights that only layers name which multiply by none: generated kernels."""
    types = {each.type for layer in layers for each in (*layer.inputs, *layer.outputs)}
    if holes or "" in types or types.intersection(_NARROW):
        return UNKNOWN, "a generated kernel, which does not tell what it multiplies"
    return DROPPED, f"a generated kernel on {_listed(types)}"


def _multiplied(layer: Layer) -> Told:
    """Of a layer that multiplies."""
    if layer.block:
        return UNKNOWN, "a block that does not tell what its nodes compute in"
    by_name, by_types = tactic_type(layer.tactic), _by_types(layer)
    real = "float" if by_types in ("weights", *_FLOATS) else by_types
    if by_name and real and real != ("float" if by_name in _FLOATS else by_name):
        return UNKNOWN, f"the kernel's name says {by_name}, its tensors say {by_types}: {layer.tactic[:80]}"
    computes = by_types or by_name
    if not computes:
        return UNKNOWN, _untold(layer)
    if computes == "weights":
        return WEIGHT_ONLY, f"reads integer weights, multiplies {layer.inputs[0].type}"
    if computes not in ("int8", "fp8"):
        return DROPPED, f"multiplies {computes}"
    why = f"multiplies {computes}" if by_types else f"multiplies {computes}, by the kernel's name alone"
    if computes == "fp8":
        return FP8, why
    written = _written(layer)
    return (INT8, why) if written in ("int8", "") else (INT8_IN_FLOAT_OUT, f"{why}, writes {written}")


def _by_types(layer: Layer) -> str:
    """What it multiplies by the types of its tensors: "int8", "fp8", a float type, "weights" for integer weights beside
    floats; "" where they do not tell."""
    values = [each.type for each in layer.inputs]
    narrow = [each for each in layer.weights if each in _NARROW]
    if not values or "" in values:
        return ""
    read = values[0]
    if _MYELIN.search(layer.kind):
        read = next((each for each in values if each in _NARROW), read)
    if re.search(r"fusion", layer.kind, re.I) and read in _NARROW:
        return ""
    if read not in _NARROW:
        return "weights" if narrow else read
    return read if narrow or (not layer.weights and values.count(read) > 1) else ""


def _untold(layer: Layer) -> str:
    shown = [each.shown for each in (*layer.inputs, *layer.outputs) if not each.type]
    if any("dynamic" in each for each in shown):
        return "its types are not told: N/A due to dynamic shapes; export layers of a run with `--shapes`"
    if shown:
        return f"the type of a tensor is not told: {_shown(shown[0])}"
    return f"reads {_listed({each.type for each in layer.inputs})}, and nothing tells what it multiplies that by"


def _written(layer: Layer) -> str:
    """The type that goes out; "" where it is not told, or not decided before a kernel is chosen on the GPU."""
    if "CASK_STUB" in layer.tactic:
        return ""
    types = [each.type for each in layer.outputs]
    if types and all(types):
        return next((each for each in types if each != "int8"), "int8")
    pair = _by_pair(layer.tactic)
    return pair[1] if pair is not None else ""


def _passed_on(layer: Layer) -> Told:
    """Of a node without weights, by what its layer reads and writes. In a layer that multiplies too, the
    first thing read is what that multiplies."""
    if layer.block:
        return UNKNOWN, "a block that does not tell what its nodes compute in"
    values = [each.type for each in layer.inputs]
    if not values or "" in values:
        return UNKNOWN, _untold(layer)
    own = values[1:] if layer.multiplies and len(values) > 1 else values
    kinds = set(own)
    if kinds <= {"int8"} or kinds <= {"fp8"}:
        written = _written(layer)
        verdict = FP8 if kinds == {"fp8"} else INT8 if written in ("int8", "") else INT8_IN_FLOAT_OUT
        return verdict, f"reads {_listed(kinds)}, writes {written or 'what is not told'}"
    if kinds.intersection(_NARROW) and not layer.multiplies:
        return UNKNOWN, f"reads {_listed(kinds)}, of which not all is its own"
    return DROPPED, f"reads {_listed(kinds - {'int8'})}"


# --- what runs beside the nodes ---------------------------------------------------------------------------------------


def _stands_alone(layer: Layer, pairs: frozenset[str]) -> bool:
    """Whether it only quantizes or dequantizes."""
    if layer.origin:
        return layer.origin == "QDQ"
    if len(layer.inputs) != 1 or len(layer.outputs) != 1 or layer.multiplies or not layer.nodes:
        return False
    sides = [layer.inputs[0].type, layer.outputs[0].type]
    one_side = all(sides) and (sides[0] in _NARROW) != (sides[1] in _NARROW)
    return one_side and (layer.kind == "Reformat" or pairs.issuperset({*layer.nodes} - {layer.name} or {layer.name}))


def _converts(layer: Layer) -> bool:
    """Whether it is a reformatting that changes a type."""
    sides = {each.type for each in layer.inputs}, {each.type for each in layer.outputs}
    return layer.kind == "Reformat" and "" not in sides[0] | sides[1] and sides[0] != sides[1]


# --- the profile ------------------------------------------------------------------------------------------------------

# One entry as trtexec writes it: the name stands as it is, with its quotes and backslashes, and a time may be `nan`.
_ENTRY = re.compile(r',?\s*\{ "name" : "(.*)", "timeMs" : (\S+), "averageMs" : ([^\s,]+).*\}\s*', re.S)
_RUNS = re.compile(r'\{ "count" : (\d{1,12}) \}')


@dataclass(frozen=True)
class LayerTimes:
    """What `--exportProfile` tells: over how many runs, and each layer's mean in milliseconds (NaN: not told)."""

    runs: int
    layers: tuple[tuple[str, float], ...]

    @property
    def ranks(self) -> bool:
        return self.runs >= FEW_RUNS

    @cached_property
    def total(self) -> float:
        return math.fsum(time for _, time in self.layers if time == time)

    @cached_property
    def by_name(self) -> Mapping[str, Sequence[float]]:
        found: dict[str, list[float]] = {}
        for name, time in self.layers:
            found.setdefault(name, []).append(time)
        return found

    def share(self, layer: Layer) -> float | None:
        own = self.by_name.get(layer.name, ())
        known = layer.place < len(own) and own[layer.place] == own[layer.place] and self.total > 0
        return own[layer.place] / self.total if known else None


def read_profile(text: str) -> LayerTimes:
    """Raises WrongInputError."""
    runs = _RUNS.search(text)
    if runs is None:
        return _plain_profile(_json(text))
    entries = re.split(r"\n(?=,? *\{ \"name\")", text[runs.end() :].rstrip().removesuffix("]"))[1:]
    found = [_ENTRY.fullmatch(part) if part.rstrip().endswith("}") else None for part in entries]
    bad = next((at for at, each in enumerate(found) if each is None), None)
    if bad is not None or not text.rstrip().endswith("]"):
        raise WrongInputError(f"entry {len(found) if bad is None else bad + 1} cannot be read: is the file cut off?")
    layers = tuple((each[1], _milliseconds(each[3])) for each in found if each is not None)
    return _profile(int(runs[1]), layers)


def _plain_profile(found: Any) -> LayerTimes:
    """The same, written by something that knows JSON."""
    rows = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    runs = next((each["count"] for each in rows if isinstance(each.get("count"), int)), -1)
    times = [
        (_text(each["name"], "name"), _milliseconds(str(each.get("averageMs")))) for each in rows if "name" in each
    ]
    return _profile(runs, tuple(times))


def _profile(runs: int, layers: tuple[tuple[str, float], ...]) -> LayerTimes:
    if runs < 0 or not layers:
        raise WrongInputError("it is no profile: expected what `trtexec --exportProfile` writes, a count and layers")
    return LayerTimes(runs, layers)


def _milliseconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        raise WrongInputError(f"{_shown(text)} is no time") from None
    return found if 0 <= found < math.inf else math.nan


# --- all of it --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Examined:
    """`verdicts` of planned nodes in graph order; `standalone` Q/DQ that run as layers of their own, without those of
    the graph's `boundary`; `reformats` change a type; `aside` is the part of the measured time that all of these take,
    None where nothing was measured. `notes` is what is odd, or must not be concluded."""

    form: str
    verdicts: tuple[Verdict, ...]
    standalone: tuple[str, ...]
    boundary: tuple[str, ...]
    reformats: tuple[str, ...]
    aside: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        return all(each.passes for each in self.verdicts)


def examine(manifest: Manifest, dump: Dump, times: LayerTimes | None = None) -> Examined:
    """Raises WrongInputError where the layers are those of another model."""
    by_node: dict[str, list[Layer]] = {}
    for layer in dump.layers:
        for node in dict.fromkeys(layer.nodes):
            by_node.setdefault(node, []).append(layer)
    _require_same_model(manifest, dump, by_node)
    blocks = [layer for layer in dump.layers if layer.block]
    holes = None if dump.bindings is None else dump.holes
    verdicts = []
    for asked in manifest.planned:
        (verdict, because), by = _judged(asked, by_node.get(asked.node, ()), holes, blocks)
        share = None if times is None or by is None else times.share(by)
        name = "" if by is None else by.name
        verdicts.append(Verdict(asked.node, asked.op, asked.expect, verdict, name, because, share, asked.waived))
    pairs = frozenset(name for each in manifest.nodes for name in each.pairs).union(manifest.boundary)
    alone = [layer for layer in dump.layers if _stands_alone(layer, pairs)]
    ends = frozenset(manifest.boundary)
    outer = tuple(layer.name for layer in alone if ends.intersection(layer.nodes))
    inner = tuple(layer.name for layer in alone if not ends.intersection(layer.nodes))
    kept = {(layer.name, layer.place) for layer in alone}
    converting = [layer for layer in dump.layers if (layer.name, layer.place) not in kept and _converts(layer)]
    reformats = tuple(layer.name for layer in converting)
    shares = [] if times is None else [times.share(layer) or 0.0 for layer in (*alone, *converting)]
    aside = None if times is None else min(1.0, math.fsum(shares))
    notes = (*_otherwise(manifest, by_node), *_of_times(dump, times), *_of_layers(dump))
    return Examined(dump.form, tuple(verdicts), inner, outer, reformats, aside, notes)


def _require_same_model(manifest: Manifest, dump: Dump, by_node: Mapping[str, Sequence[Layer]]) -> None:
    nodes = manifest.planned
    known = sum(each.node in by_node for each in nodes)
    blocks = any(layer.block for layer in dump.layers)
    if nodes and 2 * known < len(nodes) and not (blocks and known):
        words = (
            f"its layers name {known} of the {len(nodes)} planned nodes of {_shown(manifest.model or 'the manifest')}"
        )
        raise WrongInputError(f"it seems to be of another model: {words}")


def _otherwise(manifest: Manifest, by_node: Mapping[str, Sequence[Layer]]) -> Iterable[str]:
    """Nodes that were to stay in floats and multiply int8."""
    for asked in manifest.nodes:
        if asked.expect in KEPT or not asked.weighted:
            continue
        (verdict, because), _ = _judged(asked, by_node.get(asked.node, ()), (), ())
        if verdict in (INT8, INT8_IN_FLOAT_OUT, FP8):
            yield f"{_shown(asked.node)} was planned in {asked.expect}, and {because}"


def _of_times(dump: Dump, times: LayerTimes | None) -> Iterable[str]:
    if times is None:
        return
    if not times.ranks:
        runs = "1 run" if times.runs == 1 else f"{times.runs} runs"
        yield f"the profile is of {runs}: shares are given, and say nothing of which layer takes longest"
    known = {layer.name for layer in dump.layers}
    foreign = [name for name, _ in times.layers if name not in known]
    if foreign:
        yield f"{len(foreign)} of the profile's {len(times.layers)} layers are not among these: {_shown(foreign[0])}"
    if any(time != time for _, time in times.layers):
        yield "the profile gives no time for some layers"


def _of_layers(dump: Dump) -> Iterable[str]:
    if dump.bindings is not None and dump.holes:
        yield f"layers are missing: none writes {_shown(dump.holes[0])}"
    profiles = {layer.profile for layer in dump.layers}
    if len(profiles) > 1:
        yield f"the engine has {len(profiles)} optimization profiles: a verdict is the worst of them"
    stubs = sum("CASK_STUB" in layer.tactic for layer in dump.layers)
    if stubs:
        yield f"{stubs} kernels are chosen on the GPU: what they write is not decided yet"


# --- files and words --------------------------------------------------------------------------------------------------


def _json(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].strip()
        told = "it ends in the middle" if not rest else f"line {error.lineno}: {error.msg}"
        raise WrongInputError(f"it is not JSON: {told if text.strip() else 'it is empty'}") from None
    except RecursionError:
        raise WrongInputError("it is not JSON: it is nested too deeply") from None
    except ValueError as error:
        raise WrongInputError(f"it is not JSON: {error}") from None


def _rows(found: Any, where: str) -> list[Any]:
    if not isinstance(found, list):
        raise WrongInputError(f"{where}: expected a list")
    return found


def _text(found: Any, where: str) -> str:
    if not isinstance(found, str):
        raise WrongInputError(f"{where}: expected a text, found {str(found)[:40]!r}")
    return found


def _shown(name: str) -> str:
    plain = "".join(sign if sign.isprintable() else "?" for sign in name)
    return f"`{plain if len(plain) <= 100 else plain[:97] + '...'}`"


def _listed(types: Iterable[str]) -> str:
    return " and ".join(sorted(each or "?" for each in types)) or "nothing"


def opened(path: str) -> str:
    """The text of a file. Raises WrongInputError."""
    try:
        if Path(path).stat().st_size > LARGEST:
            raise WrongInputError(f"it is larger than {LARGEST >> 20} MiB")
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WrongInputError("it is no text in UTF-8") from None
    except OSError as error:
        raise WrongInputError(error.strerror or "it cannot be read") from None


def table(found: Examined) -> str:
    """What people read."""
    rows = [("node", "verdict", "share", "why")]
    for each in found.verdicts:
        mark = "" if each.passes else " (!)"
        why = each.because + (f"; waived: {each.waived}" if each.waived and not each.kept else "")
        share = "" if each.share is None else f"{100 * each.share:.1f} %"
        rows.append((_shown(each.node)[1:-1], each.verdict + mark, share, _plain(why)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join(part.ljust(width) for part, width in zip(row, (*widths, 0), strict=True)).rstrip() for row in rows
    ]
    counts = Counter(each.verdict for each in found.verdicts)
    lines += [
        "",
        f"{len(found.verdicts)} planned nodes: " + ", ".join(f"{count} {name}" for name, count in counts.items()),
    ]
    for title, names in (
        ("Q/DQ that run as layers of their own", found.standalone),
        ("Q/DQ of the graph's boundary, as expected", found.boundary),
        ("reformats that change a type", found.reformats),
    ):
        more = f", and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
        lines += [f"{len(names)} {title}: " + ", ".join(map(_shown, names[:_MOST_SHOWN])) + more] if names else []
    if found.aside:
        lines.append(f"these take {100 * found.aside:.1f} % of the time")
    return "\n".join([*lines, *(f"note: {_plain(note)}" for note in found.notes)])


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def document(found: Examined) -> str:
    """The same for machines."""
    plain = asdict(found)
    for each, told in zip(plain["verdicts"], found.verdicts, strict=True):
        each["passes"] = told.passes
    return json.dumps({"passes": found.passes, **plain}, indent=1)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What became of a model's quantization in a TensorRT engine.")
    parser.add_argument("--manifest", required=True, metavar="FILE", help="quant_manifest.json, beside the model")
    parser.add_argument("--layers", required=True, metavar="FILE", help="what `trtexec --exportLayerInfo` wrote")
    parser.add_argument("--profile", metavar="FILE", help="what `trtexec --exportProfile` wrote of the same engine")
    parser.add_argument("--json", action="store_true", help="tell it as JSON")
    args = parser.parse_args(words)
    path = args.manifest
    try:
        manifest = read_manifest(opened(path))
        path = args.layers
        dump = read_layers(opened(path))
        path = args.profile or path
        times = read_profile(opened(path)) if args.profile else None
        path = args.layers
        found = examine(manifest, dump, times)
    except WrongInputError as error:
        print(f"{_plain(path)}: {error}", file=sys.stderr)
        return 1
    print(document(found) if args.json else table(found))
    return 0 if found.passes else 4


if __name__ == "__main__":
    sys.exit(main())
