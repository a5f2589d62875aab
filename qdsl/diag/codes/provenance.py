"""Diagnostic codes of what a file says of where it comes from, and of what `show` writes."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_EXAMPLE = "recipe example\n"

CODES: dict[str, CodeDoc] = {
    "provenance-missing": CodeDoc(
        summary="a file does not carry the recipe that it was made from",
        explanation="`show --extract` gives back the recipe that `compile` wrote into the file. Other tools write\n"
        "none, and neither does `compile --provenance none` or `quantize none`, which copies the file.",
        example=_EXAMPLE,
        verb="library",
        cure="take the recipe from where the file was made; `qdsl show` without `--extract` says what the file holds",
    ),
    "provenance-invalid": CodeDoc(
        summary="what a file says of where it comes from is not what qdsl writes",
        explanation="The text in the file's metadata is read strictly: another version of qdsl wrote it, or somebody\n"
        "changed it. Nothing in it is believed or extracted; what the file holds is shown all the same.",
        example=_EXAMPLE,
        verb="library",
        cure="compile the recipe again with this version of qdsl",
    ),
    "provenance-hashes": CodeDoc(
        summary="a file carries hashes of its recipe, not the text",
        explanation="It was compiled with `--provenance hashes`: a recipe can be held against it, not taken from it.",
        example=_EXAMPLE,
        verb="library",
        cure="take the recipe from where the file was made, and hold it against the file: `qdsl show FILE --recipe R`",
    ),
    "show-exists": CodeDoc(
        summary="`show` overwrites nothing",
        explanation="`--extract` writes a file that is not there yet or into an empty folder; `--export` a folder\n"
        "that is not there yet, is empty, or holds an earlier export, which it replaces.",
        example=_EXAMPLE,
        verb="library",
        cure="name another file or folder, or take away what is there",
    ),
}
