"""An engine by what its inspector wrote on the machine that has it, held against what was planned.

`qdsl.targets.tensorrt.scripts.verify_engine` reads and judges: it goes beside an emitted model, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qdsl.spec.engine import BUILT, EngineSeen, EngineVerdict, ManifestPair, QuantManifest
from qdsl.targets.tensorrt.scripts.verify_engine import (
    FEW_RUNS,
    Asked,
    Dump,
    Examined,
    Manifest,
    Verdict,
    examine,
    opened,
    read_layers,
    read_profile,
)

__all__ = [
    "FEW_RUNS",
    "Asked",
    "Dump",
    "Examined",
    "Manifest",
    "Verdict",
    "examine",
    "opened",
    "read_layers",
    "read_profile",
]


def asked_of(manifest: QuantManifest) -> Manifest:
    """What of a manifest an engine is held against."""
    nodes = (
        Asked(each.node, each.op, each.expect, each.waived, tuple(filter(None, _names(each.pairs))))
        for each in manifest.nodes
    )
    return Manifest(manifest.model, tuple(nodes), manifest.boundary)


def _names(pairs: Iterable[ManifestPair]) -> Iterator[str]:
    for pair in pairs:
        yield pair.quantize
        yield pair.dequantize


def inspected(manifest: Manifest, layers: str, profile: str | None = None) -> Examined:
    """What the text of an inspector's JSON, and of a profile, say of planned nodes. Raises ValueError with what is
    wrong with either, or that they are of another model."""
    times = None if profile is None else read_profile(profile)
    return examine(manifest, read_layers(layers), times)


def as_seen(found: Examined, source: str) -> EngineSeen:
    """The same in the words that all engines are told in."""
    verdicts = {each.node: EngineVerdict(each.verdict, each.layer, each.because, each.share) for each in found.verdicts}
    return EngineSeen(source, BUILT, verdicts, standalone=found.standalone, notes=found.notes)
