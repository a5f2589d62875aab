"""Reads and checks a target's table. Strict: an unknown key, a wrong type or a missing reason is an error."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from qdsl.capability.model import Capability
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, require_version, toml_data

_FORMAT = 1
_MOST = 1 << 20  # characters


class TableError(ValueError):
    """A table breaks its own rules: the message names the file, the row and the key."""


@cache
def load(name: str = "ort_cpu") -> Capability:
    """The capability table called `name`, from the package. TableError when there is none or it is not well formed."""
    if name not in names():
        raise TableError(f"no capability table {name}; there are: {', '.join(names())}")
    return loads(source(name).decode("utf-8"), name)


def source(name: str) -> bytes:
    """The text of the table called `name`, its lines ended alike wherever the files were put."""
    return (_home() / f"{name}.toml").read_bytes().replace(b"\r\n", b"\n")


def names() -> tuple[str, ...]:
    """The tables that are there, sorted."""
    files = _home().iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def _home() -> Traversable:
    """Where the tables are."""
    return resources.files("qdsl.capability")


def loads(text: str, name: str) -> Capability:
    """A table from its text. TableError names the row and key at fault."""
    try:
        content = require_version(toml_data(text, _MOST), "format", _FORMAT)
        return replace(decode(Capability, content, defaults=True), name=name)
    except UnfitError as error:
        raise TableError(f"{name}.toml: {error}") from None
