"""CONTRIBUTING says in how many files a thing is added: a copy of the tree gets one of each, and its tests pass."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from tree_copy import Copy

from qdsl.capability.reasons import ALWAYS

ROOT = Path(__file__).resolve().parent.parent
# `| a canonical pass | 4 | .. |`: what is added, and in how many files beside its own.
PROMISES = dict(
    re.findall(r"^\| an? ([\w ]+?) +\| (\d+) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="not a checkout")]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    left = shutil.ignore_patterns(".*", "*.pyc.*", "build", "dist", "*.egg-info")  # byte code half written
    shutil.copytree(ROOT, tmp_path / "tree", ignore=left)
    return Copy(tmp_path / "tree")


Change = Callable[[Copy], tuple[str, ...]]


def a_canonical_pass(copy: Copy) -> tuple[str, ...]:
    copy.add(
        "passes/abs_of_relu.py",
        '''
        """Take out an Abs after a Relu, whose values it does not change.

        Fires where the Relu's result is read by the Abs alone.
        """

        from __future__ import annotations

        from dataclasses import dataclass
        from typing import ClassVar

        from qdsl.graph.edit import bypass
        from qdsl.graph.model import Model
        from qdsl.rewrite import Changes, Outcome, Rewrite
        from qdsl.rewrite.facts import bypass_obstacle, is_op


        @dataclass(frozen=True, slots=True)
        class AbsOfRelu(Rewrite):
            """No options."""

            name: ClassVar[str] = "abs_of_relu"
            summary: ClassVar[str] = "take out an Abs after a Relu"

            def apply(self, model: Model) -> Outcome:
                changes = Changes()
                for node in model.nodes():
                    writers = node.inputs[0].inputs if is_op(node, "Abs") else []
                    if not writers or not is_op(writers[0], "Relu") or bypass_obstacle(model, node):
                        continue
                    changes.fire("abs_of_relu", [node.name])
                    bypass(model, node)
                return changes.outcome()
        ''',
    )
    entry = '    Entry(\n        "abs_of_relu",\n        "qdsl.passes.abs_of_relu:AbsOfRelu",\n'
    entry += '        "take out an Abs after a Relu",\n    ),'
    copy.after("passes/index.py", '        "spell average pooling in one way",\n    ),', entry)
    pipeline = (copy.path / "passes/pipeline.py").read_text(encoding="utf-8")
    pool = next(line for line in pipeline.splitlines() if line.startswith('    "normalise_pool"'))
    copy.after("passes/pipeline.py", pool, '    "abs_of_relu",  # exporters leave it behind')
    page = (copy.path / "docs/passes.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| `normalise_pool`"))
    copy.after("docs/passes.md", row, "| `abs_of_relu` | an Abs after a Relu | |")
    cases = '    "abs_of_relu": (\n'
    cases += '        Case("fires", "g (float[2] x) => (float[2] y) { a = Relu (x) y = Abs (a) }", 1),\n'
    cases += '        Case("another", "g (float[2] x) => (float[2] y) { a = Neg (x) y = Abs (a) }", 0),\n    ),'
    copy.after("tests/pass_cases.py", "CASES: dict[str, tuple[Case, ...]] = {", cases)
    copy.pytest("--regen", "tests/test_passes.py", "-k", "goldens and abs_of_relu")  # the golden is its own
    return "tests/test_passes.py", "tests/test_passes_docs.py", "tests/test_floors.py"


def a_diagnostic(copy: Copy) -> tuple[str, ...]:
    code = '    "name-long": CodeDoc(\n        "a recipe has a long name",\n        "Names become folders.",\n'
    code += '        f"recipe {\'a\' * 61}\\n",\n        verb="plan",\n        cure="choose a shorter name",\n    ),'
    copy.after("qdsl/diag/codes/lang.py", "_SYNTAX: dict[str, CodeDoc] = {", code)
    raised = "    if own is not None and len(own.name.name) > 60:\n"
    raised += (
        '        scope.error("name-long", "the name is long", own.name.span, "more than 60 letters", ["shorten it"])'
    )
    copy.after("qdsl/lang/resolve.py", "    name = own.name.name if own else stem", raised)
    return "tests/test_codes.py", "-k", "name-long or not raises_its_code"  # those of other codes run beside this


def a_keyword(copy: Copy) -> tuple[str, ...]:
    copy.after(
        "qdsl/lang/vocabulary.py",
        '    Row("profile", "warmup", "I", "runs before measuring"),',
        '    Row("profile", "cooldown", "I", "runs after measuring"),',
    )
    copy.after(
        "docs/language.md",
        "| `profile` | `warmup` | `I` | runs before measuring |",
        "| `profile` | `cooldown` | `I` | runs after measuring |",
    )
    copy.after(
        "tests/test_plan_words.py",
        '    ("profile", "warmup", 0): ("profile", "warmup 1", "warmup 2"),',
        '    ("profile", "cooldown", 0): ("profile", "cooldown 1", "cooldown 2"),',
    )
    return "tests/test_plan_words.py", "tests/test_lang_words.py", "tests/test_lang_resolve.py"


def a_verb(copy: Copy) -> tuple[str, ...]:
    copy.add(
        "qdsl/api/greeting.py",
        '''
        """`greet`: say hello."""

        from __future__ import annotations


        def greet(name: str) -> str:
            """A greeting for `name`."""
            return f"hello, {name}"
        ''',
    )
    copy.add(
        "qdsl/cli/greet.py",
        '''
        """`qdsl greet`: say hello."""

        from __future__ import annotations

        import argparse


        def add(parser: argparse.ArgumentParser) -> None:
            from qdsl.cli.common import add_json

            parser.description = "Say hello."
            parser.add_argument("name")
            add_json(parser)


        def run(args: argparse.Namespace) -> int:
            import qdsl.api
            from qdsl.cli.output import print_json

            said = qdsl.api.greet(args.name)
            print_json({"said": said}) if args.json else print(said)
            return 0
        ''',
    )
    fmt = '    "fmt": Verb("rewrite recipes in the canonical form", "language"),'
    copy.after("qdsl/verbs.py", fmt, '    "greet": Verb("say hello", "greeting"),')
    last = "    from qdsl.api.compiling import compile as compile"
    copy.after("qdsl/api/__init__.py", last, "    from qdsl.api.greeting import greet as greet")
    said = copy.python("-m", "qdsl", "greet", "you")
    assert said.stdout == "hello, you\n", said.stderr
    assert "say hello" in copy.python("-m", "qdsl", "--help").stdout
    assert copy.python("-c", "import qdsl; print(qdsl.greet('you'))").stdout == "hello, you\n"
    words = "not every_code and not every_word and not explains_a_word"  # a thousand, of which none knows a verb
    return "tests/test_verbs.py", "tests/test_cli.py", "tests/test_floors.py", "-k", words


def a_lowering(copy: Copy) -> tuple[str, ...]:
    copy.add(
        "passes/abs_of_neg.py",
        '''
        """Copy instead of negating before an Abs, which asks for no sign.

        Fires where the Abs alone reads the Neg.
        """

        from __future__ import annotations

        from collections.abc import Iterator
        from dataclasses import dataclass
        from typing import Any, ClassVar

        from qdsl.capability import Capability
        from qdsl.graph.edit import become
        from qdsl.graph.model import Model
        from qdsl.graph.walk import chain, inner
        from qdsl.passes.lowering import Foresight, Lowering
        from qdsl.rewrite import Changes, Outcome
        from qdsl.rewrite.facts import is_op
        from qdsl.rewrite.sketch import Looked, Sketch


        @dataclass(frozen=True, slots=True)
        class AbsOfNeg(Lowering):
            """No options."""

            name: ClassVar[str] = "abs_of_neg"
            summary: ClassVar[str] = "copy instead of negating before an Abs"

            def apply(self, model: Model) -> Outcome:
                changes = Changes()
                for node in _matches(model, changes):
                    become(model, node, "Identity", list(node.inputs))
                return changes.outcome()

            def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
                changes = Changes()
                for node in _matches(sketch, changes):
                    node.op = "Identity"
                return Foresight(changes.outcome())


        def _matches(model: Looked, changes: Changes) -> Iterator[Any]:
            for node in model.nodes():
                found = chain(model, node.outputs[0], "Neg", "Abs") if is_op(node, "Abs") else None
                if found is not None and inner(model, found[0].outputs[0]):
                    changes.fire(AbsOfNeg.name, [found[0].name])
                    yield found[0]
        ''',
    )
    copy.add(
        "tests/goldens/lowerings/abs_of_neg.txt",
        """
        == a Neg that no sign is asked of
        g (float[2] x) => (float[2] y) { a = Neg (x) y = Abs (a) }

        == one that is
        g (float[2] x) => (float[2] y) { a = Neg (x) y = Exp (a) }
        """,
    )
    entry = '    Entry(\n        "abs_of_neg",\n        "qdsl.passes.abs_of_neg:AbsOfNeg",\n'
    entry += '        "copy instead of negating before an Abs",\n        lowers=("ort",),\n    ),\n'
    first = '    Entry(\n        "softmax_last",'
    copy.replace("passes/index.py", first, entry + first)
    copy.pytest("--regen", "tests/test_lowering_goldens.py", "-k", "abs_of_neg")
    return "tests/test_lowering_goldens.py", "tests/test_passes.py", "tests/test_floors.py"


def a_target(copy: Copy) -> tuple[str, ...]:
    """The target of other tests, moved into a room of its own."""
    source = (ROOT / "tests/board_target.py").read_text(encoding="utf-8")
    head, rest = source.split('TABLE = """', 1)
    table, rest = rest.split('"""', 1)
    room = head + "\n" + rest.partition("\n\n\n")[2].partition("def install(")[0]
    room = room.replace("import pytest\n", "").replace("from qdsl.targets import TARGETS\n", "")
    room = room.replace("from qdsl.lang import resolve, vocabulary\n", "")
    room = room.replace(
        "from qdsl.capability import Capability, load, loader\n", "from qdsl.capability import Capability\n"
    )
    room = room.replace("from qdsl.capability.reasons import ALWAYS\n", "")
    copy.add("qdsl/targets/board/__init__.py", '"""A board that is not there."""\n')
    copy.add("qdsl/targets/board/target.py", room)
    reasons = "".join(f'{key} = "{key.replace("_", " ")}"\n' for key in ALWAYS)
    copy.add("qdsl/capability/board.toml", table + reasons)
    made = "def _board() -> Target:\n    from qdsl.targets.board.target import Board\n\n    return Board()\n\n"
    copy.before("qdsl/targets/__init__.py", "# A new target is one line here, and what it names.", made)
    listed = "TARGETS: Mapping[str, Callable[[], Target]] = {"
    copy.replace("qdsl/targets/__init__.py", listed, f'{listed}"board": _board, ')
    copy.replace("qdsl/lang/vocabulary.py", 'TARGETS = ("ort", ', 'TARGETS = ("board", "ort", ')
    copy.after("pyproject.toml", '  "qdsl.targets.ort",', '  "qdsl.targets.board",')
    rows = "<!-- rows of board: begin -->\n<!-- rows of board: end -->\n"
    copy.before("docs/targets.md", "<!-- rows of ort_cpu: begin -->", rows)
    copy.regenerate("docs/targets.md", "tests/test_capability_docs.py")
    said = copy.python("-m", "qdsl", "targets")
    assert "board" in said.stdout and "Board" in said.stdout, said.stderr
    return "tests/test_capability.py", "tests/test_capability_docs.py", "tests/test_floors.py", "tests/test_targets.py"


