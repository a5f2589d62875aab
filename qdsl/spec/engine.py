"""What was asked of an engine that is built of a file elsewhere, and what it turned out to compute, node by node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# What becomes of a node in a built engine. Nothing but the first four counts as survived; UNKNOWN never does.
INT8 = "INT8"  # multiplies int8 by int8
INT8_IN_FLOAT_OUT = "INT8_IN_FLOAT_OUT"  # the same, and the QuantizeLinear behind it was not fused
FP8 = "FP8"
WEIGHT_ONLY = "WEIGHT_ONLY"  # reads integer weights, multiplies floats
DROPPED = "DROPPED"  # computes in floats
ELIMINATED = "ELIMINATED"  # stands in no layer
UNKNOWN = "UNKNOWN"
VERDICTS = (INT8, INT8_IN_FLOAT_OUT, FP8, WEIGHT_ONLY, DROPPED, ELIMINATED, UNKNOWN)

# What a node may turn out to be, by what it was planned in: then it survived. Others were planned in floats.
KEPT: Mapping[str, tuple[str, ...]] = {
    "int8": (INT8, INT8_IN_FLOAT_OUT),
    "fp8": (FP8,),
    "weights": (WEIGHT_ONLY, INT8, INT8_IN_FLOAT_OUT, FP8),
}

# Where an examination ended: the parser refused the file, the builder did, an engine was built, or nobody knows (the
# process died or ran too long).
PARSE, BUILD, BUILT, UNDECIDED = "parse", "build", "built", "undecided"


@dataclass(frozen=True, slots=True)
class EngineVerdict:
    """What became of one node. `layer` is the engine's layer that computes it ("": none), `because` why the verdict is
    so, in a few words, `share` the part of the measured time that the layer takes, from 0 to 1, None where nothing was
    measured. `holds_elsewhere`: nothing is known to make another builder of TensorRT decide otherwise."""

    verdict: str
    layer: str = ""
    because: str = ""
    share: float | None = None
    holds_elsewhere: bool = True


@dataclass(frozen=True, slots=True)
class EngineRefusal:
    """A node that the parser or the builder refuses, and its words. `node` is "" where they name none."""

    node: str
    text: str
    function: str = ""


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """What was seen of an engine. `source` says of which software and how ("TensorRT-RTX 1.7.1.116, sm86, built without
    a GPU"), `stage` is where it ended; `verdicts` are by name of the file's nodes, in graph order. `standalone` are
    Q/DQ and conversions that run as layers of their own. `warnings` are the parser's. `notes` is what must not be
    concluded from it. `reason`: why nothing is known, where nothing is."""

    source: str
    stage: str
    verdicts: Mapping[str, EngineVerdict] = field(default_factory=dict)
    refused: tuple[EngineRefusal, ...] = ()
    standalone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    warnings: tuple[str, ...] = ()


# --- the manifest -----------------------------------------------------------------------------------------------------

MANIFEST_FORMAT = 1
QUANT_MANIFEST = "quant_manifest.json"


@dataclass(frozen=True, slots=True)
class ManifestPair:
    """Q and DQ before one input port of a node. `quantize` is "" where the integers are stored. `scale` has one value,
    or one per channel along `axis`, or per block of `block` along it."""

    port: int
    tensor: str
    quantize: str
    dequantize: str
    type: str
    scale: tuple[float, ...]
    axis: int | None = None
    block: int | None = None


@dataclass(frozen=True, slots=True)
class ManifestNode:
    """One node of the emitted file that the plan speaks of. `expect` is what it has to compute in: "int8", "fp8",
    "weights" (integer weights beside floats), "float16" or "float32". `because` says why, `line` which line of the
    recipe; `waived` is the reason that an `allow` of the recipe gives for a node that may part from it, "" for none."""

    node: str
    op: str
    expect: str
    because: str
    line: str
    pairs: tuple[ManifestPair, ...] = ()
    waived: str = ""


@dataclass(frozen=True, slots=True)
class QuantManifest:
    """`quant_manifest.json`, beside an emitted model: what to hold an engine against. `version` and `device` are the
    recipe's ("" for none), `capability` is the compute capability that its kernels need: the device's ("8.7"), without
    one the least that runs the file's types, "" where any does. `typing` is "weak" or "strong"; `boundary` are the Q
    nodes that have to stand alone, since they read a graph input or a value that no layer writes in integers. `nodes`
    are in graph order."""

    format: int
    qdsl: str
    recipe: str
    model: str
    sha256: str
    version: str
    device: str
    typing: str
    nodes: tuple[ManifestNode, ...]
    boundary: tuple[str, ...] = ()
    capability: str = ""
