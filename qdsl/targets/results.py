"""What emitting and verifying return, whatever the target. Plain data, loaded without numpy or a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdsl.diag import QdslError, Span
from qdsl.spec.arena import Arena
from qdsl.spec.bounds import Count, Figure
from qdsl.spec.emulated import Emulated, Memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

# dB of an output as it runs against the artifact's own arithmetic: below this a kernel computes something else. What
# fused kernels round otherwise costs less (a third of a step of uint8 outputs is about 50 dB).
FLOOR_DB = 43.0
MANIFEST_FILE = "manifest.json"  # beside every artifact


class FloatModelError(QdslError):
    """The float model does not run on the samples that the artifact was to be compared on."""


@dataclass(frozen=True, slots=True)
class NotHere:
    """What a target does not do on this machine (there is no board, no such GPU). `why` in words that follow "not
    verified here: ". It is no result: nothing that stands on one counts as known, and no budget as held."""

    why: str


@dataclass(frozen=True, slots=True)
class Built:
    """What the device runs, made of an artifact and timed on this machine: the files about it stand in `directory`.
    `by` says what built it and on which GPU, `device` is that GPU's name; `problem` why it is not there, or not timed,
    "" where it is."""

    directory: Path
    by: str
    device: str
    seconds: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Operand:
    """A factor of integer products. `dtype` is "int8" or "uint8"; `codes` are its integers, None where they are
    computed; `turned` whether products are added along the last axis of a matrix. `zero` and `scale` have one value or
    one per channel, and are None where they are computed or there are none; `one_zero` whether one zero point is known
    to hold for all integers."""

    dtype: str
    codes: NDArray[Any] | None = None
    turned: bool = False
    zero: NDArray[Any] | None = None
    scale: NDArray[Any] | None = None
    one_zero: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """What an integer kernel multiplies: `data` by `weight`, whichever of them are constants. `node` is the one that it
    stands for, `groups` are those of a convolution."""

    node: str
    kernel: str
    data: Operand
    weight: Operand
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Ran:
    """What runs for one node. `runs` is "integer", "float", "float16" (reads it, with no Cast before), "absorbed"
    (nothing of its own runs: it was folded into a neighbour's integer kernel or removed) or "moves" (no float data to
    quantize: shapes, indices). `kernel` is the operator that runs, "" when none does. `rounded`: it runs in float, on a
    weight that the file stores in float and the runtime made integers of."""

    runs: str
    kernel: str
    rounded: bool = False


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """Milliseconds that each node of the float graph takes in a build, the least of some runs, by name; nodes that were
    fused into others or cost nothing have none. `each_quantize` and `each_dequantize` are those of one element that is
    turned into an integer or back, None where the build does none worth timing. `total` is of all kernels, conversions
    among them; running the build takes longer."""

    nodes: Mapping[str, float]
    each_quantize: float | None = None
    each_dequantize: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class EmittedFile:
    """A file of an artifact: its name inside the target's directory, its bytes, their SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """An artifact on disk. `model` is what is loaded of it, `manifest` says what it is; `files` are all but the
    manifest, the model first; `size` is their sum in bytes (what `require size` speaks of); `refused` names what could
    not be placed as the plan says, with the reason; `rewrites` are how often each rule of the emitter changed the
    graph, and `left` what its lowerings left alone: (pass, node, reason). What a target's kind of file has beside that
    stands in a class of its own. `span` is the place in the recipe that names the float model."""

    directory: Path
    model: Path
    manifest: Path
    files: tuple[EmittedFile, ...]
    predicted_size: int = 0
    refused: tuple[tuple[str, str], ...] = ()
    rewrites: tuple[tuple[str, int], ...] = ()
    left: tuple[tuple[str, str, str], ...] = ()
    span: Span | None = None

    @property
    def size(self) -> int:
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Fidelity:
    """One tensor of the artifact held against the float model's. `node` writes it ("" for a graph input).

    `sqnr_db` is 10 log10(sum x^2 / sum (x - y)^2) over all samples: infinite when equal, None when the two cannot be
    compared (other shapes, NaN). `cosine` is of the flattened tensors, None likewise or when one is all zero.
    """

    tensor: str
    node: str
    sqnr_db: Figure | None
    cosine: Figure | None
    largest_error: Figure | None
    samples: Count


@dataclass(frozen=True, slots=True)
class KernelCount:
    """How many nodes of the float model the plan says run in `kernel`, and how many do."""

    kernel: str
    predicted: int
    real: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A node that does not run as predicted."""

    node: str
    op: str
    predicted: str
    real: str


