"""What quantizing one layer costs the model's outputs, as data."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from qdsl.spec.bounds import Count, Figure, Many, Number, Sentence, SomeTexts
from qdsl.spec.decode import decode, json_data, require_version

FORMAT = 1
METHODS = ("sqnr", "gradient", "hessian")
FLOAT = "float32"  # the choice that leaves a unit as it is
_MOST = 1 << 20
Loss = Annotated[float, Number(0.0)]


@dataclass(frozen=True, slots=True)
class Row:
    """One unit (a layer, called by its first node) quantized in one way, everything else float.

    `loss` is what it costs, smaller is better, and to first order the losses of several units add up; `error` is the
    standard error of it over the samples, None where a single one shows none. What a loss is goes by the method: of
    `sqnr` the noise of the outputs over their signal, of `gradient` the score over the bits of the weights, of
    `hessian` the rise of the loss of the task to second order.

    Of `sqnr` alone: `alone_db` is the same loss in dB of signal to noise, infinite for no noise; `gain_db` what the
    outputs gain, with everything quantized in the first way of each unit, by putting this one back in float, with its
    standard error `gain_error_db`; None for the other ways of a unit. `samples` are those it was measured on.

    Of the others: `score` is the unit's own, whatever its bits: the mean L1 norm of its gradient, or the mean of the
    diagonal of its Hessian, by which its weights' error is multiplied."""

    unit: str
    choice: Sentence
    loss: Loss
    error: Loss | None = None
    alone_db: Figure | None = None
    gain_db: Figure | None = None
    gain_error_db: Loss | None = None
    score: Figure | None = None
    samples: Count = 0


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Measured on `samples` of `data`, drawn by `seed`. `method` is one of METHODS. `rows` stand unit by unit in graph
    order, the ways of each as they were asked for; `nodes` are those of each unit. `model` is the SHA-256 of the
    canonical float model, "" where it is not told.

    `judged_by` says what the outputs were held against ("labels", "float outputs"). `outputs_db` is the error of the
    outputs with every unit quantized in its first way (`sqnr`); `trials` and `epsilon` are those of the other methods.
    `runs` counts passes through the network or a part of it, and `effort` what they come to in whole passes, by their
    multiplications: one pass over all samples is as many as there are samples."""

    method: str
    data: str
    samples: Count
    seed: Count
    rows: Annotated[tuple[Row, ...], Many(0, _MOST)]
    judged_by: str = ""
    outputs_db: Figure | None = None
    trials: Count = 0
    epsilon: Loss = 0.0
    runs: Count = 0
    effort: Loss = 0.0
    nodes: tuple[SomeTexts, ...] = ()
    model: str = ""
    notes: tuple[str, ...] = ()

    def problem(self) -> str:
        """What does not go together, in words; "" for nothing."""
        if self.method not in METHODS:
            return f"method: expected one of {', '.join(METHODS)}, found {self.method!r}"
        keys = [(row.unit, row.choice) for row in self.rows]
        return "" if len(set(keys)) == len(keys) else "rows: one unit stands twice with the same choice"

    @property
    def units(self) -> tuple[str, ...]:
        """The units, in graph order."""
        return tuple(dict.fromkeys(row.unit for row in self.rows))

    @property
    def choices(self) -> tuple[str, ...]:
        """Every way that some unit was quantized in, in the order of first use."""
        return tuple(dict.fromkeys(row.choice for row in self.rows))

    def of(self, unit: str) -> tuple[Row, ...]:
        """What is known of a unit; nothing of one that is not among them."""
        return tuple(row for row in self.rows if row.unit == unit)

    def row(self, unit: str, choice: str) -> Row | None:
        """What one way of quantizing a unit costs."""
        return next((row for row in self.of(unit) if row.choice == choice), None)

    def ranked(self, choice: str) -> tuple[Row, ...]:
        """The units quantized in one way, the most sensitive first; equal ones in graph order."""
        return tuple(sorted((row for row in self.rows if row.choice == choice), key=lambda row: -row.loss))

    def ranks(self) -> dict[tuple[str, str], int]:
        """Of every row, by its unit and choice, the place among those of the same choice, counted from 1."""
        ranked = (enumerate(self.ranked(choice), start=1) for choice in self.choices)
        return {(row.unit, row.choice): place for rows in ranked for place, row in rows}

    def rank(self, row: Row) -> tuple[int, int]:
        """The place of a row among those of the same choice, counted from 1, and how many these are."""
        ranked = self.ranked(row.choice)
        return 1 + ranked.index(row), len(ranked)

    def unit_of(self, node: str) -> str | None:
        """The unit that a node is in; None for a node of none."""
        return next((nodes[0] for nodes in self.nodes if node in nodes), node if node in self.units else None)

    def told(self, node: str) -> tuple[str, ...]:
        """A line for each way of quantizing the unit of a node: what it costs, and how many of the others cost more;
        none for a node that was not measured."""
        unit = self.unit_of(node)
        rows = [row for row in self.of(unit) if row.choice != FLOAT] if unit is not None else []
        named = len({choice for choice in self.choices if choice != FLOAT}) > 1
        return tuple(f"{row.choice}: {self._told(row)}" if named else self._told(row) for row in rows)

    def _told(self, row: Row) -> str:
        rank, count = self.rank(row)
        figure = _decibels(row.alone_db) if row.alone_db is not None else f"loss {row.loss:.3g}"
        gain = "" if row.gain_db is None else f", in float gains {row.gain_db:.1f} dB"
        return f"alone {figure}{gain}, rank {rank} of {count}, {self.method} on {self.data}"


def to_json(found: Sensitivity) -> str:
    """One row a line; every number reads back to the same bits."""
    head = {name: _plain(value) for name, value in asdict(found).items() if name != "rows"}
    rows = ",\n".join(f"  {_line(row)}" for row in found.rows)
    text = json.dumps({"format": FORMAT, **head}, indent=1, ensure_ascii=False, allow_nan=False)
    return text[:-2] + ',\n "rows": [' + (f"\n{rows}\n ]" if rows else "]") + "\n}\n"


def from_json(text: str) -> Sensitivity:
    """What `to_json` wrote. Raises UnfitError for any other text."""
    return decode(Sensitivity, require_version(json_data(text), "format", FORMAT), "sensitivity")


def _line(row: Row) -> str:
    return json.dumps({k: _plain(v) for k, v in asdict(row).items()}, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """Infinity as the text that `Figure` reads."""
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _decibels(value: float) -> str:
    return "no error" if math.isinf(value) and value > 0 else f"{value:.1f} dB"
