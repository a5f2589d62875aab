"""What NVIDIA's TensorRT has, version by version: names read from its Python modules and from trtexec's option parser.

The data lies beside the repository; tests that need it are skipped where it is not there.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from qdsl.targets.tensorrt.versions import Release

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "reference" / "data"
needs_contracts = pytest.mark.skipif(not (DATA / "trt_contracts").is_dir(), reason="TensorRT's names are not here")


@cache
def _read(name: str) -> Any:
    return json.loads((DATA / "trt_contracts" / name).read_text(encoding="utf-8"))


@cache
def surfaces() -> dict[Release, dict[str, Any]]:
    """Classes with their members, enums with their values and functions, by release: not of every release."""
    found = {}
    for version, surface in _read("trt_api_surface.json")["versions"].items():
        major, minor = version.split(".")[:2]
        found[Release(int(major), int(minor))] = surface
    return dict(sorted(found.items()))


@cache
def options(release: Release) -> frozenset[str]:
    """The options that trtexec takes. Of 11.2 and later its source was not read: 11.1's stand for them."""
    tags = {}
    for tag, found in _read("trtexec_flags.json")["tags"].items():
        major, minor = tag.removeprefix("v").split(".")[:2]
        tags[Release(int(major), int(minor))] = frozenset(found["flags"])
    return tags[min(release, max(tags))]
