"""`qdsl show MODEL`: what a model file is and where it comes from; its recipe and its integers out of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api import ShowResult
    from qdsl.provenance.agreement import Agreement
    from qdsl.provenance.records import Provenance

_HASH = 12  # digits of a hash in a line for people
_VALUE = 100
_MOST = 12


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json

    parser.description = (
        "Say what a model file holds, whoever made it; of one that qdsl made, where it comes from and whether file, "
        "recipe, lock and float model still agree. Nothing of it is run."
    )
    parser.add_argument("model", help="the model, an .onnx file")
    parser.add_argument("--recipe", help="the recipe to hold it against (default: <recipe>.q beside the model)")
    parser.add_argument("--lock", help="the lock to hold it against (default: the one beside the recipe)")
    parser.add_argument(
        "--extract",
        metavar="TO",
        help="write its recipe: to a file, with all that it extends to an empty folder, or - to print it",
    )
    parser.add_argument(
        "--export",
        metavar="DIR",
        help="write the integers, scales, zero points and biases of every layer to a folder, as npz and as text",
    )
    parser.add_argument("--strict", action="store_true", help="exit 4 where something has changed since")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli import EXIT_BUDGET
    from qdsl.cli.output import print_json, show_diagnostics

    to_stdout = args.extract == "-"
    result = qdsl.api.show(
        args.model,
        recipe=args.recipe,
        lock=args.lock,
        extract=None if to_stdout else args.extract,
        export=args.export,
    )
    if to_stdout:
        _print_recipe(result)
    elif args.json:
        print_json(_as_json(result))
    else:
        from qdsl.cli.measured import line

        for word, text in _lines(result):
            line(word, text)
        for found in result.agreements:
            _print_diff(found)
    show_diagnostics(result.diagnostics)
    return EXIT_BUDGET if args.strict and not result.agrees else 0


def _print_recipe(result: ShowResult) -> None:
    """The recipe's bytes and nothing else."""
    import sys

    sys.stdout.flush()
    sys.stdout.buffer.write(result.recipe_text().encode("utf-8"))
    sys.stdout.buffer.flush()


def _print_diff(found: Agreement) -> None:
    from qdsl.spec.words import plain

    for text in found.diff:
        print(f"           {plain(text)}")


def _lines(result: ShowResult) -> Iterator[tuple[str, str]]:
    """A word for each line and what it says."""
    yield "model", _model(result)
    if result.provenance is None:
        yield "made", f"not said: no provenance{_by(result)}"
    else:
        yield from _origins(result.provenance)
    yield from _holds(result)
    for key, value in list(result.metadata.items())[:_MOST]:
        if result.provenance is None or not key.startswith("qdsl."):
            yield "says", f"{_short(key)} = {_short(value)}"
    for found in result.agreements:
        yield "agrees" if found.state == "same" else found.state, _agreement(found)
    for path in result.extracted:
        yield "recipe", str(path)
    if result.exported is not None:
        yield "exported", str(result.exported)


def _model(result: ShowResult) -> str:
    from qdsl.spec.words import count, mebibytes

    opsets = ", ".join(
        f"opset {version}" if domain == "ai.onnx" else f"{_short(domain)} {version}"
        for domain, version in list(result.opsets.items())[:_MOST]
    )
    nodes = count(sum(result.operators.values()), "node")
    return f"{_short(result.path.name)}   {mebibytes(result.size)}, {nodes}, {opsets}, sha256 {result.sha256[:_HASH]}"


def _by(result: ShowResult) -> str:
    dialects = ", ".join(f"{found.name} ({_short(found.because)})" for found in result.dialects)
    said = f"; written by {_short(result.producer)}" if result.producer else ""
    return f"{said}{f'; looks like {dialects}' if dialects else ''}"


def _origins(known: Provenance) -> Iterator[tuple[str, str]]:
    from qdsl.spec.words import count

    tools = dict(known.tools)
    yield "made", f"by qdsl {_short(tools.get('qdsl', '?'))} for {_short(known.target)}, {known.mode}"
    first, *bases = known.files
    carried = "with its text" if first.text is not None else "its hash alone"
    yield "recipe", f"{_short(known.recipe)}   sha256 {first.sha256[:_HASH]}, {carried}"
    for base in bases:
        yield "extends", f"{_short(base.name)}   sha256 {base.sha256[:_HASH]}"
    for name, value in (known.parameters or ())[:_MOST]:
        yield "parameter", f"{_short(name)} = {_short(value)}"
    for name, digest in known.model[:_MOST]:
        yield "from", f"{_short(name)}   sha256 {digest[:_HASH]}"
    for data in known.data[:_MOST]:
        files = count(data.files, "file")
        yield "data", f"{_short(data.name)}   {files}, {count(data.samples, 'sample')}, sha256 {data.sha256[:_HASH]}"
    yield "plan", f"sha256 {known.plan_sha256[:_HASH]}"
    if known.cpus:
        yield "exact on", ", ".join(map(_short, known.cpus[:_MOST]))
    yield "tools", ", ".join(f"{_short(name)} {_short(version)}" for name, version in known.tools[:_MOST])


def _holds(result: ShowResult) -> Iterator[tuple[str, str]]:
    from qdsl.spec.words import count

    plurals = {"weight": "weights", "bias": "biases", "activation": "activations"}
    for found in result.quantities:
        how = f"{found.element} {found.granularity}, {found.form.replace('_', ' ')}"
        yield "holds", f"{count(found.count, found.role, plurals[found.role])} in {how}"
    if not result.quantities and not result.diagnostics:
        yield "holds", "nothing in integers"


def _agreement(found: Agreement) -> str:
    where = f"   {_short(found.where)}" if found.where else ""
    return f"{found.what}{where}{'   ' if found.told else ''}{'; '.join(map(_short, found.told))}"


def _short(text: str) -> str:
    """Text out of a file that anybody may have written, for a terminal."""
    from qdsl.spec.words import plain

    return plain(text if len(text) <= _VALUE else f"{text[:_VALUE]}...")


def _as_json(result: ShowResult) -> dict[str, Any]:
    from qdsl.cli.output import diagnostic_json
    from qdsl.spec.plan_json import to_data

    return {
        "model": str(result.path),
        "bytes": result.size,
        "sha256": result.sha256,
        "producer": result.producer,
        "ir_version": result.ir_version,
        "opsets": dict(result.opsets),
        "operators": dict(result.operators),
        "metadata": dict(result.metadata),
        "quantities": to_data(result.quantities),
        "dialects": to_data(result.dialects),
        "provenance": to_data(result.provenance),
        "agrees": result.agrees,
        "agreements": to_data(result.agreements),
        "extracted": [str(path) for path in result.extracted],
        "exported": None if result.exported is None else str(result.exported),
        "diagnostics": [diagnostic_json(found) for found in result.diagnostics],
    }
