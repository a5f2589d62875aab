"""`compile --shards`: a calibration split over processes, on this machine or a Ray cluster, and put together again.

Every process reads the recipe by itself, sees each so many-th sample, and leaves what it saw in a file; the files merge
to what one process would have seen, to the bit. An interrupted process goes on from its file, as one that is started
again does. On a cluster the recipe, its model, its data and the output folder lie on storage that all workers share.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl import data
from qdsl.calibrate import Observations, Ranges, merged, observe, plan_all
from qdsl.diag import Diagnostics, QdslError
from qdsl.ranges.calibrating import Pass, by_dataset, saved_at
from qdsl.spec.aside import replace_file
from qdsl.work.deciding import decide_all
from qdsl.work.engines import Engine, Job
from qdsl.work.prepared import prepare, read, takes


@dataclass(frozen=True, slots=True)
class Shards:
    """`count` processes that `engine` runs, and what tells them which plan they calibrate for."""

    count: int
    engine: Engine
    recipe: str
    sets: Mapping[str, str]
    target: str | None

    def calibrate(self, one: Pass) -> Mapping[str, Ranges]:
        """The ranges of `qdsl.calibrate.calibrate_each`. `one.workers` are threads per process (None: the processors
        there are, shared out); `one.progress` is told as processes end. What they leave in `one.folder` is removed.
        Raises QdslError: calibration-shard, calibration-tensor, calibration-parts."""
        ways, _ = plan_all(one.model, list(one.asked.values()))
        one.folder.mkdir(parents=True, exist_ok=True)
        files = [saved_at(one.folder, one.name, (number, self.count)) for number in range(self.count)]
        jobs = [self._job(one, number, file) for number, file in enumerate(files)]
        for ended, finished in enumerate(self.engine(jobs), 1):
            if finished.code:
                headline = f"shard {int(finished.name) + 1} of {self.count} of dataset {one.name} was not calibrated"
                raise one.dataset.error("calibration-shard", headline, label=finished.reason)
            one.progress(ended * len(one.dataset) // self.count, len(one.dataset), 0.0)
        texts = [file.read_text(encoding="utf-8") for file in files]
        found = merged([Observations.from_json(text, one.dataset.span) for text in texts])
        ranges = {target: found.ranges(each) for target, each in zip(one.asked, ways, strict=True)}
        for file in files:
            file.unlink()
            _log(file).unlink(missing_ok=True)
        return ranges

    def _job(self, one: Pass, number: int, file: Path) -> Job:
        threads = one.workers or max(1, (os.cpu_count() or 1) // self.count)
        words = [sys.executable, "-m", __name__, self.recipe, "--data", one.name, "--out", os.fspath(file.resolve())]
        words += ["--shard", str(number), str(self.count), "--workers", str(threads), "--batch", str(one.batch or 1)]
        words += ["--target", self.target] if self.target is not None else []
        for key, value in self.sets.items():
            words += ["--set", key, value]
        return Job(str(number), tuple(words), os.fspath(_log(file).resolve()), os.fspath(Path.cwd()))


def _log(file: Path) -> Path:
    return file.with_suffix(".log")


def main(argv: Sequence[str] | None = None) -> int:
    """One process: see the top of this file. What is wrong is printed as JSON."""
    parser = argparse.ArgumentParser(description="Calibrate one shard of a recipe's dataset.")
    parser.add_argument("recipe")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shard", type=int, nargs=2, required=True, metavar=("NUMBER", "COUNT"))
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--target")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    args = parser.parse_args(argv)
    try:
        _observe(args)
    except QdslError as error:
        told = [{"severity": d.severity.value, "code": d.code, "headline": d.headline} for d in error.diagnostics]
        sys.stdout.write(json.dumps({"diagnostics": told}))
        return 1
    return 0


def _observe(args: argparse.Namespace) -> None:
    prepared = prepare(read(args.recipe, dict(args.set)))
    diags = Diagnostics()
    asked = by_dataset([decided.plan for decided in decide_all(prepared, args.target, diags)])[args.data]
    spec = prepared.recipe.dataset(args.data)
    dataset = data.open(spec, prepared.recipe.inputs, takes(prepared), diags)
    shard = (args.shard[0], args.shard[1])
    found = observe(
        prepared.model,
        list(asked.values()),
        dataset,
        shard=shard,
        workers=args.workers,
        batch=args.batch,
        checkpoint=args.out,
    )
    replace_file(args.out, found.to_json().encode("utf-8"))


if __name__ == "__main__":
    sys.exit(main())
