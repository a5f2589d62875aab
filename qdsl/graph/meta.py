"""What graphsurgeon's nodes have no field for: kept on the node itself, put back on save."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import onnx_graphsurgeon as gs

from qdsl.graph.body_types import BodyTypes

# Absolute paths of the exporter's machine: never carried into an artifact.
STRIPPED_KEYS = frozenset({"pkg.torch.onnx.stack_trace"})
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_LONGEST_SCOPES = 8192


@dataclass(slots=True)
class Meta:
    """Side table of one node. `attr_types` are the ONNX attribute types it came with (an empty list has no type of its
    own); `captured` are the outer tensors that its bodies (If, Loop, Scan) read; `body_types` what inference found out
    about the tensors inside them, by attribute."""

    doc_string: str = ""
    overload: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    attr_types: dict[str, int] = field(default_factory=dict)
    captured: tuple[str, ...] = ()
    body_types: Mapping[str, BodyTypes] = field(default_factory=dict)

    def copy(self) -> Meta:
        return replace(self, metadata=dict(self.metadata), attr_types=dict(self.attr_types))


def meta_of(node: gs.Node) -> Meta:
    """The side table of a node; made empty on first use."""
    found = node.__dict__.get("qdsl_meta")
    if found is None:
        found = node.__dict__["qdsl_meta"] = Meta()
    return found  # type: ignore[no-any-return]


def scopes_of(name: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The module scopes of a node, outermost first, each a full path.

    A dynamo export carries them as metadata, a list of dotted module paths; every other exporter as the path in the
    node name. Both are spelled as TorchScript spells them: a numbered child of a called module repeats its parent's
    name (`/model.22/cv2.0/cv2.0.1`). TorchScript adds `_1`, `_2` to a module called again; dynamo does not.
    """
    listed = metadata.get(_SCOPES_KEY)
    dotted = _dotted_paths(listed) if listed else None
    return _from_dotted(dotted) if dotted else _from_name(name)


def _from_name(name: str) -> tuple[str, ...]:
    parts = [part for part in name.split("/") if part][:-1]
    return tuple("/" + "/".join(parts[: i + 1]) for i in range(len(parts)))


def _dotted_paths(listed: str) -> list[str] | None:
    """The list literal in the metadata, without its last entry (the operator); None when it is not one."""
    if len(listed) > _LONGEST_SCOPES:
        return None
    try:
        paths = ast.literal_eval(listed)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        return None
    return [path for path in paths[:-1] if path]


def _from_dotted(paths: list[str]) -> tuple[str, ...]:
    scopes: list[str] = []
    above, word = "", ""
    for path in paths:
        step = path[len(above) + 1 :] if above and path.startswith(above + ".") else path
        word = f"{word}.{step}" if above and step != path and step.split(".", 1)[0].isdigit() else step
        scopes.append(f"{scopes[-1] if scopes else ''}/{word}")
        above = path
    return tuple(scopes)
