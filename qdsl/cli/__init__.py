"""The command line: `qdsl VERB ...`. Importing this loads argparse alone; a verb loads the rest when it runs."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

EXIT_FINE, EXIT_ERRORS, EXIT_USAGE, EXIT_FAULT, EXIT_BUDGET, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

# One verb per module of this package, in the order in which people meet them.
VERBS: dict[str, str] = {
    "check": "say everything that is wrong with recipes, without a model",
    "fmt": "rewrite recipes in the canonical form",
    "plan": "show what a recipe will do to its model: no data needed",
    "explain": "say why one node, tensor or diagnostic is as it is",
    "compile": "calibrate, rewrite, emit and verify",
    "evaluate": "evaluate a build again, without compiling",
    "profile": "time a build again, without compiling",
    "verify": "check what a build computes, here or on other processors, emulated",
    "report": "make the page about a build, or compare several",
    "sweep": "compile recipes with every value of their parameters",
    "passes": "list the rewrite passes, in the order they run",
    "targets": "list the targets and what each runs in integers",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 fine, 1 wrong input, 2 usage, 3 internal fault, 4 a broken budget."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser(words).parse_args(words)
    try:
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _abandon_stdout()  # the reader left: nothing to say, nowhere to say it
        return EXIT_FINE
    except Exception as fault:
        return _failed(fault, as_json=bool(getattr(args, "json", False)))


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the arguments of only that verb which is asked for: the others cost their summary alone."""
    from qdsl import __version__

    parser = argparse.ArgumentParser(
        prog="qdsl", description="Compile quantization recipes into deployable ONNX models.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"qdsl {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    asked = next((word for word in words if not word.startswith("-")), None)
    for verb, summary in VERBS.items():
        if verb != asked:
            verbs.add_parser(verb, help=summary)
            continue
        module = import_module(f"qdsl.cli.{verb}")
        added = module.add(verbs)
        (added or verbs.choices[verb]).set_defaults(run=module.run)
    return parser


def _failed(fault: Exception, *, as_json: bool) -> int:
    """Errors in what the user gave are told with their places, as data on stdout where that was asked for; anything
    else is a fault of ours, and says so."""
    from qdsl.diag import QdslError

    if isinstance(fault, QdslError):
        from qdsl.cli.output import diagnostic_json, print_json, show_diagnostics

        if as_json:
            print_json({"diagnostics": [diagnostic_json(d) for d in fault.diagnostics]})
        else:
            show_diagnostics(fault.diagnostics)
        return EXIT_ERRORS
    if isinstance(fault, OSError) and fault.errno in _NO_ROOM:
        _abandon_stdout()
        print(f"qdsl: the results cannot be written: {fault.strerror}", file=sys.stderr)
        return EXIT_ERRORS
    if os.environ.get("QDSL_TRACEBACK"):
        raise fault
    where = f"{type(fault).__name__}: {fault}".splitlines()[0][:300]
    print(f"internal fault: {where}", file=sys.stderr)
    print("help: this is an error in qdsl, not in your recipe; please report it with", file=sys.stderr)
    print("      what `QDSL_TRACEBACK=1 qdsl ...` prints", file=sys.stderr)
    return EXIT_FAULT


def _abandon_stdout() -> None:
    """What is still unwritten goes nowhere, or the interpreter would fail once more on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
