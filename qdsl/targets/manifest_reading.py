"""What is read of the manifest of an artifact: whoever has it may have changed it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from qdsl.diag import Diagnostic, QdslError
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data

T = TypeVar("T")


def read_manifest(manifest: Path, kind: type[T], pick: Callable[[Any], Any], missing: str, where: str = "") -> T:
    """What `pick` takes out of the manifest, as a `kind`. `missing` is told where there is nothing to take; `where` is
    what paths of `kind` begin with. Raises QdslError artifact-refused for a manifest that is not as it was written."""
    try:
        said = json_data(manifest.read_text(encoding="utf-8", errors="replace"))
        return decode(kind, pick(said), where)
    except (UnfitError, TypeError, KeyError) as reason:
        label = str(reason) if isinstance(reason, UnfitError) else missing
        headline = f"the {manifest.name} of the artifact was changed since it was written"
        cures = ("make the artifact anew: `qdsl compile RECIPE`",)
        raise QdslError([Diagnostic("artifact-refused", headline, label=label[:300], help=cures)]) from None