# What kernels of their own may cost an output, beside what quantization does. Measured on x86-64 with AVX2 and without
# VNNI: rounding in another order costs MobileNetV1x0.25 1.3 dB on two pictures (the runtime's exact option gives the
# same outputs to the bit), saturating sums cost YOLOv8n 5.5 dB.
LOST_DB = 2.0


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """One output of the artifact, three ways (measured, on this machine): `planned_db` is the SQNR of the file's own
    arithmetic against the float model, `here_db` that of the kernels as they run here, `apart_db` that of the second
    against the first. None where the two cannot be compared."""

    output: str
    planned_db: float | None
    here_db: float | None
    apart_db: float | None
    samples: int

    @property
    def equal(self) -> bool:
        """To the bit."""
        return self.apart_db == inf

    @property
    def differs(self) -> bool:
        """The kernels compute something else than the file says, and the output is worse for it."""
        if self.apart_db is None or self.apart_db >= FLOOR_DB:
            return False
        if self.planned_db is None or self.here_db is None:
            return True
        return self.here_db < self.planned_db - LOST_DB


@dataclass(frozen=True, slots=True)
class Parting:
    """A tensor inside the graph in which the artifact as it runs leaves the arithmetic of its file."""

    tensor: str
    sqnr_db: float | None


@dataclass(frozen=True, slots=True)
class Verification:
    """The artifact run beside the float model (measured, on this machine).

    `outputs` over `samples` calibration samples; `layers` are the tensors inside the graph that can be compared, in
    graph order, and `worst` the five of lowest SQNR among them, over `layer_samples`; `kernels` counts nodes that run
    in integers, by operator; `widened` those that take integer weights and multiply floats; `op_counts` are the nodes
    of the graph that really runs. `source` is where the samples come from: the name of a dataset, or "drawn inputs"
    (uniform from 0 to 1) where a build needs no data and the recipe has none; "" for none. `arithmetic` holds the
    outputs against the file's own arithmetic, over `layer_samples`; `partings` are the first tensors that leave it,
    where an output is worse for it. `unordered` are the outputs that are compared in neither way, since scores choose
    their rows or they number things, each with why; where they are chosen from floats, these stand among `arithmetic`.
    `kernels_read` is False where nothing could tell which kernels run, and `unseen` says who could: then nothing is
    known to be as predicted. `emulated` is what its C did on an emulated core, None where there is none or it was
    not run; `not_emulated` says then why. `arena` is where its tensors lie, None where the runtime sees to that,
    `memory` what the linker will make of that C, where it is foreseen, `macc` what it computes as ST's tool counts.
    """

    samples: int
    layer_samples: int
    outputs: tuple[Fidelity, ...]
    worst: tuple[Fidelity, ...]
    kernels: tuple[KernelCount, ...]
    mismatches: tuple[Mismatch, ...]
    op_counts: tuple[tuple[str, int], ...]
    source: str = ""
    layers: tuple[Fidelity, ...] = ()
    arithmetic: tuple[Arithmetic, ...] = ()
    partings: tuple[Parting, ...] = ()
    widened: tuple[KernelCount, ...] = ()
    kernels_read: bool = False
    unseen: str = ""
    unordered: tuple[tuple[str, str], ...] = ()
    emulated: Emulated | None = None
    not_emulated: str = ""
    arena: Arena | None = None
    memory: Memory | None = None
    macc: int | None = None

    @property
    def as_predicted(self) -> bool:
        """Whether every node was seen to run as the plan says; False, too, where none was looked at."""
        return self.kernels_read and not self.mismatches

    @property
    def exact(self) -> bool:
        """No output is worse than the arithmetic of the file says; True, too, where nothing was compared."""
        return not any(found.differs for found in self.arithmetic)
