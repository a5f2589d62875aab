"""The command line: help, exit codes, which stream says what, and JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from compile_tools import HEAD, ROOT, cli, environment, project, residual_net

import qdsl
from qdsl.auditing.index import rule_named
from qdsl.cli import main
from qdsl.diag.codes import all_codes
from qdsl.lang.examples import STATEMENTS
from qdsl.lang.vocabulary import (
    METHODS,
    METRICS,
    MODES,
    SCHEME_WORDS,
    SELECTOR_WORDS,
    SOURCES,
    TABLE,
    TARGETS,
    TASKS,
    TYPES,
)
from qdsl.lang.word_help import known, meanings
from qdsl.spec import UNITS
from qdsl.spec.audit_rules import RULES
from qdsl.verbs import VERBS, module_name

HEAVY = ("numpy", "onnx", "onnxruntime", "onnx_graphsurgeon", "lark", "rich", "torch", "PIL")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return project(tmp_path, "keep op Gemm in float32\n")


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a verb run in this process."""
    try:
        code = main([str(word) for word in words])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


# --- help and usage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, verb, "--help")
    assert (code, err) == (0, "")
    assert f"qdsl {verb}" in out
    assert "--json" in out or verb == "completion"  # a script for a shell has one form


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys, io, contextlib\n"
        "from qdsl.cli import main\nfrom qdsl.verbs import VERBS, module_name\n"
        "for verb in ['', *VERBS]:\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        main([*([verb] if verb else []), '--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "--help")
    shown = " ".join(out.split())
    assert all(f" {name} {verb.summary}" in shown for name, verb in VERBS.items())


def test_every_file_of_the_command_line_is_reached() -> None:
    shared = {"__init__", "checked", "common", "engines", "log", "measured", "output", "process", "progress"}
    files = {path.stem for path in (ROOT / "qdsl" / "cli").glob("*.py")}
    assert files - shared == set(map(module_name, VERBS))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version") == (0, f"qdsl {qdsl.__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("--jsn",),
        ("complie", "a.q"),
        ("plan",),
        ("plan", "a.q", "--sett", "a=1"),
        ("plan", "a.q", "--set", "bits"),
        ("compile", "a.q", "--batch", "0"),
        ("explain", "a", "b", "c"),
        ("check",),
    ],
)
def test_usage_errors_exit_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "")
    assert err.strip()


def test_without_words_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    bare, asked = said(capsys), said(capsys, "--help")
    assert bare == asked
    assert (bare[0], bare[2]) == (0, "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("complie", "a.q"), "`complie`; did you mean `qdsl compile`?"),
        (("Plan", "a.q"), "did you mean `qdsl plan`?"),
        (("a.q",), "`qdsl compile a.q`"),
        (("zzz",), ": there are new, check, fmt"),
        (("x\x1b[31m",), "`x?[31m`"),
        (("plan", "a.q", "--sett", "a=1"), "`--sett`; did you mean `--set`?"),
        (("compile", "a.q", "--shrds=3"), "`--shrds`; did you mean `--shards`?"),
        (("plan", "a.q", "b.q"), "`b.q` is one argument too many"),
    ],
)
def test_a_wrong_word_on_the_command_line_says_what_was_meant(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "")
    assert told in err and "\x1b" not in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_verb_and_the_targets(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "completion", shell)
    assert (code, err) == (0, "")
    assert all(verb in out for verb in VERBS)
    assert "tensorrt" in out and "*.q" in out and ("--locked" in out or shell == "tcsh")