def an_operator_row(copy: Copy) -> tuple[str, ...]:
    row = dedent(
        """
        [[row]]
        name = "row of a test"
        ops = ["Hardmax"]
        kind = "float"
        because = "no integer kernel"
        evidence = "optimized graph"
        """
    )
    table = copy.path / "qdsl/capability/ort_cpu.toml"
    text = table.read_text(encoding="utf-8")
    first = text.index("[[row]]")
    table.write_text(text[:first] + row.lstrip("\n") + "\n" + text[first:], encoding="utf-8")
    copy.touched.add("qdsl/capability/ort_cpu.toml")
    copy.regenerate("docs/targets.md", "tests/test_capability_docs.py")
    return "tests/test_capability_docs.py", "tests/test_capability.py"


def a_rule_of_the_audit(copy: Copy) -> tuple[str, ...]:
    copy.add(
        "qdsl/auditing/rules/hard_maximum.py",
        '''
        """A Hardmax, of which no rule spoke before."""

        from __future__ import annotations

        from collections.abc import Iterator
        from typing import ClassVar

        from qdsl.auditing.finding import Finding, Place
        from qdsl.auditing.rule import Audited
        from qdsl.auditing.telling import shown
        from qdsl.diag import Severity


        class Check:
            id: ClassVar[str] = "hard_maximum"
            summary: ClassVar[str] = "a Hardmax"
            explanation: ClassVar[str] = "It is there."
            severity: ClassVar[Severity] = Severity.NOTE
            targets: ClassVar[tuple[str, ...]] = ()

            def check(self, audited: Audited) -> Iterator[Finding]:
                for node in audited.finished.view.nodes:
                    if node.op == "Hardmax":
                        place = Place("node", node.name)
                        yield Finding(self.id, self.severity, place, f"{shown(node.name)} is one", "it is there")
        ''',
    )
    copy.after("qdsl/spec/audit_rules.py", "RULES: tuple[str, ...] = (", '    "hard_maximum",')
    copy.regenerate("docs/audit.md", "tests/test_audit_docs.py")
    said = copy.python("-m", "qdsl", "explain", "hard_maximum")
    assert "It is there." in said.stdout, said.stderr
    return "tests/test_audit_docs.py", "tests/test_floors.py"


