"""`qdsl audit MODEL`: what a finished file holds of quantization, what of it will run, and what is wrong with it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api.auditing import AuditResult
    from qdsl.auditing.report import AuditReport

_SHOWN = 5
LEVELS = ("error", "warning", "note", "never")


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.auditing.formats.index import FORMATS
    from qdsl.cli.common import add_json, add_sets, at_least_one

    parser.description = (
        "Say what an ONNX file holds of quantization, whoever made it, what of it will run in integers, and what is "
        "wrong with it, with the recipe lines that mend it. Nothing is run, but for --causes; with --engine, an "
        "engine is built of it and not run."
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the model file (.onnx)")
    parser.add_argument(
        "--recipe", metavar="RECIPE", help="hold this recipe against the file; its `allow` lines waive findings"
    )
    add_sets(parser)
    parser.add_argument("--target", help="the target to audit for (the recipe's, or ort)")
    parser.add_argument(
        "--fail-on",
        choices=LEVELS,
        default="error",
        help="exit with 1 when a finding of this level or a graver one stands (error)",
    )
    parser.add_argument(
        "--fix", metavar="OUT", help="write a copy in which is mended what needs no data, and tell what still stands"
    )
    parser.add_argument(
        "--causes", action="store_true", help="run the file and say which tensors the error of the outputs comes from"
    )
    parser.add_argument(
        "--float", metavar="MODEL", dest="floats", help="with --causes: the float model it was made from"
    )
    parser.add_argument("--samples", type=at_least_one, help="with --causes: samples to run (4; 16 for few outputs)")
    parser.add_argument(
        "--engine",
        metavar="rtx|LAYERS",
        help="`rtx`: parse and build the file with NVIDIA's TensorRT-RTX, without a GPU, and say what each layer "
        "computes in (needs the extra `rtx`); a file: the same by what `trtexec --exportLayerInfo` wrote of an engine "
        "(the target is tensorrt)",
    )
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        help="with --engine LAYERS: what was planned (default: what MODEL has in integers)",
    )
    parser.add_argument(
        "--cc", metavar="SM", help="with --engine rtx: the compute capability to build for (sm86; `sm89` takes FP8)"
    )
    parser.add_argument("--rules", action="store_true", help="list the rules instead, one line each")
    for name, each in FORMATS.items():
        if each.to_file:
            parser.add_argument(f"--{name}", metavar="FILE", help=each.help)
        else:
            parser.add_argument(f"--{name}", action="store_true", help=each.help)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Audit one file: 1 for a finding that `--fail-on` counts and for wrong input, 2 where no file is named."""
    from qdsl.cli import EXIT_ERRORS, EXIT_FINE, EXIT_USAGE
    from qdsl.cli.output import complain

    if args.rules:
        return _rules(args.json)
    if args.model is None:
        complain("qdsl audit takes a model file, or `--rules`")
        return EXIT_USAGE
    if not args.causes and (args.floats is not None or args.samples is not None):
        complain("`--float` and `--samples` say how `--causes` measures: add it")
        return EXIT_USAGE
    if args.cc is not None and args.engine != "rtx":
        complain("`--cc` says for which GPU `--engine rtx` builds: add it")
        return EXIT_USAGE
    if args.manifest is not None and args.engine in (None, "rtx"):
        complain("`--manifest` says what the engine of `--engine LAYERS` is held against: add it")
        return EXIT_USAGE
    import qdsl.api
    from qdsl.cli.progress import Progress
    from qdsl.diag import Severity

    with Progress(as_json=args.json) as progress:
        result = qdsl.api.audit(
            args.model,
            recipe=args.recipe,
            target=args.target,
            sets=dict(args.sets),
            fix=args.fix,
            causes=args.causes,
            samples=args.samples,
            floats=args.floats,
            engine=args.engine,
            capability=args.cc,
            manifest=args.manifest,
            listener=progress.hear,
        )
    _tell(args, result)
    level = None if args.fail_on == "never" else Severity(args.fail_on)
    return EXIT_ERRORS if result.has_errors or result.fails(level) else EXIT_FINE


def _tell(args: argparse.Namespace, result: AuditResult) -> None:
    """Results to stdout, files aside, then what is wrong with the recipe to stderr."""
    from qdsl.auditing.formats.index import FORMATS, rendered
    from qdsl.cli.output import diagnostic_json, draws_tables, print_json, show_diagnostics

    flags = {name for name, each in FORMATS.items() if not each.to_file and getattr(args, name.replace("-", "_"))}
    _write(args, result.report)
    if args.json:
        from qdsl.auditing.formats.data import to_data

        told: dict[str, Any] = {"diagnostics": [diagnostic_json(each) for each in result.diagnostics]}
        if result.mended is not None:
            refused = [{"node": one.node, "reason": one.reason} for one in result.mended.refused]
            told["mended"] = {"done": dict(result.mended.done), "refused": refused}
        print_json({**to_data(result.report), **told})
        return
    for name in sorted(flags):
        print(rendered(name, result.report), end="")
    if not flags:
        _mended(args.fix, result)
        from qdsl.auditing.formats.terminal import render

        print(render(result.report, rich=draws_tables()), end="")
    show_diagnostics(result.diagnostics)


def _mended(out: str, result: AuditResult) -> None:
    """`mended     243 unsigned_activations   -> OUT`."""
    from qdsl.spec.words import plain

    if result.mended is None:
        return
    done = ", ".join(f"{count:,} {name}" for name, count in result.mended.done)
    print(f"mended     {done or 'nothing: no finding calls for what needs no data'}, written to {out}")
    for name, reason in result.mended.refused[:_SHOWN]:
        print(f"           {plain(name)} stays: {reason}")
    if (more := len(result.mended.refused) - _SHOWN) > 0:
        print(f"           and {more:,} more")
    print()


def _write(args: argparse.Namespace, report: AuditReport) -> None:
    """Each file that was asked for, whole or not at all; none where one cannot be made."""
    from pathlib import Path

    from qdsl.auditing.formats.index import FORMATS, rendered
    from qdsl.diag import Diagnostic, QdslError
    from qdsl.work.writing import require_place, write_text

    wanted = {name: getattr(args, name.replace("-", "_")) for name, each in FORMATS.items() if each.to_file}
    texts = {Path(path): rendered(name, report) for name, path in wanted.items() if path}
    for path in texts:
        if path.exists() and path.samefile(args.model):
            help = ("name a new file",)
            raise QdslError([Diagnostic("fix-place", f"`{path}` is the file that is audited", help=help)])
        require_place(path.parent)
    for path, text in texts.items():
        write_text(path, text)


def _rules(as_json: bool) -> int:
    """Every rule with its level, its targets and one line."""
    from qdsl.auditing.index import RULES, rule_named
    from qdsl.cli.output import print_json

    found = [rule_named(name) for name in RULES]
    if as_json:
        rows = [
            {"rule": r.id, "severity": r.severity.value, "targets": list(r.targets), "summary": r.summary}
            for r in found
        ]
        print_json(rows)
        return 0
    width = max((len(rule.id) for rule in found), default=0)
    for rule in found:
        only = f" ({', '.join(rule.targets)})" if rule.targets else ""
        print(f"{rule.id:<{width}}  {rule.severity.value:<7}  {rule.summary}{only}")
    return 0