def test_bash_completes_verbs_options_and_recipes(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    for name in ("a.q", "b.txt"):
        (tmp_path / name).touch()
    script = cli("completion", "bash").stdout
    (tmp_path / "qdsl.bash").write_text(script)

    def completed(*words: str) -> set[str]:
        line = (
            f"source ./qdsl.bash; COMP_WORDS=({' '.join(repr(w) for w in ('qdsl', *words))}); COMP_CWORD={len(words)}"
        )
        ask = f'{line}; _shtab_qdsl; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run([bash, "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True)
        return {word.strip() for word in done.stdout.splitlines()}

    assert completed("comp") == {"compile", "completion"}
    assert "--locked" in completed("compile", "--lo")
    assert completed("compile", "") == {"a.q"}
    assert completed("plan", "a.q", "--target", "o") == {"ort"}


# --- exit codes and streams -----------------------------------------------------------------------------------------


def test_results_on_stdout_and_nothing_on_stderr(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "plan", recipe)
    assert (code, err) == (0, "")
    assert "= gemm" in out


@pytest.mark.parametrize("verb", ["plan", "check", "fmt", "compile"])
def test_errors_on_stderr_and_exit_1(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.q"
    broken.write_text("recipe broken\nquantize static {\n  weights\n", encoding="utf-8")
    code, out, err = said(capsys, verb, broken)
    assert (code, out) == (1, "")
    assert "error[" in err
    assert f"{broken}:" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("verb", ["plan", "check", "fmt", "compile"])
def test_a_recipe_that_is_not_there(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, verb, tmp_path / "absent.q")
    assert (code, out) == (1, "")
    assert "error[" in err
    assert "absent.q" in err


def test_a_fault_of_ours_exits_3_and_says_so(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **settings: Any) -> None:
        raise RuntimeError("the floor\nis wet")

    monkeypatch.setattr("qdsl.api.plan", fails)
    monkeypatch.delenv("QDSL_TRACEBACK", raising=False)
    code, out, err = said(capsys, "plan", recipe)
    assert (code, out) == (3, "")
    assert "internal fault: RuntimeError: the floor" in err
    assert "Traceback" not in err


def test_the_traceback_is_there_when_asked_for(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **settings: Any) -> None:
        raise RuntimeError("wet")

    monkeypatch.setattr("qdsl.api.plan", fails)
    monkeypatch.setenv("QDSL_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="wet"):
        main(["plan", str(recipe)])


def test_ctrl_c_exits_130(recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qdsl.api.plan", interrupted)
    assert said(capsys, "plan", recipe) == (130, "", "interrupted\n")


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error() -> None:
    program = f"{sys.executable} -m qdsl plan recipes/yolov8n_static.q | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment(), check=False
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("+ ")
    assert lines[1:] == ["0"]
    assert done.stderr == ""


@pytest.mark.slow
def test_a_full_disk_is_said(recipe: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    with full.open("w") as sink:
        words = [sys.executable, "-m", "qdsl", "plan", str(recipe)]
        done = subprocess.run(words, stdout=sink, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_python_m_qdsl(recipe: Path) -> None:
    done = cli("plan", recipe, cwd=recipe.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("+ stem")


def test_set_gives_a_parameter_its_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = HEAD.replace("weights int8 symmetric", "weights $bits symmetric")
    recipe = project(tmp_path, "param bits = int8 from [int8, uint8]\n", head=head)
    assert "uint8 per_channel" in said(capsys, "plan", recipe, "--set", "bits=uint8")[1].splitlines()[0]
    code, _, err = said(capsys, "plan", recipe, "--set", "bits=int3")
    assert code == 1
    assert "error[" in err
    code, _, err = said(capsys, "plan", recipe, "--set", "bitz=int8")
    assert code == 1
    assert "bits" in err


# --- names from untrusted files -------------------------------------------------------------------------------------


def hostile_net() -> onnx.ModelProto:
    """The small network with names that steer a terminal."""
    proto = residual_net()
    for node in proto.graph.node:
        node.name = f"\x1b[31m{node.name}\x07\r\n\u202e"
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = name if name in ("x", "y") or name[0] in "wb" else f"\x1b]0;{name}\x07"
    return proto


@pytest.mark.parametrize("verb", ["plan", "compile", "explain"])
def test_names_never_steer_the_terminal(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path, proto=hostile_net())
    words = {"plan": (), "compile": ("--out", tmp_path / "build"), "explain": ("no\x1b[2Jsuch",)}[verb]
    code, out, err = said(capsys, verb, recipe, *words)
    assert code == (1 if verb == "explain" else 0)
    steering = [c for c in out + err if not c.isprintable() and c != "\n"]
    assert steering == []


def test_explaining_a_hostile_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path, proto=hostile_net())
    name = qdsl.plan(recipe).plans[0].nodes[0].node
    code, out, err = said(capsys, "explain", recipe, name)
    assert (code, err) == (0, "")
    assert [c for c in out if not c.isprintable() and c != "\n"] == []


# --- JSON -----------------------------------------------------------------------------------------------------------


def parsed(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    code, out, _ = said(capsys, *words, "--json")
    assert code in (0, 1)
    return json.loads(out)


def test_json_of_plan(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = parsed(capsys, "plan", recipe)
    assert set(found) == {"plans", "lock", "diagnostics"}
    (plan,) = found["plans"]
    assert {"nodes", "tensors", "weights", "biases", "totals", "recipe", "target", "version"} <= set(plan)
    assert plan["recipe"] == "demo"


def test_json_of_explain(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = parsed(capsys, "explain", recipe, "gemm")
    assert set(found) == {"name", "kind", "title", "steps", "verdict", "recipe", "sensitivity"}
    assert (found["name"], found["kind"]) == ("gemm", "node")
    won = [step["origin"]["rule"] for step in found["steps"] if step["won"]]
    assert "keep op Gemm" in won
    code = parsed(capsys, "explain", "selector-empty")
    assert {"code", "summary", "explanation", "example"} <= set(code)


def test_json_of_compile(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = parsed(capsys, "compile", recipe, "--out", recipe.parent / "build")
    assert {"recipe", "directory", "holds", "targets", "diagnostics"} <= set(found)
    (target,) = found["targets"]
    assert set(target) == {"target", "emitted", "verification", "budgets", "choices", "totals", "activations"}
    assert Path(target["emitted"]["model"]).is_file()
    emitted = {"directory", "model", "manifest", "files", "predicted_size", "opset", "ir_version", "counts", "refused"}
    assert set(target["emitted"]) == emitted | {"rewrites", "left"}
    assert target["verification"]["outputs"][0]["sqnr_db"] > 20


def test_json_of_check(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = recipe.with_name("broken.q")
    broken.write_text("recipe broken\nqantize static { }\n", encoding="utf-8")
    found = parsed(capsys, "check", recipe, broken)
    assert found["recipes"][str(recipe)] == []
    first = found["recipes"][str(broken)][0]
    assert set(first) == {"code", "severity", "headline", "span", "label", "help", "notes"}
    assert (first["severity"], first["span"]["line"]) == ("error", 2)


def test_json_of_passes_and_targets(capsys: pytest.CaptureFixture[str]) -> None:
    passes = parsed(capsys, "passes")
    assert [sorted(each) for each in passes] == [["name", "summary"]] * len(passes)
    assert "fold_batchnorm" in [each["name"] for each in passes]
    ort, stm32, tensorrt = parsed(capsys, "targets")
    assert {"name", "title", "table"} <= set(ort) == set(stm32) == set(tensorrt)
    rows = parsed(capsys, "targets", "ort")
    assert all({"row", "ops", "kind", "kernel", "because"} <= set(row) for row in rows)
    assert "conv" in [row["row"] for row in rows]


def test_json_of_fmt(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed(capsys, "fmt", recipe, "--check")["recipes"][str(recipe)] in ("same", "changed")


@pytest.mark.parametrize("verb", ["plan", "compile"])
def test_json_of_errors(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, verb, tmp_path / "absent.q", "--json")
    assert (code, err) == (1, "")
    (found,) = json.loads(out)["diagnostics"]
    assert (found["code"], found["severity"]) == ("file-missing", "error")


def test_json_is_ascii(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path, proto=hostile_net())
    _, out, _ = said(capsys, "plan", recipe, "--json")
    assert out.isascii()
    assert not any(c < " " and c != "\n" for c in out)
    assert json.loads(out)["plans"][0]["nodes"][0]["node"].startswith("\x1b[31mstem")


# --- explain CODE ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", all_codes())
def test_every_code_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, out, err = said(capsys, "explain", code)
    assert (found, err) == (0, "")
    assert out.startswith(f"{code}: {all_codes()[code].summary}\n")
    assert " ".join(all_codes()[code].explanation.split()) in " ".join(out.split())
    assert max(map(len, out.partition("\nRaised ")[0].splitlines()[2:])) <= 100
    assert all_codes()[code].setup in out
    found, out, _ = said(capsys, "explain", code, "--json")
    assert (found, json.loads(out)["verb"]) == (0, all_codes()[code].verb)


def test_an_unknown_code_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "explain", "selector-emty")
    assert (code, out) == (1, "")
    assert "`selector-empty`" in err


# --- explain WORD ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [word for word in known() if word not in RULES])
def test_every_word_of_the_language_is_explained(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "explain", word)
    assert (code, err) == (0, "")
    for found in meanings(word):
        assert f"{word}: {found.stands}\n" in out
        assert found.example in out
    assert json.loads(said(capsys, "explain", word, "--json")[1]) == [found._asdict() for found in meanings(word)]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_of_the_audit_is_explained(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "explain", rule)
    assert (code, err) == (0, "") and rule_named(rule).summary in out


def test_what_stands_in_the_vocabulary_is_known() -> None:
    words = {row.word for row in TABLE} | {row.name for row in METRICS} | {*SELECTOR_WORDS, *STATEMENTS}
    assert words | {*SOURCES, *METHODS, *MODES, *TARGETS, *TASKS, *TYPES, *SCHEME_WORDS} <= set(known())


@pytest.mark.parametrize("word", [word for word in known() if word != "extends" and word not in UNITS])
def test_what_explains_a_word_parses(word: str) -> None:
    for found in meanings(word):
        data = 'data calib from images "c.jpg"\ndata val from folder "v"\n'
        if found.example.startswith("data"):
            data = "".join(line for line in data.splitlines(True) if line.split()[1] != found.example.split()[1])
        qdsl.lang.loads(data + found.example.replace("recipe detector", "recipe recipe"))
        assert word in re.findall(r"\w+", found.example)


def test_a_word_of_another_tool_is_translated(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "explain", "normalize")
    assert (code, out) == (1, "")
    assert "in `input` write `rescale 1/255; mean" in err


def test_a_recipe_alone_is_not_a_code(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "explain", recipe)
    assert code == 1
    assert "qdsl explain RECIPE NODE" in err


def test_the_environment_of_these_tests_is_this_checkout() -> None:
    assert os.environ.get("QDSL_TRACEBACK") is None
    assert Path(qdsl.__file__).parent.parent == ROOT
