"""What reports of ST Edge AI Core say, as data: each figure is ST's own, of ST's own C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, TypeVar

from qdsl.spec.bounds import Count, Many, Number, OneOf, Text, UnfitError, shown
from qdsl.spec.decode import decode

T = TypeVar("T")

INTEGER, FLOAT, MIXED, UNKNOWN = "integer", "float", "mixed", "unknown"
MOST = 100_000  # nodes, buffers, lines
Name = Annotated[str, Text(1000)]
Amount = Annotated[float, Number(-1e18, 1e18)]
Seconds = Annotated[float, Number(0.0, 1e6)]


@dataclass(frozen=True, slots=True)
class NodeTold:
    """One node of ST's C. `runs`: in what it computes, "mixed" for what turns one into the other; `functions` are those
    that it calls, where they are told; `original` what it was made of."""

    name: Name
    type: Name
    macc: Count | None = None
    runs: Annotated[str, OneOf((INTEGER, FLOAT, MIXED, UNKNOWN))] = UNKNOWN
    functions: Annotated[tuple[Name, ...], Many(most=MOST)] = ()
    duration: Annotated[float, Number(0.0, 1.0)] | None = None


@dataclass(frozen=True, slots=True)
class ScoreTold:
    """A line of what `validate` measured: `label` says what was held against what ("X-cross #1": ST's C against the
    model), None is a figure that it does not tell. `acc` is a share."""

    label: Name
    tensor: Name = ""
    acc: Annotated[float, Number(0.0, 1.0)] | None = None
    rmse: Amount | None = None
    mae: Amount | None = None
    l2r: Amount | None = None
    mean: Amount | None = None
    std: Amount | None = None
    nse: Amount | None = None
    cos: Amount | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What reports of one run say; None, "" and () is what they do not. Sizes in bytes: `weights` and `activations` of
    the network, `inputs` and `outputs` what lies outside the activations, `flash` and `ram` all of it with the runtime,
    `runtime_flash` and `runtime_ram` that alone. `scheme` is how the model is quantized, in ST's words. `seconds` and
    `cycles` are of one inference on `device`. `power` are estimates by name, in whatever unit they are told. `overlaps`
    says which buffers lie over each other while both are in use, None where the plan is not told; `in_place` counts
    those that a node writes over what it reads, which is meant to be so."""

    version: Annotated[str, Text(300, filled=True)]
    command: Name = ""
    series: Name = ""
    model: Name = ""
    model_hash: Name = ""
    scheme: Name = ""
    macc: Count | None = None
    weights: Count | None = None
    activations: Count | None = None
    inputs: Count | None = None
    outputs: Count | None = None
    flash: Count | None = None
    ram: Count | None = None
    runtime_flash: Count | None = None
    runtime_ram: Count | None = None
    nodes: Annotated[tuple[NodeTold, ...], Many(most=MOST)] = ()
    scores: Annotated[tuple[ScoreTold, ...], Many(most=1000)] = ()
    samples: Count | None = None
    seconds: Seconds | None = None
    cycles: Count | None = None
    device: Name = ""
    power: Annotated[Mapping[str, Amount], Many(most=1000)] = field(default_factory=dict)
    in_place: Count | None = None
    overlaps: Annotated[tuple[Name, ...], Many(most=1000)] | None = None

    @property
    def release(self) -> str:
        """The version without the number of its build: `4.0.0`."""
        return self.version.split()[0].split("-")[0]

    def counted(self, runs: str) -> int:
        """How many nodes compute in that."""
        return sum(each.runs == runs for each in self.nodes)


def picked(kind: type[T], data: Any, where: str) -> T:
    """A dataclass out of those keys of an object that it has: other versions of the tool write others, too. What has a
    default may be missing. Raises UnfitError with the path."""
    if not isinstance(data, dict):
        raise UnfitError(f"expected an object, found {shown(data)}", where)
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return decode(kind, {name: value for name, value in data.items() if name in known}, where, defaults=True)


def listed(data: Any, where: str) -> list[Any]:
    """A list of at most `MOST` entries. Raises UnfitError."""
    if not isinstance(data, list):
        raise UnfitError(f"expected a list, found {shown(data)}", where)
    if len(data) > MOST:
        raise UnfitError(f"expected at most {MOST} entries, found {len(data)}", where)
    return data
