"""What NVIDIA's TensorRT-RTX makes of an ONNX file, in the words of the tests: `qdsl.engines.rtx` on models in memory.

    python tests/rtx_engine.py install      make its environment (about 100 MB of downloads)
    python tests/rtx_engine.py MODEL..      what it makes of these files

TensorRT-RTX is proprietary: whoever installs it accepts NVIDIA's licence, so no test does that of itself. It stands in
an environment of its own, in the user's cache folder or in $QDSL_RTX. A verdict is about this version and a described
GPU, compute capability 8.6; other TensorRTs have the same parser from 10.11 on, and builders of their own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
import onnx  # noqa: E402
from onnx import ModelProto  # noqa: E402

from qdsl.engines.rtx import examining, get, names, places  # noqa: E402
from qdsl.engines.rtx.capabilities import DEFAULT  # noqa: E402
from qdsl.spec.engine import (  # noqa: E402
    BUILD,
    DROPPED,
    ELIMINATED,
    INT8,
    PARSE,
    UNKNOWN,
    WEIGHT_ONLY,
    EngineRefusal,
)

VERSION, CAPABILITY = places.VERSION, DEFAULT
__all__ = ["CAPABILITY", "DROPPED", "ELIMINATED", "INT8", "UNKNOWN", "VERSION", "WEIGHT_ONLY"]


@dataclass(frozen=True)
class Engine:
    """What became of a file. `stage`: "parse" (refused), "build" (not built), "built", or "undecided". `refused` has
    every node that the parser refuses, `failed` the words of the builder. `verdicts`: of nodes that multiply, by name.
    `stored`: the type of what each QuantizeLinear writes, by tensor, as the parser read it."""

    stage: str
    refused: tuple[EngineRefusal, ...] = ()
    failed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    verdicts: dict[str, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    reason: str = ""


def python() -> Path | None:
    """The interpreter that has TensorRT-RTX; None where none does."""
    found = places.place()
    return None if found is None else found.python


def examine(model: ModelProto, capability: str = CAPABILITY) -> Engine:
    """Parse and build a model for a GPU of that compute capability."""
    found = examining.examine(model, capability=capability)
    seen = found.seen
    return Engine(
        seen.stage,
        seen.refused if seen.stage == PARSE else (),
        tuple(each.text for each in seen.refused) if seen.stage == BUILD else (),
        seen.warnings,
        {name: each.verdict for name, each in seen.verdicts.items()},
        dict(found.stored),
        seen.reason,
    )


def refused_nodes(model: ModelProto) -> dict[str, EngineRefusal]:
    """Every node that the parser refuses by itself, by name: parsing a model stops at the first."""
    return examining.refused_nodes(model)


def with_names(model: ModelProto) -> ModelProto:
    """A copy in which every node has a name of its own."""
    return names.with_names(model)[0]


def main(words: list[str]) -> int:
    if words == ["install"]:
        return get.main()
    for word in words:
        found = examine(onnx.load(word))
        counts = {each: list(found.verdicts.values()).count(each) for each in sorted(set(found.verdicts.values()))}
        sys.stdout.write(f"{word}: {found.stage} {found.reason} {counts}\n")
        for each in found.refused:
            sys.stdout.write(f"  {each.node}: {each.text} ({each.function})\n")
        for text in (*found.failed, *found.warnings):
            sys.stdout.write(f"  {text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
