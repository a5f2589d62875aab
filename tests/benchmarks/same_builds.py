"""Whether this tree plans and emits what another revision of the repository does, byte for byte.

    python tests/benchmarks/same_builds.py HEAD~3
    python tests/benchmarks/same_builds.py HEAD --graphs 50 --recipes recipes/cracks_v1_static.q

All shipped recipes, those of the tests and 300 random graphs, unless others are named. For refactorings, which change
neither. The revision is unpacked from git into a temporary folder; each side compiles its own recipes and the same
random graphs in a process of its own. This tree draws the graphs: the other need not be laid out as it is. What differs
is named, file by file, with the first line in which two plans part; ends with 1 then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import ROOT
from revisions import unpacked

KEPT_WHOLE = (".json", ".txt")  # what is shown where it differs; of other files the hash is enough
# Says when or on what it was made, not what.
LEFT_OUT = ("measurements.json", "report.html", "cell.json")
MODES = (
    "quantize static { weights int8; activations uint8; calibrate minmax on calib }",
    "quantize static { weights int8; activations int8; calibrate entropy on calib }\nimprove { bias_correct }",
    "quantize static { weights 8 bit; activations 6 bit; calibrate minmax on calib }\nkeep op Sigmoid in float32",
    "quantize dynamic { weights 8 bit }",
    "quantize float { weights float16; activations float16 }",
)
Found = dict[str, str]


def beside(tree: Path) -> Path:
    """The tree, with the folder beside it that the recipes of the tests name models and pictures in."""
    shared = ROOT.parent / "shared"
    if shared.exists():
        (tree.parent / "shared").symlink_to(shared.resolve())
    return tree


def collect(tree: Path, recipes: list[Path], graphs: Path, out: Path) -> None:
    """Compile all, by the code in `tree`, and write what came out to `out`."""
    sys.path.insert(0, str(tree))
    found: Found = {}
    for recipe in recipes:
        found |= built(recipe, recipe.name)
    for recipe in sorted(graphs.rglob("*.q")):
        found |= built(recipe, f"graph {int(recipe.parent.name)}")
    out.write_text(json.dumps(found), encoding="utf-8")


def built(recipe: Path, name: str) -> Found:
    """What a recipe's build holds, or why there is none."""
    import qdsl
    from qdsl.diag import QdslError

    with tempfile.TemporaryDirectory() as out:
        try:
            qdsl.compile(recipe, out=out, lock=False, measure=False, workers=1)
        except QdslError as error:
            return {name: "\n".join(f"{one.code}: {one.headline}" for one in error.diagnostics)}
        files = sorted(path for path in Path(out).rglob("*") if path.is_file() and path.name not in LEFT_OUT)
        return {f"{name}: {path.relative_to(out)}": content(path) for path in files}


def content(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix not in KEPT_WHOLE:
        return hashlib.sha256(data).hexdigest()
    return data.decode("utf-8")


def draw(seed: int, folder: Path) -> None:
    """Write a random graph with its data and a recipe."""
    import numpy as np
    import onnx
    from random_graphs import random_model

    folder.mkdir(parents=True)
    model = random_model(seed)
    onnx.save(model, folder / "model.onnx")
    values = np.random.default_rng(seed)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    np.savez(
        folder / "calib.npz", **{n: values.standard_normal((3, *s[1:])).astype(np.float32) for n, s in shapes.items()}
    )
    mode = MODES[seed % len(MODES)]
    text = f'recipe drawn\nmodel onnx "model.onnx"\ndata calib from npz "calib.npz"\n{mode}\ntarget ort\n'
    (folder / "drawn.q").write_text(text, encoding="utf-8")


def side(tree: Path, recipes: list[str], graphs: Path, out: Path) -> Found:
    """`collect` in a process of its own: both sides are packages of one name."""
    words = ["--collect", str(tree), "--drawn", str(graphs), "--out", str(out), "--recipes", *recipes]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "here", *words],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the side in {tree} ended with {done.returncode}")
    found: Found = json.loads(out.read_text(encoding="utf-8"))
    return found


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*here, *there}):
        if here.get(name) == there.get(name):
            continue
        if name not in there or name not in here:
            yield f"{name}: only {'here' if name in here else 'there'}"
            continue
        yield f"{name}: {parting(there[name], here[name])}"


def parting(there: str, here: str) -> str:
    """The first line in which two texts differ."""
    for number, (before, after) in enumerate(zip(there.splitlines(), here.splitlines(), strict=False), start=1):
        if before != after:
            return f"line {number}: {before.strip()[:100]} | {after.strip()[:100]}"
    return "one is longer"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("--graphs", type=int, default=300)
    parser.add_argument("--recipes", nargs="*", help="of either tree; all where none is named")
    parser.add_argument("--collect", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--drawn", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args: Any = parser.parse_args()
    if args.collect:
        collect(args.collect, [args.collect / name for name in args.recipes], args.drawn, args.out)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
        graphs = Path(folder) / "graphs"
        for seed in range(args.graphs):
            draw(seed, graphs / f"{seed:04}")
        other = Path(folder) / "tree"
        other.mkdir()
        trees = (ROOT, beside(unpacked(args.revision, other)))
        named = args.recipes if args.recipes is not None else shipped()
        outs = (Path(folder) / "here.json", Path(folder) / "there.json")
        with ThreadPoolExecutor(2) as pool:
            here, there = pool.map(lambda tree, out: side(tree, named, graphs, out), trees, outs)
    told = list(differences(here, there))
    print("\n".join(told))
    print(f"{len(here)} files here, {len(there)} there, {len(told)} differ")
    return int(bool(told))


def shipped() -> list[str]:
    """All recipes of this tree, those of the tests among them."""
    files = sorted([*ROOT.glob("recipes/*.q"), *ROOT.glob("tests/recipes/*.q")])
    return [str(path.relative_to(ROOT)) for path in files]


if __name__ == "__main__":
    sys.exit(main())
