"""The C of an artifact on an emulated core: held against its integer graph, and ready to answer samples."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from numpy.typing import NDArray

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.integer.records import IntegerGraph
from qdsl.spec.bounds import Count, Many
from qdsl.spec.emulated import Emulated
from qdsl.spec.scratch import scratch
from qdsl.targets.manifest_reading import read_manifest
from qdsl.targets.results import Emitted, NotHere
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.emit import C_FOLDER
from qdsl.targets.stm32.emulated.building import build
from qdsl.targets.stm32.emulated.cmsis_nn import Checkout, checkout
from qdsl.targets.stm32.emulated.fitting import fit
from qdsl.targets.stm32.emulated.installed import tools
from qdsl.targets.stm32.emulated.network import Network, emulated
from qdsl.targets.stm32.emulated.session import Session, session
from qdsl.targets.stm32.golden import Arrays
from qdsl.targets.stm32.making import make_c


@dataclass(frozen=True, slots=True)
class _Step:
    """A step of network.c, as the manifest says it."""

    nodes: tuple[str, ...]
    kernels: tuple[str, ...]
    macs: Count


@dataclass(frozen=True, slots=True)
class _Made:
    steps: Annotated[tuple[_Step, ...], Many(0, 1 << 16)]


def on_core(emitted: Emitted, graph: IntegerGraph, wanted: Asked, samples: Sequence[Arrays]) -> Emulated | NotHere:
    """Build the C of `emitted`, which is of `graph`, for the board that is wanted, and run it on `samples`; on zeros
    where there are none. Raises QdslError artifact-refused, c-invalid, c-too-large, c-differs, emulation-failed."""
    found, library = fit(wanted.board), called(wanted, emitted.span)
    if isinstance(found, NotHere):
        return found
    if isinstance(library, NotHere):
        return library
    network = _network(emitted, graph, wanted, library)
    with scratch() as folder:
        return emulated(network, samples, found.core, found.limits, out=folder)


class OnCore:
    """See `qdsl.targets.base.Runner`: one process runs as long as somebody asks."""

    def __init__(self, network: Network, stack: ExitStack, device: Session) -> None:
        self._network, self.device = network, device
        weakref.finalize(self, stack.close)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._network.graph.outputs

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Arrays in the order of ONNX, in floats. Raises QdslError artifact-refused where an input is missing or
        another than the graph takes, emulation-failed."""
        return self._network.taken(self.device.run(self._network.sample(arrays)))


def runner(emitted: Emitted, graph: IntegerGraph, wanted: Asked) -> OnCore | NotHere:
    """Raises QdslError as `on_core`, and artifact-refused for C that is not what is made of `graph`. A program under
    QEMU may read and write whatever the user may, so that C out of a folder is never run: what runs is made anew."""
    found, library, emulator = fit(wanted.board), called(wanted, emitted.span), tools().emulator
    if isinstance(found, NotHere):
        return found
    if isinstance(library, NotHere):
        return library
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        made = make_c(graph, wanted, folder / C_FOLDER, span=emitted.span)
        _require_same(made.files.folder, emitted)
        network = Network(made.files.folder, graph, made.files.steps, wanted.rounding, emitted.span, library)
        built = build(network.folder, folder, found.core, found.limits, span=emitted.span, library=library)
        if isinstance(built, NotHere) or emulator is None:
            return built if isinstance(built, NotHere) else NotHere(tools().missing)
        device = stack.enter_context(session(built, emulator, network.sizes))
        return OnCore(network, stack.pop_all(), device)


def _require_same(anew: Path, emitted: Emitted) -> None:
    for name in ("network.h", "network.c", "weights.h", "kernels.h"):
        try:
            same = (emitted.directory / C_FOLDER / name).read_bytes() == (anew / name).read_bytes()
        except OSError:
            same = False
        if not same:
            headline = f"the C of the artifact is not what this version makes of its model: {C_FOLDER}/{name}"
            label = "it was changed since it was written, or another version wrote it"
            cures = ("make the artifact anew: `qdsl compile RECIPE`",)
            raise QdslError([Diagnostic("artifact-refused", headline, emitted.span, label, cures)])


def called(wanted: Asked, span: Span | None) -> Checkout | NotHere | None:
    """The library that C so made calls; None where it calls none. Raises QdslError cmsis-nn-unfit."""
    return checkout(span) if wanted.kernels == "cmsis_nn" else None


def _network(emitted: Emitted, graph: IntegerGraph, wanted: Asked, library: Checkout | None) -> Network:
    def pick(said: Any) -> Any:
        return {"steps": said["c"]["steps"]}

    made = read_manifest(emitted.manifest, _Made, pick, "it does not say of which steps the C is", "c")
    return Network(emitted.directory / C_FOLDER, graph, made.steps, wanted.rounding, emitted.span, library)
