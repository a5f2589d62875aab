"""Sources made of folders: `images`, `folder` (one folder per class) and `masks`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qdsl.data.files import expand, path_key, pictures_in, subfolders, written
from qdsl.data.image import SUFFIXES
from qdsl.data.types import Item, Label, Listing, failure
from qdsl.data.unmatched import unmatched
from qdsl.data.words import class_problem, short
from qdsl.diag import Diagnostic, nearest
from qdsl.lang.recipe import DataSpec
from qdsl.spec.words import count

_MASK = "_mask"  # what labelling programs put behind the name of a picture


def images(spec: DataSpec) -> Listing:
    """Pictures without labels: files, folders with the folders below them, globs."""
    unread: list[str] = []
    found = expand(spec, SUFFIXES, unread)
    return Listing(tuple(Item(name, path) for name, path in found), skipped=tuple(unread))


def folder(spec: DataSpec) -> Listing:
    """One folder per class; what lies deeper in a class's folder belongs to it. `split W` is a folder above the
    classes. `classes` picks folders and gives their order; without it, every folder, by name."""
    root, shown = split_root(spec)
    found = subfolders(root, shown, spec.span)
    for name in spec.classes:
        if name not in found:
            raise unknown_class(name, found, spec)
    classes = spec.classes or tuple(found)
    items: list[Item] = []
    skipped: list[str] = []
    for index, name in enumerate(classes):
        problem = class_problem(name)
        if problem:
            headline = f"the folder `{short(name)}` in {shown} cannot be a class: {problem}"
            raise failure("data-name", headline, spec.span)
        label = partial(_whole, index)
        unread: list[str] = []
        files = pictures_in(root / name, f"{shown}/{name}", spec.span, unread)
        skipped += [f"{name}/{each}" for each in unread]
        items += [Item(f"{name}/{file}", path, label) for file, path in files]
    ordered = tuple(sorted(items, key=lambda item: path_key(item.id)))
    return Listing(ordered, classes, tuple(skipped), _beside_classes(spec, root))


def _beside_classes(spec: DataSpec, root: Path) -> tuple[Diagnostic, ...]:
    """What is to be told of pictures that lie in no class's folder."""
    loose = sorted(path.name for path in root.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    loose = [name for name in loose if not name.startswith(".")]
    cure = "a picture belongs to the class of its folder: move them, or name the dataset's own folder"
    what = "picture that lies beside the folders of classes", "pictures that lie beside the folders of classes"
    return unmatched(spec, loose, what, cure)


def masks(spec: DataSpec) -> Listing:
    """Pictures and a mask of class numbers for each, paired by file stem, which `_mask` may follow: one path that holds
    `images` and `masks`, or two paths. `split W` is a folder below each of the two, or above both. Pictures without a
    mask are skipped, and listed."""
    roots = _mask_roots(spec)
    by_stem: dict[str, tuple[str, Path]] = {}
    used: set[str] = set()
    called: dict[str, str] = {}
    items: list[Item] = []
    skipped: list[str] = []
    for name, path in pictures_in(roots[1][0], roots[1][1], spec.span, skipped):
        stem = name.rpartition(".")[0]
        by_stem.setdefault(stem, (name, path))
        called.setdefault(stem.removesuffix(_MASK), stem)
    for name, path in pictures_in(roots[0][0], roots[0][1], spec.span, skipped):
        stem = name.rpartition(".")[0]
        stem = stem if stem in by_stem else called.get(stem, stem)
        mask = by_stem.get(stem)
        if mask is None:
            skipped.append(f"{name}: no mask of that name")
        else:
            used.add(stem)
            items.append(Item(name, path, mask=mask[1]))
    left = [name for stem, (name, _) in by_stem.items() if stem not in used]
    cure = "a mask is called as its picture is: masks/a.png or masks/a_mask.png for images/a.jpg"
    what = "mask without a picture of that name", "masks without a picture of that name"
    notes = unmatched(spec, left, what, cure)
    return Listing(tuple(items), spec.classes, tuple(skipped), notes)


def split_root(spec: DataSpec) -> tuple[Path, str]:
    """The one folder that `spec` names, with its `split` below it, and how to call it."""
    single_path(spec)
    shown = written(spec, 0)
    if spec.split is None:
        return Path(spec.paths[0]), shown
    return Path(spec.paths[0]) / safe_split(spec), f"{shown}/{spec.split}"


def single_path(spec: DataSpec, most: int = 1) -> None:
    if not 1 <= len(spec.paths) <= most:
        takes = "one path" if most == 1 else f"one to {most} paths"
        headline = f"`{spec.source}` takes {takes}, found {len(spec.paths)}"
        raise failure("data-paths", headline, spec.at("from"))


def safe_split(spec: DataSpec) -> str:
    """`split W` as one path part: no separator, not `..`."""
    split = spec.split or ""
    if split in ("", ".", "..") or any(c in split for c in "/\\\0*?["):
        raise failure("data-split", f"`{split[:60]}` is not the name of a split", spec.at("split"))
    return split


def unknown_class(name: str, known: list[str] | tuple[str, ...], spec: DataSpec) -> Exception:
    close = nearest(name, known)
    cure = f"it has {', '.join(known[:8]) or 'none'}"
    if close:
        cure = f"did you mean {' or '.join(f'`{c}`' for c in close)}?"
    headline = f"dataset {spec.name} has no class `{name[:80]}`"
    return failure(
        "data-class",
        headline,
        spec.at("oversample", "ratio", "classes"),
        label=f"among {count(len(known), 'class', 'classes')}",
        help=(cure,),
    )


def _whole(index: int) -> tuple[Label, ...]:
    return (Label(index),)


def _mask_roots(spec: DataSpec) -> list[tuple[Path, str]]:
    single_path(spec, most=2)
    split = safe_split(spec) if spec.split is not None else None
    if len(spec.paths) == 2:
        tail = f"/{split}" if split else ""
        return [(Path(p + tail), written(spec, i) + tail) for i, p in enumerate(spec.paths)]
    root, shown = Path(spec.paths[0]), written(spec, 0)
    above = split is not None and (root / split / "images").is_dir()
    pattern = "{0}/{1}" if above else ("{1}/{0}" if split else "{1}")
    parts = [pattern.format(split, kind) for kind in ("images", "masks")]
    return [(root / part, f"{shown}/{part}") for part in parts]
