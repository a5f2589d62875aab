"""`qdsl completion SHELL`: a script that lets the shell complete verbs, options, recipes and targets."""

from __future__ import annotations

import argparse

_SHELLS = ("bash", "zsh", "tcsh")
_WHERE = {
    "bash": "qdsl completion bash > ~/.local/share/bash-completion/completions/qdsl",
    "zsh": 'qdsl completion zsh > "${fpath[1]}/_qdsl"',
    "tcsh": "qdsl completion tcsh > ~/.qdsl.completion; source ~/.qdsl.completion",
}
# Recipes are files that end in .q, in folders.
_PREAMBLE = {
    "bash": """
_qdsl_recipes() {
  compgen -d -S '/' -- "$1"
  compgen -f -X '!*.q' -- "$1"
}
""",
}
_RECIPES = {"bash": "_qdsl_recipes", "zsh": "_files -g '*.q'", "tcsh": "f:*.q"}
_FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
_FOLDERS = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print a completion script. To install it: " + "; ".join(f"`{command}`" for command in _WHERE.values()) + "."
    )
    parser.add_argument("shell", choices=_SHELLS)


def run(args: argparse.Namespace) -> int:
    import shtab

    from qdsl.cli import whole_parser

    parser = whole_parser()
    _mark(parser)
    print(shtab.complete(parser, shell=args.shell, preamble=_PREAMBLE.get(args.shell, "")))
    return 0


def _mark(parser: argparse.ArgumentParser) -> None:
    """Say of every argument that names a file which files may stand there."""
    from qdsl.lang.vocabulary import TARGETS

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _mark(verb)
        elif action.dest in ("recipe", "recipes", "words"):
            action.complete = _RECIPES  # type: ignore[attr-defined]
        elif action.dest in ("model", "add", "out"):
            action.complete = _FILES  # type: ignore[attr-defined]
        elif action.dest in ("directories", "data"):
            action.complete = _FOLDERS  # type: ignore[attr-defined]
        elif action.dest == "target":
            action.choices = TARGETS
