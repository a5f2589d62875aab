"""The command line: `qdsl VERB ...`. Importing this loads argparse alone; a verb loads the rest when it runs."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from qdsl.cli.process import EXIT_INTERRUPTED, INTERRUPTS, abandon, closed_streams, lasting_streams, leave
from qdsl.verbs import VERBS, module_name

EXIT_FINE, EXIT_ERRORS, EXIT_USAGE, EXIT_FAULT, EXIT_BUDGET = 0, 1, 2, 3, 4
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 fine, 1 wrong input, 2 usage, 3 internal fault, 4 a broken budget. With
    no `argv` this is the whole process: its streams and Ctrl-C are seen to, too."""
    if argv is not None:
        return _run(list(argv))
    INTERRUPTS.starting()
    if closed := closed_streams():
        return _tell_closed(closed)
    lasting_streams()
    try:
        code = _run(sys.argv[1:])
    finally:
        INTERRUPTS.ending()
    if code == EXIT_INTERRUPTED:
        leave(code)
    gc.freeze()  # the interpreter's last collection would walk all there is, to free what ends with the process
    return code


def _run(words: Sequence[str]) -> int:
    args = argparse.Namespace()
    try:
        if not words:
            _parser(words)[0].print_help()
            return EXIT_FINE
        args = _read(words)
        INTERRUPTS.working()
        code = int(args.run(args))
        sys.stdout.flush()
        INTERRUPTS.check()
        return code
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit:
        if (fault := _unflushed()) is not None:
            return _told(fault, as_json=False)
        raise
    except BrokenPipeError:
        abandon(sys.stdout)  # the reader left: nothing to say, nowhere to say it
        return EXIT_FINE
    except Exception as fault:
        if INTERRUPTS.seen:  # whatever it was turned into on its way
            return _interrupted()
        return _told(fault, as_json=bool(getattr(args, "json", False)))


def _unflushed() -> OSError | None:
    """What keeps the last lines from being written: told here, else the interpreter fails on its way out."""
    try:
        sys.stdout.flush()
    except OSError as fault:
        return fault
    return None


def _interrupted() -> int:
    with suppress(OSError):
        print("interrupted", file=sys.stderr)
    return EXIT_INTERRUPTED


def _tell_closed(closed: Sequence[str]) -> int:
    """Nothing is done where nothing could be told of it."""
    words = f"qdsl: {' and '.join(closed)} {'is' if len(closed) == 1 else 'are'} closed, and results or errors would be"
    for stream in (sys.stderr, sys.stdout):
        print(f"{words} lost; `> /dev/null` says that this is meant", file=stream, flush=True)
    return EXIT_ERRORS


def _told(fault: Exception, *, as_json: bool) -> int:
    """The exit code for what was raised, which is told as far as there is somebody to hear it."""
    try:
        return _failed(fault, as_json=as_json)
    except OSError:
        abandon(sys.stdout)
        abandon(sys.stderr)
    except MemoryError:
        with suppress(OSError):
            os.write(2, b"qdsl: there is not enough memory for this\n")
    return EXIT_ERRORS


def _read(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; SystemExit 2, after what was meant, for a verb or an option that does not exist."""
    parser, verbs = _parser(words)
    asked = _asked(words)
    if asked is not None and asked not in VERBS:
        parser.exit(EXIT_USAGE, f"qdsl: there is no verb `{_short(asked)}`{_verb_meant(asked)}\n")
    args, unknown = parser.parse_known_args(words)
    if unknown:
        named = f"qdsl {asked}" if asked else "qdsl"
        parser.exit(EXIT_USAGE, f"{named}: {_option_meant(unknown[0], verbs.choices[asked] if asked else parser)}\n")
    return args


def _asked(words: Sequence[str]) -> str | None:
    return next((word for word in words if not word.startswith("-")), None)


def _short(word: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in word[:80])


def _verb_meant(word: str) -> str:
    """What to call instead: a file's name alone needs a verb before it."""
    from qdsl.diag import nearest

    if word.endswith(".onnx"):
        return f"; `qdsl new {_short(word)}` writes a recipe for a model"
    if word.endswith(".q"):
        return f"; `qdsl check {_short(word)}` looks at a recipe, `qdsl compile {_short(word)}` carries it out"
    close = nearest(word.lower(), VERBS, 1)
    return f"; did you mean `qdsl {close[0]}`?" if close else f": there are {', '.join(VERBS)}"


def _option_meant(word: str, parser: argparse.ArgumentParser) -> str:
    from qdsl.diag import nearest

    name = word.partition("=")[0]
    if not name.startswith("-"):
        return f"`{_short(word)}` is one argument too many; `--help` shows what it takes"
    close = nearest(name, parser._option_string_actions)
    meant = f"did you mean `{close[0]}`?" if close else "`--help` lists them"
    return f"there is no option `{_short(name)}`; {meant}"


def whole_parser() -> argparse.ArgumentParser:
    """The parser with every verb's arguments."""
    return _parser(tuple(VERBS), every=True)[0]


def _parser(words: Sequence[str], *, every: bool = False) -> tuple[argparse.ArgumentParser, Any]:
    """The parser and its verbs: of the verb that is asked for its arguments, of the others their summary, and that only
    where it can be shown."""
    from qdsl.version import __version__

    parser = argparse.ArgumentParser(
        prog="qdsl", description="Compile quantization recipes into deployable ONNX models.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"qdsl {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    asked = _asked(words)
    alone = not every and asked in VERBS and words[0] == asked  # all that follows is read by the verb
    for verb, (summary, *_) in VERBS.items():
        if alone and verb != asked:
            continue
        added = verbs.add_parser(verb, help=summary)
        if verb == asked or every:
            module = import_module(f"qdsl.cli.{module_name(verb)}")
            module.add(added)
            added.set_defaults(run=module.run)
    return parser, verbs


def _failed(fault: Exception, *, as_json: bool) -> int:
    """Errors in what the user gave are told with their places, as data on stdout where that was asked for; anything
    else is a fault of ours, and says so."""
    from qdsl.diag import QdslError
    from qdsl.diag.system import refused_by_system

    if isinstance(fault, OSError) and fault.errno in _NO_ROOM and fault.filename is None:
        abandon(sys.stdout)
        print(f"qdsl: the results cannot be written: {fault.strerror}", file=sys.stderr)
        return EXIT_ERRORS
    if os.environ.get("QDSL_TRACEBACK") and not isinstance(fault, QdslError):
        raise fault
    refused = refused_by_system(fault)
    found = fault.diagnostics if isinstance(fault, QdslError) else () if refused is None else (refused,)
    if found:
        from qdsl.cli.output import diagnostic_json, print_json, show_diagnostics

        if as_json:
            print_json({"diagnostics": [diagnostic_json(d) for d in found]})
        else:
            show_diagnostics(found)
        return EXIT_ERRORS
    where = f"{type(fault).__name__}: {fault}".splitlines()[0][:300]
    print(f"internal fault: {where}", file=sys.stderr)
    print("help: this is an error in qdsl, not in your recipe; please report it with", file=sys.stderr)
    print("      what `QDSL_TRACEBACK=1 qdsl ...` prints", file=sys.stderr)
    return EXIT_FAULT
