"""What an engine of a model file computes, by the layers that were brought back from where it was built."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, TypeVar

from qdsl.diag import Diagnostic, QdslError
from qdsl.finished.reading import read
from qdsl.finished.records import Finished, QuantizedTensor, Role
from qdsl.graph import load
from qdsl.graph.view import NodeView
from qdsl.harness.inspected import Asked, Dump, Manifest, as_seen, asked_of, examine, opened, read_layers
from qdsl.spec.engine import QUANT_MANIFEST, EngineSeen
from qdsl.spec.engine_json import manifest_of

_Made = TypeVar("_Made")
_MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_MANIFEST = f"give the {QUANT_MANIFEST} that `qdsl compile` wrote beside the model, or none"
_CURE = (
    "give what `trtexec --exportLayerInfo=layers.json --profilingVerbosity=detailed` writes of an engine of the model"
)


def examination(layers: Path, manifest: Path | None = None) -> Callable[[Path], EngineSeen]:
    """What an engine computes by the file `layers`, held against a `manifest`, or, without one, against what the model
    file itself has in integers. Raises QdslError engine-layers for either file, now; what is made of them raises it
    where they are of another model."""
    dump = _read(layers, read_layers)
    planned = None if manifest is None else _read(manifest, manifest_of, _MANIFEST)

    def look(model: Path) -> EngineSeen:
        if planned is not None and hashlib.sha256(model.read_bytes()).hexdigest() != planned.sha256:
            _refuse(Path(str(manifest)), f"it is of another file than `{model}`", _MANIFEST)
        asked, nodes = (asked_of(planned), ()) if planned is not None else _of_file(model)
        named, known = _as_called(asked, dump, _outputs(nodes))
        try:
            found = examine(named, dump)
        except ValueError as error:
            _refuse(layers, str(error), _CURE)
        seen = as_seen(found, f"an engine of TensorRT, by {layers.name} ({found.form})")
        return replace(seen, verdicts={known[name]: verdict for name, verdict in seen.verdicts.items()})

    return look


def _of_file(model: Path) -> tuple[Manifest, Sequence[NodeView]]:
    finished = read(load(model))
    return replace(expected(finished), model=model.name), finished.view.nodes


def expected(finished: Finished) -> Manifest:
    """What an engine of a file has to compute in, by what the file has in integers: both factors of a node, or its
    weights alone."""
    reads = {(each.node, each.port): record for record in finished.tensors for each in record.readers if each.node}
    inputs = frozenset(finished.view.inputs)
    nodes = []
    for node in finished.view.nodes:
        records = [found for port in (0, 1) if (found := reads.get((node.name, port))) is not None]
        if node.op in _MULTIPLYING and (expect := _expect(records)):
            pairs = tuple(name for each in records for name in (*each.quantizers, *each.dequantizers))
            nodes.append(Asked(node.name, node.op, expect, "", pairs))
    boundary = (name for each in finished.tensors if each.tensor in inputs for name in each.quantizers)
    return Manifest("the model", tuple(nodes), tuple(boundary))


def _expect(factors: list[QuantizedTensor]) -> str:
    """ "" for a node that has nothing in integers but what it reads."""
    elements = {each.parameters.element for each in factors}
    if len(factors) == 2:
        return "fp8" if all(each.startswith("float8") for each in elements) else "int8"
    return "weights" if any(each.role is Role.WEIGHT for each in factors) else ""


def _outputs(nodes: Sequence[NodeView]) -> Mapping[str, str]:
    return {node.name: node.outputs[0] for node in nodes if node.outputs}


def _as_called(asked: Manifest, dump: Dump, outputs: Mapping[str, str]) -> tuple[Manifest, Mapping[str, str]]:
    """The manifest by the names that the engine has for nodes, and what each is called in the file: TensorRT calls one
    without a name by what it writes."""
    told = {name for layer in dump.layers for name in layer.nodes}
    known = dict(_names(asked, told, outputs))
    given = {name: called for called, name in known.items()}
    nodes = tuple(replace(each, node=given[each.node]) for each in asked.nodes)
    return replace(asked, nodes=nodes), known


def _names(asked: Manifest, told: set[str], outputs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for each in asked.nodes:
        other = f"node_of_{outputs.get(each.node, '')}"
        yield (other if each.node not in told and other in told else each.node), each.node


def _read(path: Path, make: Callable[[str], _Made], cure: str = _CURE) -> _Made:
    try:
        return make(opened(str(path)))
    except ValueError as error:
        _refuse(path, str(error), cure)


def _refuse(path: Path, why: str, cure: str) -> NoReturn:
    headline = (
        f"`{path}` does not say what an engine of the model {'has to compute' if cure == _MANIFEST else 'computes'}"
    )
    raise QdslError([Diagnostic("engine-layers", headline, label=why, help=(cure,))])
