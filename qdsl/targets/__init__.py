"""Targets by name: each is a package with `emit` and `verify`, imported when it is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from qdsl.diag import Diagnostic, QdslError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qdsl.calibrate import Ranges
    from qdsl.data import Sample
    from qdsl.graph import Model
    from qdsl.lang.recipe import InputSpec
    from qdsl.spec.plan import Plan
    from qdsl.targets.results import Emitted, Verification


class Runner(Protocol):
    """A model ready to run: its outputs by name, for the arrays of one sample."""

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]: ...


@dataclass(frozen=True, slots=True)
class TargetModule:
    """A target's package, with the calls that every target has."""

    name: str
    package: str

    def emit(
        self, model: Model, plan: Plan, ranges: Ranges, out_dir: Path, *, inputs: Iterable[InputSpec] = ()
    ) -> Emitted:
        """Carry out `plan` on a copy of the canonical float `model` and write `<out_dir>/<target>/`."""
        made: Emitted = self._call("emit")(model, plan, ranges, out_dir, inputs=inputs)
        return made

    def publish(self, emitted: Emitted, directory: Path) -> Emitted:
        """Move an artifact to where it belongs, once it is known to run; what stood there is replaced."""
        moved: Emitted = import_module(f"{self.package}.emit").publish(emitted, directory)
        return moved

    def verify(
        self, model: Model, emitted: Emitted, plan: Plan, samples: Iterable[Sample], *, count: int = 8, source: str = ""
    ) -> Verification:
        """Run the artifact beside the canonical float `model` on the first `count` samples; `source` says whose."""
        found: Verification = self._call("verify")(model, emitted, plan, samples, count=count, source=source)
        return found

    def runner(self, emitted: Emitted, threads: int | None = None, *, as_written: bool = False) -> Runner:
        """The artifact, ready to run on this machine; `as_written` as its graph says, without what the runtime would
        make of it."""
        made: Runner = self._call("run")(emitted.model, emitted.manifest, threads=threads, as_written=as_written)
        return made

    def session_options(self, emitted: Emitted) -> dict[str, str]:
        """The runtime's options that the artifact asks for, by name."""
        found: dict[str, str] = import_module(f"{self.package}.run").session_options(emitted.manifest)
        return found

    def float_runner(self, model: Path, threads: int | None = None, *, as_written: bool = False) -> Runner:
        """The float model in a file, run by the same software; `as_written` as for `runner`."""
        made: Runner = self._call("run")(model, threads=threads, as_written=as_written)
        return made

    def _call(self, verb: str) -> Any:
        return getattr(import_module(f"{self.package}.{verb}"), verb)


def _table(*modules: TargetModule) -> dict[str, TargetModule]:
    found: dict[str, TargetModule] = {}
    for module in modules:
        if module.name in found:
            raise ValueError(f"two targets are called {module.name}")
        found[module.name] = module
    return found


# A new target is one line here.
TARGETS = _table(TargetModule("ort", "qdsl.targets.ort"))


def target_module(name: str) -> TargetModule:
    """The target called `name`. Raises QdslError (target-absent)."""
    if name in TARGETS:
        return TARGETS[name]
    close = nearest(name, TARGETS) or tuple(sorted(TARGETS))
    known = ", ".join(f"`{word}`" for word in close)
    headline = f"there is no target `{name[:80]}`"
    raise QdslError([Diagnostic("target-absent", headline, help=(f"the targets are {known}",))])
