"""`show`: what a model file is, where it comes from, and whether that still holds; its recipe and its integers out of
it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.exporting.exporting import export_integers
from qdsl.finished.reading import read
from qdsl.finished.records import Dialect, Finished
from qdsl.graph import from_proto
from qdsl.graph.loading import read_proto
from qdsl.graph.text import check_text
from qdsl.lock import read as read_lock
from qdsl.provenance import agreement, extracting
from qdsl.provenance.agreement import CHANGED, UNKNOWN, Agreement
from qdsl.provenance.records import KEY, Provenance, name_problem
from qdsl.provenance.stamping import carried
from qdsl.spec.bounds import UnfitError
from qdsl.spec.words import plain

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, slots=True)
class Quantities:
    """How many tensors of one kind a file holds in integers: `role` is "activation", "weight" or "bias"."""

    role: str
    element: str
    granularity: str
    form: str
    count: int


@dataclass(frozen=True, slots=True)
class ShowResult:
    """What a model file says of itself. `size` are its bytes, without external data; `producer` the tool that wrote it,
    in its own words; `opsets` the operator sets it imports, by domain; `operators` its nodes by operator; `metadata`
    what else stands in its `metadata_props`. `quantities` are what it holds in integers, `dialects` whose way of saying
    so that is, as far as the file could be read. `provenance` is where it comes from, None where it does not say, and
    `agreements` what that was held against. `recipe` is the text of its recipe, where it carries one; `extracted` and
    `exported` are the files and the folder that were written."""

    path: Path
    size: int
    sha256: str
    producer: str
    ir_version: int
    opsets: Mapping[str, int]
    operators: Mapping[str, int]
    metadata: Mapping[str, str]
    quantities: tuple[Quantities, ...]
    dialects: tuple[Dialect, ...]
    provenance: Provenance | None
    agreements: tuple[Agreement, ...]
    extracted: tuple[Path, ...]
    exported: Path | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def recipe(self) -> str | None:
        return None if self.provenance is None else self.provenance.files[0].text

    def recipe_text(self) -> str:
        """The text of the recipe. Raises QdslError provenance-missing, provenance-invalid, provenance-hashes."""
        return extracting.recipe_text(_needed(self.provenance, self.diagnostics))

    @property
    def agrees(self) -> bool:
        """Whether nothing that was looked at has changed; True, too, where nothing was there to look at."""
        return all(found.state != CHANGED for found in self.agreements)


def show(
    model: str | Path,
    *,
    recipe: str | Path | None = None,
    lock: str | Path | None = None,
    extract: str | Path | None = None,
    export: str | Path | None = None,
) -> ShowResult:
    """Read what a model file says of itself, whoever made it. Nothing of it is run.

    `recipe` and `lock` are what its provenance is held against; without them a recipe of its recipe's name is looked
    for beside the model, and a lock beside that recipe. `extract` is a file to write the recipe to, or an empty folder
    for the recipe with all that it extends. `export` is a folder for the integers, scales and zero points of every
    layer, as docs/provenance.md lays them out; it is not there yet, empty, or such an export. Raises QdslError: model-*
    for what is no model, provenance-* where there is nothing to extract, show-exists, lock-invalid,
    artifact-write, and file-missing for what was named and is not there.
    """
    path, diags = Path(model), Diagnostics()
    proto, source = read_proto(path)
    check_text(proto)
    known = _provenance(proto, diags)
    extracted = () if extract is None else extracting.extract(_needed(known, diags), Path(extract))
    if known is not None:
        found = tuple(_agreements(proto, path, known, _given(recipe), _given(lock)))
    else:
        found = ()
    says = _Says(proto)
    finished = _finished(proto, path, diags, needed=export is not None)
    if export is not None and finished is not None:
        export_integers(finished, Path(export), source.sha256)
    return ShowResult(
        path=path,
        size=source.size,
        sha256=source.sha256,
        producer=says.producer,
        ir_version=says.ir_version,
        opsets=says.opsets,
        operators=says.operators,
        metadata=says.metadata,
        quantities=() if finished is None else tuple(_quantities(finished)),
        dialects=() if finished is None else finished.dialects,
        provenance=known,
        agreements=found,
        extracted=extracted,
        exported=None if export is None else Path(export),
        diagnostics=diags.sorted(),
    )


class _Says:
    """What a file says of itself as a whole: taken before the graph is made of it, which hands the proto over."""

    def __init__(self, proto: ModelProto) -> None:
        self.producer = f"{proto.producer_name} {proto.producer_version}".strip()
        self.ir_version = proto.ir_version
        self.opsets = {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}
        self.operators = dict(sorted(Counter(node.op_type for node in proto.graph.node).items()))
        self.metadata = {entry.key: entry.value for entry in proto.metadata_props if entry.key != KEY}


def _provenance(proto: ModelProto, diags: Diagnostics) -> Provenance | None:
    """Where the file comes from; None where it does not say, or says it so that nobody can trust it, which is told."""
    try:
        return carried(proto)
    except UnfitError as error:
        headline = f"`{KEY}` in the file's metadata is not what qdsl writes, and nothing in it is believed"
        diags.warning("provenance-invalid", headline, label=str(error)[:300])
        return None


def _needed(known: Provenance | None, diags: Iterable[Diagnostic]) -> Provenance:
    """What there is to extract from. Raises QdslError provenance-missing, provenance-invalid."""
    if known is not None:
        return known
    invalid = [replace(one, severity=Severity.ERROR) for one in diags if one.code == "provenance-invalid"]
    absent = Diagnostic("provenance-missing", "the file does not carry the recipe that it was made from")
    raise QdslError(invalid or [absent])


def _given(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _agreements(
    proto: ModelProto, path: Path, known: Provenance, recipe: Path | None, lock: Path | None
) -> Iterator[Agreement]:
    """The file, the recipe, the float model and the lock, each held against what the file says of it. What was named
    has to be there: QdslError file-missing, lock-missing, lock-invalid."""
    yield agreement.of_file(proto, path, known)
    place = recipe or _beside(path, known.recipe, ".q")
    if recipe is not None and not recipe.is_file():
        raise QdslError([Diagnostic("file-missing", f"the recipe `{recipe}` does not exist")])
    loaded = None
    if place is None:
        yield Agreement("recipe", UNKNOWN, "", (f"no {_shown(known.recipe)}.q beside the file: name it with --recipe",))
    else:
        held, loaded = agreement.of_recipe(place, known)
        yield held
    if loaded is not None:
        yield agreement.of_model(loaded, known)
    pins = lock or (place.with_suffix(".lock") if place is not None else _beside(path, known.recipe, ".lock"))
    found = None if pins is None else read_lock(pins)
    if pins is not None and found is not None:
        yield agreement.of_lock(pins, found, known)
    elif lock is not None:
        raise QdslError([Diagnostic("file-missing", f"the lock `{lock}` does not exist")])
    else:
        yield Agreement("lock", UNKNOWN, "", ("there is none beside the recipe: name it with --lock",))


def _beside(model: Path, recipe: str, suffix: str) -> Path | None:
    """What is called after the recipe, beside the model; the name comes from the file, and stays in its folder."""
    name = f"{recipe}{suffix}"
    if name_problem(name) or "/" in name:
        return None
    path = model.parent / name
    return path if path.is_file() else None


def _shown(name: str) -> str:
    return plain(name[:100])


def _finished(proto: ModelProto, path: Path, diags: Diagnostics, *, needed: bool) -> Finished | None:
    """What the file holds, where it can be read; why not is told as a warning, and is an error where it is `needed`."""
    try:
        return read(from_proto(proto, path=path))
    except QdslError as error:
        if needed:
            raise
        diags.extend(replace(one, severity=Severity.WARNING) for one in error.diagnostics)
        return None


def _quantities(finished: Finished) -> Iterator[Quantities]:
    """By kind, those of which there are most first, weights before activations before biases."""
    found = Counter(
        (tensor.role.value, tensor.parameters.element, tensor.parameters.granularity.value, tensor.form.value)
        for tensor in finished.tensors
    )
    order = {"weight": 0, "activation": 1, "bias": 2}
    for kind, count in sorted(found.items(), key=lambda pair: (order[pair[0][0]], -pair[1], pair[0])):
        yield Quantities(*kind, count=count)