def a_kernel_of_the_c(copy: Copy) -> tuple[str, ...]:
    """Of an operator that has one, in the place of that."""
    kernels, calls = "qdsl/targets/stm32/kernels", "qdsl/targets/stm32/c/calls.py"
    copy.add(
        f"{kernels}/widen.h",
        """
        /* int8 to float32. */
        struct qdsl_widen_parameters {
            int32_t count;
            float scale;
            int32_t zero;
        };

        static QDSL_APART void qdsl_widen(const void *parameters, const void *const *rows, void *out, void *scratch)
        {
            const struct qdsl_widen_parameters *p = parameters;
            const int8_t *in = rows[0];
            float *to = out;
            (void)scratch;
            for (int32_t i = 0; i < p->count; i++)
                to[i] = (float)(in[i] - p->zero) * p->scale;
        }
        """,
    )
    copy.add(
        "qdsl/targets/stm32/c/widen_calls.py",
        '''
        """The call that makes floats of int8."""

        from __future__ import annotations

        from qdsl.integer.records import Dequantize, IntegerGraph
        from qdsl.targets.stm32.c.records import Call
        from qdsl.targets.stm32.c.shapes import elements, encoding, of, row_elements


        def widen(op: Dequantize, graph: IntegerGraph) -> Call:
            (source,), out = of(graph, op)
            its = encoding(source)
            parameters = ("count", row_elements(out)), ("scale", float(its.scale)), ("zero", its.zero)
            far = (3 * elements(source),)
            return Call(op, "qdsl_widen", True, "qdsl_widen_parameters", parameters, ("widen.h",), behind=far)
        ''',
    )
    imported = "from qdsl.targets.stm32.c.shapes import rows_of"
    copy.after(calls, imported, "from qdsl.targets.stm32.c.widen_calls import widen")
    copy.replace(calls, "records.Dequantize: value_calls.dequantize", "records.Dequantize: widen")
    mutant = '("{}.h", "p->zero", "p->zero + 1", "Dequantize"),'
    copy.replace("tests/c_mutants.py", mutant.format("dequantize"), mutant.format("widen"))
    (copy.path / kernels / "dequantize.h").unlink()
    if shutil.which("arm-none-eabi-gcc") is not None:
        copy.python("-m", "qdsl.targets.stm32.c.measuring")
        assert "qdsl_widen" in (copy.path / kernels / "sizes.toml").read_text(encoding="ascii")
        copy.touched.add(f"{kernels}/sizes.toml")
    return "tests/test_stm32_c.py", "-m", "", "-k", "computes_what or before_it or planted_in or (mistake and ort)"


ADDED = [
    *(a_canonical_pass, a_lowering, a_diagnostic, a_keyword, a_verb, a_target, an_operator_row, a_rule_of_the_audit),
    a_kernel_of_the_c,
]


@pytest.mark.parametrize("change", ADDED)
def test_a_thing_is_added_in_as_many_files_as_promised(change: Change, copy: Copy) -> None:
    tests = change(copy)
    assert len(copy.touched) <= int(PROMISES[_what(change)]), sorted(copy.touched)
    copy.pytest(*tests)


def test_every_promise_is_kept_by_one_of_these() -> None:
    assert set(PROMISES) == {_what(change) for change in ADDED}


def _what(change: Change) -> str:
    return re.sub(r"^an? ", "", change.__name__.replace("_", " ")).replace("of the c", "of the C")
