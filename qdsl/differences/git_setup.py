"""What makes `git diff` show what a change means: attributes in the repository, and the driver they name."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError
from qdsl.differences.git import config, worktree
from qdsl.spec.aside import forget_dead, replace_file

DRIVER = "qdsl"
ATTRIBUTES = ".gitattributes"
_PATTERNS = ("*.q", "*.lock", "*.onnx")
_LARGEST = 1 << 20


def set_up(folder: Path) -> tuple[Path, tuple[str, ...], str]:
    """Set up the repository around `folder`: its top, the lines that were added, and the command that git runs. Once
    more changes nothing. Raises QdslError diff-git."""
    root = worktree(folder)
    if root is None:
        raise _error(f"`{folder}` is in no git repository", "run it inside of one, or name a folder in it")
    added = _attributes(root / ATTRIBUTES)
    command = _command()
    config(root, f"diff.{DRIVER}.textconv", command)
    config(root, f"diff.{DRIVER}.cachetextconv", "false")  # what a recipe plans depends on its model, too
    return root, added, command


def _attributes(file: Path) -> tuple[str, ...]:
    """The lines that were missing, added at the end."""
    try:
        text = ""
        if file.exists():
            if file.stat().st_size > _LARGEST:
                raise _error(f"`{file}` is larger than 1 MiB", "set it up by hand: docs/diff.md")
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
        known = {tuple(line.split()[:1]) for line in text.splitlines() if f"diff={DRIVER}" in line.split()[1:]}
        added = tuple(f"{pattern} diff={DRIVER}" for pattern in _PATTERNS if (pattern,) not in known)
        if added:
            gap = "" if not text or text.endswith("\n") else "\n"
            made = text + gap + "".join(f"{line}\n" for line in added)
            real = file.resolve()
            forget_dead(real.parent, real.name)
            replace_file(real, made.encode("utf-8", errors="surrogateescape"))
        return added
    except OSError as fault:
        raise _error(f"`{file}` cannot be written: {fault.strerror}", "see that the file may be changed") from fault


def _command() -> str:
    """`qdsl` where the shell finds it, else this very interpreter."""
    start = "qdsl" if shutil.which("qdsl") else f"{shlex.quote(sys.executable)} -m qdsl"
    return f"{start} diff --lines"


def _error(headline: str, help: str) -> QdslError:
    return QdslError([Diagnostic("diff-git", headline, help=(help,))])
