"""Diagnostic codes of comparing two files, and of what git shows of them."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_ANY = "recipe example\n"

CODES: dict[str, CodeDoc] = {
    "diff-input": CodeDoc(
        summary="`qdsl diff` was given something that it cannot read",
        explanation="Each side is a recipe (.q), a plan (plan.json, or the folder of a build), a lock (.lock) or a\n"
        "model (.onnx): a path, or `REV:path` of the git repository around the working directory.",
        example=_ANY,
        verb="library",
    ),
    "diff-revision": CodeDoc(
        summary="a file is not there at the revision, or git keeps it elsewhere",
        explanation="`REV:path` counts from the top of the repository, as in `git show`. What Git LFS keeps is a\n"
        "pointer in the repository; the file itself has to be checked out.",
        example=_ANY,
        verb="library",
    ),
    "diff-kinds": CodeDoc(
        summary="the two sides say different kinds of things",
        explanation="A recipe is compared with a recipe or a plan, a lock with a lock, a model with a model. Whether\n"
        "a model is what its recipe asks for is what `qdsl audit MODEL --recipe RECIPE` says.",
        example=_ANY,
        verb="library",
    ),
    "diff-git": CodeDoc(
        summary="git cannot be set up here",
        explanation="`qdsl git-setup` adds lines to `.gitattributes` at the top of a repository and a driver to its\n"
        "own configuration: it needs a repository that may be written, and git.",
        example=_ANY,
        verb="library",
        cure="see that git works in this folder: `git status`",
    ),
}
