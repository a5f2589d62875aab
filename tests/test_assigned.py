"""What `allocate` gave stands as rules: in the plan, in the lock, and as lines that make the recipe explicit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from compile_tools import project, tree

import qdsl
from qdsl import lock as locks
from qdsl.allocate import allocating
from qdsl.cascade.assigned import with_assigned
from qdsl.describe.render import render
from qdsl.diag import QdslError
from qdsl.lang import load
from qdsl.lang.selectors import Matching
from qdsl.lock import LockedOutcome
from qdsl.spec.assigned import Assigned
from qdsl.work.assigned import Given
from qdsl.work.deciding import decide_one

GIVEN = (Assigned("left", "float32"), Assigned("inner", "6 bit"), Assigned("right", "6 bit"))
RULES = "allocate weights from [8 bit, 6 bit, float32] { minimize loss under size <= 1 MB }\n"


@pytest.fixture(autouse=True)
def always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that gives the same types whatever is measured."""

    def way(task: allocating.Task) -> Given:
        own = replace(task.prepared, recipe=with_assigned(task.prepared.recipe, GIVEN))
        return Given(own, decide_one(own, task.target), GIVEN, LockedOutcome(task.target, "as told"))

    monkeypatch.setitem(allocating.WAYS, "weights", way)


def compiled(recipe: Path, **more: bool) -> qdsl.CompileResult:
    return qdsl.compile(recipe, out=recipe.parent / "build", measure=False, **more)


def test_a_plan_is_open_before_and_explicit_after(tmp_path: Path) -> None:
    recipe = project(tmp_path, RULES)
    before = qdsl.plan(recipe).plans[0]
    assert "widths of weights: from 8 bit, 6 bit, float32 under size <= 1 MB" in before.open
    after = compiled(recipe).targets[0].plan
    assert qdsl.plan(recipe).plans[0] == after
    text = render(after)
    assert 'allocated: keep "left" in float32\n' in text
    assert 'allocated: layers "inner", "right" { weights 6 bit }\n' in text
    assert "widths of" not in text


def test_the_lines_say_the_same_in_a_recipe_without_allocate(tmp_path: Path) -> None:
    recipe = project(tmp_path / "given", RULES)
    found = compiled(recipe).targets[0].plan
    lines = [value for fact in found.facts if fact.kind == "assigned" for _, value in fact.settings]
    plain = qdsl.plan(project(tmp_path / "plain", "\n".join(lines) + "\n")).plans[0]

    def schemes(plan: qdsl.Plan) -> list[tuple[str, str]]:
        return [(each.node, str(each.scheme)) for each in plan.weights]

    assert schemes(plain) == schemes(found)
    assert [node.mark for node in plain.nodes] == [node.mark for node in found.nodes]


def test_explain_names_the_statement(tmp_path: Path) -> None:
    recipe = project(tmp_path, RULES)
    compiled(recipe)
    line = recipe.read_text().split("\n").index(RULES.strip()) + 1
    (told,) = qdsl.explain(recipe, "inner")
    (step,) = (step for step in told.steps if step.what == "weights" and step.won)
    assert (step.value, step.origin.line) == ("int8 symmetric per_channel as 6 bit (emulated)", line)
    assert step.origin.rule.startswith("allocate weights from [8 bit, 6 bit, float32]")


def test_a_lock_stands_for_it_to_the_byte(tmp_path: Path) -> None:
    recipe = project(tmp_path, RULES)
    compiled(recipe)
    before = tree(tmp_path / "build")
    (tmp_path / "calib.npz").unlink()
    result = compiled(recipe, locked=True)
    assert result.from_lock
    made = {name: data for name, data in tree(tmp_path / "build").items() if name.endswith("model.onnx")}
    assert made == {name: data for name, data in before.items() if name.endswith("model.onnx")}


def test_a_lock_that_names_other_nodes_or_types_is_stale(tmp_path: Path) -> None:
    recipe = project(tmp_path, RULES)
    compiled(recipe)
    path = recipe.with_suffix(".lock")
    found = locks.read(path)
    assert found is not None
    for change, told in (
        ({"node": "nowhere"}, "there is no node `nowhere`"),
        ({"choice": "int3"}, "`int3` is none of 8 bit, 6 bit, float32"),
    ):
        first = replace(found.assigned[0], **change)
        moved = tuple(sorted((first, *found.assigned[1:])))
        path.write_text(locks.render(replace(found, assigned=moved)))
        with pytest.raises(QdslError) as caught:
            compiled(recipe)
        assert told in caught.value.diagnostics[0].headline
    path.write_text(locks.render(replace(found, allocated=())))
    with pytest.raises(QdslError) as caught:
        compiled(recipe)
    assert "`allocate` was not carried out for ort" in caught.value.diagnostics[0].headline


def test_names_with_wildcards_mean_themselves(tmp_path: Path) -> None:
    recipe = load(project(tmp_path, RULES)).recipe
    (rule,) = with_assigned(recipe, [Assigned("a*[b", "6 bit")]).rules
    (part,) = rule.picks.parts  # type: ignore[union-attr]
    assert isinstance(part, Matching) and part.pattern == r"^a\*\[b$"
