"""Files as git has them at a revision. Blobs are read as they are stored: no filter and no hook of a repository
runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from qdsl.diag import Diagnostic, QdslError

_SECONDS = 60
_LFS = b"version https://git-lfs.github.com/spec/"
_LARGEST = 1 << 32
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit, or the index: `root` is the top of the working tree (of a bare repository itself), `commit` the full
    hash, "" for the index, and `word` how it was asked for."""

    root: Path
    commit: str
    word: str

    def blob(self, path: PurePosixPath) -> int | None:
        """The size in bytes of the file at `path`, as seen from `root`; None where there is none."""
        named = f"{self.commit}:{path}"
        if _git(self.root, "cat-file", "-t", named).strip() != b"blob":
            return None
        return int(_git(self.root, "cat-file", "-s", named))

    def names(self, folder: PurePosixPath) -> list[str]:
        """The names of the files right under `folder`."""
        tree = "" if folder == PurePosixPath() else str(folder)
        if not self.commit:
            inside = f"{_literal(tree)}/*" if tree else "*"
            listed = _git(self.root, "ls-files", "-z", "--", f":(top,glob){inside}")
            return [PurePosixPath(os.fsdecode(name)).name for name in listed.split(b"\0") if name]
        listed = _git(self.root, "ls-tree", "-z", "--name-only", f"{self.commit}:{tree}")
        return [os.fsdecode(name) for name in listed.split(b"\0") if name]

    def write(self, path: PurePosixPath, to: Path) -> None:
        """Write the file at `path` to `to`. Raises QdslError diff-revision where it is too large, or only a pointer to
        a file that Git LFS keeps elsewhere."""
        size = self.blob(path)
        if size is None or size > _LARGEST:
            why = "is not there" if size is None else "is larger than 4 GiB"
            raise _error(f"`{self.word}:{path}` {why}", "name a file that this revision has")
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("wb") as file:
            done = subprocess.run(
                [*_command(self.root), "cat-file", "blob", f"{self.commit}:{path}"],
                stdout=file,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                timeout=_SECONDS * 5,
                check=False,
            )
        if done.returncode:
            raise _error(f"git cannot read `{self.word}:{path}`", "see what `git fsck` says")
        with to.open("rb") as file:
            pointer = file.read(len(_LFS)) == _LFS
        if pointer:
            raise _error(
                f"`{self.word}:{path}` is a pointer of Git LFS, and the file itself is not in the repository",
                "check the revision out into a worktree of its own (`git worktree add`) and compare the files there",
            )


def revision_of(text: str) -> tuple[Revision, PurePosixPath] | None:
    """`REV:path` as a commit and the path from the top of the repository around the working directory, `:path` as the
    index; None where the text is none (no colon, or no such revision). Raises QdslError diff-revision where there is
    the revision and not the file."""
    word, colon, path = text.partition(":")
    if not (colon and path) or word.startswith("-") or "\0" in text or (not word and path.startswith("/")):
        return None
    place = _repository()
    if place is None:
        return None
    root, prefix = place
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}") if word else b""
    if word and not commit:
        return None
    revision = Revision(root, commit.decode().strip(), word)
    path = path.removeprefix("0:") if not word else path  # the index, as git also writes it
    # As git reads it: from the top, or from here after `./`.
    start = PurePosixPath(prefix) if path.startswith(("./", "../")) else PurePosixPath()
    found = PurePosixPath(os.path.normpath(start / path))
    if revision.blob(found) is None:
        here = PurePosixPath(os.path.normpath(PurePosixPath(prefix) / path))
        if revision.blob(here) is None:
            raise _error(
                f"there is no file `{path[:200]}` {f'at {word[:80]}' if word else 'in the index'}",
                "paths count from the top of the repository",
            )
        found = here
    return revision, found


def _repository() -> tuple[Path, str] | None:
    """The top of the repository around the working directory, and where in it that is."""
    top = _git(Path.cwd(), "rev-parse", "--show-toplevel", "--show-prefix")
    if top:
        root, _, prefix = os.fsdecode(top).rstrip("\n").partition("\n")
        return Path(root), prefix
    bare = _git(Path.cwd(), "rev-parse", "--is-bare-repository").strip() == b"true"
    found = _git(Path.cwd(), "rev-parse", "--absolute-git-dir") if bare else b""
    return (Path(os.fsdecode(found).rstrip("\n")), "") if found else None


def is_shallow() -> bool:
    """Whether the repository around the working directory lacks history that its origin has."""
    return _git(Path.cwd(), "rev-parse", "--is-shallow-repository").strip() == b"true"


def worktree(of: Path) -> Path | None:
    """The top of the working tree that `of` lies in; None outside of one."""
    top = _git(of, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(top).rstrip("\n")) if top else None


def tracked(root: Path, name: str) -> list[PurePosixPath]:
    """The files called `name` that git tracks under `root`."""
    listed = _git(root, "ls-files", "-z", "--", f":(glob)**/{_literal(name)}")
    return [PurePosixPath(os.fsdecode(each)) for each in listed.split(b"\0") if each]


def config(root: Path, key: str, value: str) -> None:
    """Set a value in the configuration of one repository. Raises QdslError diff-git."""
    _must(root, "config", "--local", key, value)


def _literal(name: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in name)


def _must(root: Path, *words: str) -> None:
    try:
        done = subprocess.run(
            [*_command(root), *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise QdslError([Diagnostic("diff-git", f"git cannot be run: {fault}"[:300])]) from fault
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[:200]
        raise QdslError([Diagnostic("diff-git", f"`git {words[0]}` failed: {said}")])


def _git(where: Path, *words: str) -> bytes:
    """What git prints; nothing where it fails or is not there."""
    try:
        done = subprocess.run(
            [*_command(where), *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return b"" if done.returncode else done.stdout


def _command(where: Path) -> Sequence[str]:
    return ("git", "-C", str(where), "--no-pager")


def _error(headline: str, help: str) -> QdslError:
    return QdslError([Diagnostic("diff-revision", headline, help=(help,))])
