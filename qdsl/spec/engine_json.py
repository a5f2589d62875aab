"""`quant_manifest.json` as text and back."""

from __future__ import annotations

import json
from dataclasses import asdict

from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data
from qdsl.spec.engine import MANIFEST_FORMAT, QUANT_MANIFEST, QuantManifest


def manifest_text(found: QuantManifest) -> str:
    """The text of the file: the same manifest gives the same text."""
    return json.dumps(asdict(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def manifest_of(text: str) -> QuantManifest:
    """The manifest from its text. Raises UnfitError for what is not JSON, and what does not fit."""
    found = decode(QuantManifest, json_data(text), QUANT_MANIFEST)
    if found.format != MANIFEST_FORMAT:
        raise UnfitError(f"it is of format {found.format}, this program reads {MANIFEST_FORMAT}", QUANT_MANIFEST)
    return found
