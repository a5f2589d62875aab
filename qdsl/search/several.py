"""The least loss, or the least of a cost, under several bounds: HiGHS by `scipy.optimize.milp`, held against integers.

HiGHS works in floats: a row may be passed by its tolerance (1e-6 of what stands in it), which grows with the weights,
and versions of it called wrong answers optimal (scipy issues 19421, 22812 and 24141). So rows are scaled, every
answer is added up in integers, and one that breaks a bound is forbidden by a row of its own (a no-good cut takes
nothing else away) and asked for again. How little is lost is as HiGHS says: within 1e-6 of an objective that is
scaled to 1e6, its absolute gap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qdsl.search.bounded import cheapest
from qdsl.search.problem import LOSS, Assignment, Problem, Refusal, Unreachable, Unsolved
from qdsl.search.silent import silent
from qdsl.search.whole import Whole, whole

MOST_ROUNDS = 20
MOST_NODES = 200_000
SCALE = 1e6


@dataclass(frozen=True, slots=True)
class _Form:
    """The problem as a matrix: a column per choice of each row, `rows` [rows, columns] has 1 where it belongs,
    `table` by measure what it costs, `loss` what it loses."""

    names: tuple[tuple[tuple[str, ...], str], ...]
    rows: np.ndarray
    loss: np.ndarray
    table: dict[str, np.ndarray]

    def vector(self, goal: str) -> np.ndarray:
        """The coefficients of a goal or a bound."""
        return self.loss if goal == LOSS else self.table[goal]


def least(problem: Problem, goal: str, bounds: Mapping[str, float]) -> Assignment | Refusal:
    """The assignment with the least `goal` ("loss" or a measure) under every bound (by "loss" or measure). Raises
    ValueError as `whole` does, KeyError for an unknown measure, ImportError without scipy."""
    asked = whole(problem)
    if not isinstance(asked, Whole):
        return asked
    form = _form(problem, asked)
    alone = [name for name in bounds if _value(problem, best(problem, asked, name), name) > bounds[name]]
    if alone:
        nearest = _nearest(problem, form, bounds)
        return nearest if isinstance(nearest, Unsolved) else Unreachable(tuple(alone), nearest)
    cuts: list[np.ndarray] = []
    for _ in range(MOST_ROUNDS):
        picked = _solved(form, form.vector(goal), bounds, cuts)
        if isinstance(picked, Unsolved):
            return picked
        if picked is None:
            return _none(problem, form, bounds)
        found = _assignment(problem, form, picked)
        if not _broken(problem, found, bounds):
            return found
        cuts.append(picked)
    return Unsolved(f"HiGHS named {MOST_ROUNDS} assignments, and each breaks a bound when it is added up in integers")


def best(problem: Problem, asked: Whole, name: str) -> Assignment:
    """What has the least of one measure, or of loss; of those the least of loss, or of every measure in order."""
    if name != LOSS:
        return cheapest(problem, asked, problem.measures.index(name))
    chosen = {}
    for row in asked.rows:
        choice = min(row.choices, key=lambda choice: (choice.loss, choice.costs))
        chosen.update(dict.fromkeys(row.units, choice.name))
    return problem.assignment(chosen)


def _value(problem: Problem, found: Assignment, name: str) -> float:
    return found.loss if name == LOSS else found.costs[problem.measures.index(name)]


def _broken(problem: Problem, found: Assignment, bounds: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(name for name, bound in bounds.items() if _value(problem, found, name) > bound)


def _none(problem: Problem, form: _Form, bounds: Mapping[str, float]) -> Refusal:
    nearest = _nearest(problem, form, bounds)
    if isinstance(nearest, Unsolved):
        return nearest
    broken = _broken(problem, nearest, bounds)
    return Unreachable(broken, nearest) if broken else Unsolved("HiGHS finds no assignment where there is one")


def _form(problem: Problem, asked: Whole) -> _Form:
    columns = [(at, row.units, choice) for at, row in enumerate(asked.rows) for choice in row.choices]
    belongs = np.zeros((len(asked.rows), len(columns)))
    belongs[[at for at, _, _ in columns], range(len(columns))] = 1
    table = {
        measure: np.array([float(choice.costs[index]) for _, _, choice in columns])
        for index, measure in enumerate(problem.measures)
    }
    loss = np.array([asked.loss(choice.loss) for _, _, choice in columns])
    return _Form(tuple((units, choice.name) for _, units, choice in columns), belongs, loss, table)


def _assignment(problem: Problem, form: _Form, picked: np.ndarray) -> Assignment:
    return problem.assignment({unit: form.names[at][1] for at in np.flatnonzero(picked) for unit in form.names[at][0]})


def _solved(
    form: _Form, objective: np.ndarray, bounds: Mapping[str, float], cuts: list[np.ndarray]
) -> np.ndarray | Unsolved | None:
    """Which columns are taken, as booleans; None where HiGHS says that nothing keeps the bounds."""
    from scipy.optimize import LinearConstraint

    limits = [LinearConstraint(form.rows, 1, 1)]
    for name, bound in bounds.items():
        scale = float(np.abs(form.vector(name)).max()) or 1.0
        limits.append(LinearConstraint(form.vector(name)[None] / scale, -np.inf, bound / scale))
    limits += [LinearConstraint(cut[None].astype(float), -np.inf, cut.sum() - 1) for cut in cuts]
    most = float(np.abs(objective).max()) or 1.0
    return _asked(form, objective / most * SCALE, limits, np.ones(len(objective)))


def _nearest(problem: Problem, form: _Form, bounds: Mapping[str, float]) -> Assignment | Unsolved:
    """The assignment whose largest excess over a bound, relative to it, is smallest, as HiGHS finds it."""
    from scipy.optimize import LinearConstraint

    size = form.rows.shape[1]
    limits = [LinearConstraint(np.append(form.rows, np.zeros((len(form.rows), 1)), axis=1), 1, 1)]
    for name, bound in bounds.items():
        scale = abs(bound) or 1.0
        row = np.append(form.vector(name) / scale, -1.0)
        limits.append(LinearConstraint(row[None], -np.inf, bound / scale))
    found = _asked(form, np.append(np.zeros(size), 1.0), limits, np.append(np.ones(size), 0))
    if found is None:
        return Unsolved("HiGHS finds no assignment where every one is allowed")
    return found if isinstance(found, Unsolved) else _assignment(problem, form, found)


def _asked(
    form: _Form, objective: np.ndarray, limits: list[object], whole_numbers: np.ndarray
) -> np.ndarray | Unsolved | None:
    from scipy.optimize import Bounds, milp

    upper = np.where(whole_numbers == 1, 1.0, np.inf)
    with silent():
        found = milp(
            objective,
            integrality=whole_numbers,
            bounds=Bounds(0, upper),
            constraints=limits,
            options={"mip_rel_gap": 0.0, "node_limit": MOST_NODES},
        )
    if found.status == 2:
        return None
    if found.x is None or found.status != 0:
        return Unsolved(f"HiGHS: {found.message}")
    picked: np.ndarray = found.x[: form.rows.shape[1]] > 0.5
    if not (form.rows @ picked == 1).all():
        return Unsolved("HiGHS answers with something other than one option per unit")
    return picked
