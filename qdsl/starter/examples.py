"""Examples to try: one that is made on the spot, and those of the source repository, copied where that is at hand."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError
from qdsl.spec.aside import folder_aside, forget_dead
from qdsl.starter.shapes import write_shapes
from qdsl.work.writing import unwritable

MADE = "shapes"


@dataclass(frozen=True, slots=True)
class Kept:
    """An example of the repository, `examples/<name>`: its recipe of first choice, what all of its recipes are called,
    a file that tells its folder from others, and what it is."""

    recipe: str
    recipes: str
    model: str
    about: str


KEPT: Mapping[str, Kept] = {
    "cracks": Kept("cracks_v1_static", "cracks_*.q", "mobilenet_v1_025.onnx", "classifiers of cracks in concrete"),
    "people": Kept("yolov8n_static", "yolov8n_*.q", "yolov8n.onnx", "YOLOv8n, a detector of people"),
    "steel": Kept("steel_default", "steel_*.q", "steel.onnx", "a detector of rare defects on steel"),
}


def write_example(name: str, folder: Path) -> tuple[Path, str, tuple[Path, ...]]:
    """Write the example called `name` into the new folder `folder`, whole or not at all: the recipe, its text, and what
    else was written. Raises QdslError: new-example, artifact-write."""
    if name != MADE and name not in KEPT:
        told = [f"`{MADE}` (small, made on the spot)", *(f"`{each}` ({kept.about})" for each, kept in KEPT.items())]
        headline = f"there is no example `{name[:60]}`"
        raise QdslError([Diagnostic("new-example", headline, help=(f"there are {', '.join(told)}",))])
    source = None if name == MADE else _found(name)
    try:
        forget_dead(folder.parent, folder.name)
        with folder_aside(folder) as made:
            recipe = f"{MADE}.q" if source is None else f"{KEPT[name].recipe}.q"
            if source is None:
                text, _ = write_shapes(made)
                (made / recipe).write_text(text, encoding="utf-8")
            else:
                _copy(name, source, made)
                text = (made / recipe).read_text(encoding="utf-8")
            files = [path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
            made.rename(folder)
    except OSError as error:
        raise unwritable(folder, error) from None
    return folder / recipe, text, tuple(folder / path for path in files if str(path) != recipe)


def _found(name: str) -> Path:
    """The folder of an example: in the checkout that this package runs from, or in which it is used. Raises QdslError
    new-example where there is none: its pictures do not come with the package."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        place = root / "examples" / name
        if (place / KEPT[name].model).is_file() and (root / "recipes" / f"{KEPT[name].recipe}.q").is_file():
            return place
    headline = f"`{name}` stands in qdsl's source repository: the installed package has no room for its pictures"
    recipe = f"recipes/{KEPT[name].recipe}.q"
    help = (
        f"in a clone of it, `qdsl compile {recipe}`, or this command again to get a copy of `examples/{name}`",
        f"`qdsl new --example {MADE} DIR` writes one that needs nothing",
    )
    raise QdslError([Diagnostic("new-example", headline, help=help)])


def _copy(name: str, source: Path, made: Path) -> None:
    """Model, data and recipes, whose paths then lead to what lies beside them; not what they were made with."""
    shutil.copytree(source, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__", ".*"))
    before = f"../examples/{name}"
    for path in sorted((source.parent.parent / "recipes").glob(KEPT[name].recipes)):
        text = path.read_text(encoding="utf-8").replace(f"{before}/", "").replace(f'"{before}"', '"."')
        (made / path.name).write_text(text, encoding="utf-8")
