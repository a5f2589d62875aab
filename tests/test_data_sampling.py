"""`oversample`, `ratio` and `balance classes` on every source that has classes."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from data_cases import block, data_spec, picture
from hypothesis import given, settings
from hypothesis import strategies as st

import qdsl.data
from qdsl.data.sampling import quotas, sampled
from qdsl.data.types import Item, Label, Listing
from qdsl.diag import Diagnostics, QdslError

INPUT = {"images": ("float32", (1, 3, 8, 8))}
CLASSES = ("crack", "clean", "particle")


def opened(source: str, path: Path, diags: Diagnostics | None = None, **given: Any) -> qdsl.data.Dataset:
    inputs = (block(("resize", 8, 8, "stretch")),)
    return qdsl.data.open(data_spec(source, path, **given), inputs, INPUT, diags)


def folder(root: Path) -> Path:
    for at, name in enumerate(("clean/1", "clean/2", "clean/3", "clean/4", "crack/1", "particle/1")):
        picture(root / f"{name}.png", seed=at)
    return root


SHOWN: tuple[tuple[int, ...], ...] = ((1,), (1,), (1,), (0, 1), (0, 2), ())


def yolo(root: Path) -> Path:
    for at, classes in enumerate(SHOWN):
        picture(root / f"images/{at}.png", seed=at)
        (root / "labels").mkdir(exist_ok=True)
        (root / f"labels/{at}.txt").write_text("".join(f"{c} 0.5 0.5 0.1 0.1\n" for c in classes))
    (root / "d.yaml").write_text("train: images\nnames: [crack, clean, particle]\n")
    return root / "d.yaml"


def coco(root: Path) -> Path:
    for at in range(len(SHOWN)):
        picture(root / f"images/{at}.png", seed=at)
    boxes = [
        {"image_id": at, "category_id": c, "bbox": [1, 1, 2, 2]} for at, classes in enumerate(SHOWN) for c in classes
    ]
    images = [{"id": at, "file_name": f"{at}.png", "width": 8, "height": 6} for at in range(len(SHOWN))]
    categories = [{"id": c, "name": name} for c, name in enumerate(CLASSES)]
    (root / "d.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return root / "d.json"


def counts(dataset: qdsl.data.Dataset) -> list[int]:
    """How often each picture is seen, in path order of those seen."""
    return list(Counter(Path(name).stem for name in dataset.ids).values())


def test_folder(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    more = opened("folder", root, oversample=(("crack", 10), ("particle", 3)))
    assert Counter(name.split("/")[0] for name in more.ids) == {"clean": 4, "crack": 10, "particle": 3}
    assert list(more.ids) == sorted(more.ids) and more.sample(5).id == more.sample(6).id == "crack/1.png"
    half = opened("folder", root, ratio=(("crack", 0.5), ("clean", 0.5)), take=(4, 7))
    assert Counter(name.split("/")[0] for name in half.ids) == {"clean": 2, "crack": 2}
    even = opened("folder", root, balance=True)
    assert Counter(name.split("/")[0] for name in even.ids) == {"clean": 2, "crack": 2, "particle": 2}


@pytest.mark.parametrize(("source", "make"), [("yolo", yolo), ("coco", coco)])
def test_pictures_with_several_classes_or_none(source: str, make: Any, tmp_path: Path) -> None:
    path = make(tmp_path)
    most = opened(source, path, oversample=(("crack", 2), ("particle", 5)))
    assert counts(most) == [1, 1, 1, 2, 5, 1], "the largest factor holds; the background stays"
    empty = opened(source, path, oversample=(("background", 4),))
    assert counts(empty) == [1, 1, 1, 1, 1, 4]
    diags = Diagnostics()
    even = opened(source, path, diags, balance=True, take=(3, None))
    assert [Path(name).stem for name in even.ids] == ["0", "3", "4"], "one of each class, the rarest that it shows"
    assert [d.code for d in diags] == ["data-skipped"] and even.skipped[0].endswith("5.png: no labels")
    mixed = opened(source, path, ratio=(("clean", 0.5), ("background", 0.5)), take=(4, 1))
    assert Counter(Path(name).stem == "5" for name in mixed.ids) == {True: 2, False: 2}


def test_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    for setting in ({"ratio": (("crak", 1.0),)}, {"oversample": (("crak", 2),)}):
        with pytest.raises(QdslError) as caught:
            opened("folder", folder(tmp_path / "d"), **setting)
        found = caught.value.diagnostics[0]
        assert found.code == "data-class" and "`crack`" in found.help[0]


def test_balance_goes_on_without_a_class_that_has_no_picture(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    (root / "scratch").mkdir()
    diags = Diagnostics()
    assert len(opened("folder", root, diags, balance=True)) == 6
    assert [d.code for d in diags] == ["sampling-empty"]
    with pytest.raises(QdslError, match="sampling-empty"):
        opened("folder", root, balance=True, classes=("crack", "scratch"))


def test_images_have_no_classes(tmp_path: Path) -> None:
    with pytest.raises(QdslError, match="data-setting"):
        opened("images", folder(tmp_path / "d") / "clean", balance=True)


def _class(index: int) -> tuple[Label, ...]:
    return (Label(index),)


def test_equal_files_are_named_and_repeats_asked_for_are_not(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    (root / "clean/9.png").write_bytes((root / "clean/2.png").read_bytes())
    other = bytearray((root / "clean/2.png").read_bytes())
    other[-1] ^= 1
    (root / "clean/8.png").write_bytes(other)
    diags = Diagnostics()
    opened("folder", root, diags, oversample=(("crack", 5),))
    assert [(d.code, d.label) for d in diags] == [("data-duplicates", "clean/9.png")]


NO_EFFECT: dict[str, tuple[dict[str, Any], str]] = {
    "factor 1": ({"oversample": (("crack", 1),)}, "`oversample` changes nothing"),
    "the same factor for all": (
        {"oversample": (("crack", 3), ("clean", 3), ("particle", 3))},
        "`oversample` changes nothing",
    ),
    "what is there already": (
        {"ratio": (("clean", 4 / 6), ("crack", 1 / 6), ("particle", 1 / 6))},
        "`ratio` changes nothing",
    ),
    "as many of each already": (
        {"balance": True, "classes": ("crack", "particle")},
        "`balance classes` changes nothing",
    ),
    "no picture shows it": (
        {"oversample": (("background", 5),)},
        "`oversample` finds no picture of class `background`",
    ),
}


@pytest.mark.parametrize("case", sorted(NO_EFFECT))
def test_what_changes_nothing_is_told(case: str, tmp_path: Path) -> None:
    setting, said = NO_EFFECT[case]
    diags = Diagnostics()
    opened("folder", folder(tmp_path / "d"), diags, **setting)
    (told,) = diags
    assert told.code == "sampling-no-effect" and told.headline.startswith(said)


@pytest.mark.parametrize(
    "setting",
    [
        {"oversample": (("crack", 2),)},
        {"ratio": (("clean", 0.5), ("crack", 0.5))},
        {"balance": True},
        {"oversample": (("crack", 2),), "take": (2, 1)},
    ],
)
def test_what_changes_something_is_not(setting: dict[str, Any], tmp_path: Path) -> None:
    diags = Diagnostics()
    opened("folder", folder(tmp_path / "d"), diags, **setting)
    assert "sampling-no-effect" not in [found.code for found in diags]


def listing(groups: list[int]) -> Listing:
    items = [
        Item(f"{c}/{i}", Path(f"{c}/{i}"), partial(_class, c)) for c, size in enumerate(groups) for i in range(size)
    ]
    return Listing(tuple(items), CLASSES[: len(groups)])


@given(st.lists(st.integers(1, 30), min_size=2, max_size=3), st.data(), st.integers(1, 100), st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_counts_match_the_shares_within_rounding(sizes: list[int], data: st.DataObject, take: int, seed: int) -> None:
    cuts = sorted(data.draw(st.integers(1, 99)) for _ in sizes[1:])
    percents = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
    ratio = tuple((CLASSES[c], percent / 100) for c, percent in enumerate(percents))
    spec = data_spec("folder", Path("d"), ratio=ratio, take=(take, seed))
    drawn = sampled(spec, listing(sizes), Diagnostics())
    number = Counter(int(item.id.split("/")[0]) for item in drawn.items)
    total = min(take, drawn.available)
    assert len(drawn.items) == total
    for c, percent in enumerate(percents):
        assert abs(number[c] - total * percent / 100) < 1
        uses = [n for name, n in Counter(i.id for i in drawn.items).items() if name.startswith(f"{c}/")]
        assert not uses or max(uses) - min(uses) <= 1, "no sample is repeated while another waits"


@given(st.permutations(range(6)), st.integers(0, 5), st.sampled_from(["oversample", "ratio", "balance"]))
@settings(max_examples=30, deadline=None)
def test_the_order_in_which_files_were_made_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], seed: int, how: str
) -> None:
    settings_of: dict[str, dict[str, Any]] = {
        "oversample": {"oversample": (("crack", 4),)},
        "ratio": {"ratio": (("crack", 0.3), ("clean", 0.7))},
        "balance": {"balance": True},
    }
    chosen = settings_of[how]
    found = []
    for places in (range(6), order):
        root = tmp_path_factory.mktemp("made")
        for at in places:
            file = root / CLASSES[at % 2] / f"{at}.png"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"")
        found.append(opened("folder", root, take=(4, seed), **chosen).ids)
    assert found[0] == found[1] and len(found[0]) == 4


@given(st.integers(0, 10**6), st.lists(st.integers(1, 1000), min_size=1, max_size=9))
def test_quotas_add_up(count: int, weights: list[int]) -> None:
    shares = [Fraction(w, sum(weights)) for w in weights]
    parts = quotas(count, shares)
    assert sum(parts) == count and all(abs(p - count * s) < 1 for p, s in zip(parts, shares, strict=True))
