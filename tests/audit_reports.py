"""Reports of audits, made by hand: what formats tell of them is compared without a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.report import AuditReport, Counts, NodeFacts, Section, TensorError, TensorFacts
from qdsl.diag import Severity, Span
from qdsl.spec.plan import Prediction

# Names in models are anybody's: markup, scripts, workflow commands, links, what turns the direction of writing, NUL,
# a lone surrogate, line ends.
HOSTILE = (
    "</script><script>window.broken=1</script>",
    '"><img src=x onerror=window.broken=1>',
    "<!--<script>",
    "x\n::error file=secret::owned%0A,line=1",
    "[link](https://example.invalid/)",
    "abc\u202edcba\x00\x0b\ud800\u2028]]>",
    "javascript:window.broken=1",
    "`${window.broken=1}`{0}",
)


def node(name: str, op: str, inputs: Sequence[str], outputs: Sequence[str], macs: int | None = 0) -> NodeFacts:
    return NodeFacts(name, op, "", tuple(inputs), tuple(outputs), macs)


def tensor(name: str, readers: Iterable[tuple[str, int]], *, role: str = "activation", **more: object) -> TensorFacts:
    """A tensor of uint8 that `readers` read; a pair where it is an activation, stored otherwise."""
    pair = role == "activation"
    facts = TensorFacts(
        tensor=name,
        role=role,
        form="pair" if pair else "stored",
        element="uint8" if pair else "int8",
        scale_element="float32",
        granularity="per_tensor",
        axis=None,
        block=None,
        shape=(1, 8, 16, 16),
        scales=1,
        scale_low=0.02,
        scale_high=0.02,
        zero_low=128.0,
        zero_high=128.0,
        low=None,
        high=None,
        group=name,
        quantizers=(f"{name}_Q",) if pair else (),
        dequantizers=(f"{name}_DQ",),
        between=(),
        readers=tuple(readers),
        stored="" if pair else f"{name}_stored",
        origin="quantize static, line 16",
    )
    return replace(facts, **more)  # type: ignore[arg-type]


def finding(
    rule: str = "float_weight", name: str = "/conv1", severity: Severity = Severity.WARNING, **more: object
) -> Finding:
    found = Finding(
        rule, severity, Place("node", name), f"its weights are in float: {name}", "It runs in float on ort."
    )
    return replace(found, **more)  # type: ignore[arg-type]


RECIPE_LINE = Span("recipes/small.q", 7, 3, 7, 21)
FINDINGS = (
    finding("missing_axis", "/conv1", Severity.ERROR, fix=Fix(rewrite="axis", exact=True), line=RECIPE_LINE),
    finding("float_weight", "/conv2", fix=Fix(lines=('layers "/conv2" { weights int8 }',))),
    finding("shared_scale", place=Place("tensor", "act1"), also=(Place("node", "/conv2"),), severity=Severity.NOTE),
    finding("float_weight", "/relu", waived="measured: no loss"),
    finding("dangling_pair", "act1_Q", severity=Severity.WARNING),
    finding("no_opset", place=Place("file"), severity=Severity.ERROR),
)


def report(
    nodes: Sequence[NodeFacts] = (),
    tensors: Sequence[TensorFacts] = (),
    findings: Sequence[Finding] = FINDINGS,
    runs: Mapping[str, str] | None = None,
    targets: Sequence[str] = ("ort",),
    file: str = "models/small.onnx",
    errors: Mapping[str, TensorError] | None = None,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
) -> AuditReport:
    """A report on a small graph: Conv, Relu, Conv, the first in integers."""
    if not nodes:
        nodes = (
            node("/conv1", "Conv", ("x", "w1"), ("conv1_out",), 1000),
            node("/relu", "Relu", ("conv1_out",), ("act1",)),
            node("/conv2", "Conv", ("act1", "w2"), ("y",), 2000),
        )
        tensors = tensors or (
            tensor("x", [("/conv1", 0)]),
            tensor("w1", [("/conv1", 1)], role="weight"),
            tensor("act1", [("/conv2", 0)]),
        )
        runs = runs or {"/conv1": "integer", "/relu": "absorbed"}
    kinds = runs or {}
    verdicts = {
        each.name: Prediction(kinds.get(each.name, "float"), "QLinearConv", "ort_cpu.toml, row conv", "its row says so")
        for each in nodes
    }
    counts = Counts(len(nodes), 2, 1, {"Conv": (1, 2)}, 3000, 1000, 0, {"integer": 1})
    return AuditReport(
        file=file,
        sha256="ab" * 32,
        bytes=1234,
        producer="a tool 1.0",
        dialects=(("onnxruntime", "its names"),),
        opsets={"": 17},
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        nodes=tuple(nodes),
        tensors=tuple(tensors),
        types={"x": "float32 [1, 3, 16, 16]", "act1": "float32 [1, 8, 16, 16]"},
        sections=tuple(
            Section(name, f"{name}_cpu", ("x86_vnni",), counts, verdicts, (), tuple(_on(name, findings)))
            for name in targets
        ),
        recipe="recipes/small.q",
        version="0.1.0",
        explanations={each.rule: f"what {each.rule} means" for each in findings},
        errors=errors or {},
    )


def _on(target: str, findings: Iterable[Finding]) -> Iterable[Finding]:
    """As an audit tells them: each with its target."""
    return (replace(found, targets=(target,)) for found in findings)


def hostile() -> AuditReport:
    """Every name of the file, and every word that a finding takes from it, is hostile."""
    nodes, tensors, found, before = [], [], [], "x"
    for number, name in enumerate(HOSTILE):
        written = f"t{number} {name}"
        nodes.append(node(name, name, (before,), (written,), 10))
        tensors.append(tensor(before, [(name, 0)], origin=name))
        found.append(finding("float_weight", name, also=(Place("tensor", before),), why=name, message=f"see {name}"))
        found.append(finding("waived_rule", name, waived=name, fix=Fix(lines=(name,))))
        before = written
    made = report(nodes, tensors, found, {HOSTILE[0]: "integer"}, outputs=(before,))
    types = {name: f"float32 {name}" for each in nodes for name in each.outputs}
    return replace(made, types=types, producer=HOSTILE[0], dialects=((HOSTILE[1], HOSTILE[2]),))


def chain(count: int, *, skips: int = 0) -> AuditReport:
    """Convs one after the other, each `skips`-th one read again much later, with a finding on every fiftieth."""
    nodes = [node("/conv0", "Conv", ("x", "w0"), ("t0",), 10)]
    for number in range(1, count):
        inputs = [f"t{number - 1}", f"w{number}"]
        if skips and number > skips and number % skips == 0:
            inputs.append(f"t{number - skips - 1}")
        nodes.append(node(f"/conv{number}", "Conv", inputs, (f"t{number}",), 10))
    tensors = [tensor(f"t{number}", [(f"/conv{number + 1}", 0)]) for number in range(0, count - 1, 2)]
    found = [finding("float_weight", f"/conv{number}") for number in range(0, count, 50)]
    runs = {f"/conv{number}": "integer" for number in range(1, count, 2)}
    return report(nodes, tensors, found, runs, outputs=(f"t{count - 1}",))
