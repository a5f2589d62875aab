"""Evaluates one selector over one graph, and says which part of it matched nothing, where and what was near."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qdsl.diag import Diagnostics, Span
from qdsl.graph import structure
from qdsl.graph.neighbours import links, reachable
from qdsl.graph.view import GraphView
from qdsl.lang.regex import Regex
from qdsl.lang.selectors import (
    AllOf,
    AnyOf,
    Between,
    Condition,
    Group,
    Matching,
    Named,
    NameGlob,
    Not,
    Nth,
    Op,
    Picks,
    Selector,
    TensorGlob,
    Under,
)
from qdsl.select import conditions
from qdsl.select.empty import empty, miscount
from qdsl.select.names import close_names, glob, in_scope, is_glob, listed, scope_sizes
from qdsl.select.ops import is_operator, nearest_operator, why_absent

_PREDICATES: dict[str, Callable[[GraphView], frozenset[int]]] = {
    "depthwise": structure.depthwise,
    "pointwise": structure.pointwise,
    "activation": structure.activation,
    "silu": structure.silu,
    "gelu": structure.gelu,
    "layer_norm": structure.layer_norm,
    "residual_add": structure.residual_add,
    "decode_head": structure.decode_head,
}
NODES, TENSORS = "node", "tensor"


@dataclass(frozen=True, slots=True)
class _Blank:
    """A part that matched nothing. A `literal` one is a name written out, an error wherever it stands."""

    span: Span
    label: str
    help: tuple[str, ...] = ()
    literal: bool = False


def kinds(selector: Selector | Picks) -> frozenset[str]:
    """What a selector names: nodes, tensors, or (a fault that evaluation reports) both."""
    match selector:
        case Picks() | AnyOf() | AllOf():
            return frozenset().union(*map(kinds, selector.parts))
        case Nth():
            return kinds(selector.of)
        case Not():
            return kinds(selector.part)
        case Group():
            return kinds(selector.picks)
        case Named(definition=Picks() as definition):
            return kinds(definition)
        case TensorGlob():
            return frozenset({TENSORS})
        case _:
            return frozenset({NODES})


class Evaluator:
    """Matches selectors of one kind (nodes or tensors) over one graph; items are numbered in graph order.

    Errors go to the report; once `failed` is set, results mean nothing.
    """

    def __init__(self, view: GraphView, diags: Diagnostics, kind: str, selects: Mapping[str, Picks]) -> None:
        self.view = view
        self.kind = kind
        self.names: Sequence[str] = [n.name for n in view.nodes] if kind == NODES else tensor_names(view)
        self.failed = False
        self._diags = diags
        self._selects = selects
        self._blanks: list[_Blank] = []

    def picks(self, picks: Picks, *, checked: bool = True) -> set[int]:
        """The union of the parts; an error when it is empty or not as many as `expect` says (unless not `checked`)."""
        outer, self._blanks = self._blanks, []
        failed_before, self.failed = self.failed, False
        found: set[int] = set()
        for part in picks.parts:
            found |= self._of(part)
        if checked:
            self._check(picks, found)
        else:
            outer += self._blanks
        self._blanks = outer
        self.failed = self.failed or failed_before
        return found

    def _check(self, picks: Picks, found: set[int]) -> None:
        if picks.expect == 0 and not found:
            return
        literal = [blank for blank in self._blanks if blank.literal]
        for blank in literal:
            self._empty(blank.span, blank.label, blank.help)
        if self.failed:
            return
        if not found:
            blank = self._blanks[0] if self._blanks else _Blank(picks.span, f"no {self.kind} matches")
            self._empty(blank.span, blank.label, blank.help)
        elif picks.expect is not None and len(found) != picks.expect:
            self._miscount(picks, found)

    def _empty(self, span: Span, label: str, help: tuple[str, ...]) -> None:
        self.failed = True
        empty(self._diags, self.kind, span, label, help)

    def _miscount(self, picks: Picks, found: set[int]) -> None:
        assert picks.expect is not None, "what is not expected is not miscounted"
        self.failed = True
        names = [self.names[i] for i in sorted(found)]
        help = (f"it matches {listed(names)}", f"if that is meant, write `expect {len(found)}`")
        label = f"expected {picks.expect}, found {len(found)}"
        what = counted(len(found), self.kind)
        miscount(self._diags, what, picks.expect, picks.expect_span or picks.span, label, help)

    def _error(self, code: str, headline: str, span: Span, label: str = "", help: tuple[str, ...] = ()) -> None:
        self.failed = True
        self._diags.error(code, headline, span, label=label, help=help)

    def _blank(self, span: Span, label: str, help: tuple[str, ...] = (), *, literal: bool = False) -> None:
        self._blanks.append(_Blank(span, label, help, literal))

    def _of(self, selector: Selector) -> set[int]:
        match selector:
            case Nth():
                return self._nth(selector)
            case AnyOf():
                return set().union(*map(self._of, selector.parts))
            case AllOf():
                return self._all_of(selector)
            case Not():
                return self._not(selector)
            case Group():
                return self.picks(selector.picks, checked=selector.picks.expect is not None)
            case Named():
                return self._named(selector)
            case TensorGlob():
                return self._tensors(selector)
            case _ if self.kind == TENSORS:
                help = ('name tensors with `tensor "..."`; for what a node reads or writes: `inputs of`, `outputs of`',)
                self._error("selector-kind", "tensors are expected here", selector.span, "this names nodes", help)
                return set()
            case _:
                return self._nodes(selector)

    def _nodes(self, selector: Op | NameGlob | Matching | Under | Between | Condition) -> set[int]:
        match selector:
            case Op():
                return self._op(selector)
            case NameGlob():
                return self._by_name(selector)
            case Matching():
                return self._matching(selector)
            case Under():
                return self._under(selector)
            case Between():
                return self._between(selector)
            case Condition():
                return self._condition(selector)

    def _nth(self, nth: Nth) -> set[int]:
        found = sorted(self._of(nth.of))
        if len(found) < nth.count and not self.failed:
            label = f"asked for {nth.count}, found {len(found)}"
            help = (f"it matches {listed(self.names[i] for i in found)}",) if found else ()
            headline = f"only {counted(len(found), self.kind)} to take the {nth.which} {nth.count} of"
            self._error("selector-too-few", headline, nth.span, label, help)
        return set(found[: nth.count] if nth.which == "first" else found[max(0, len(found) - nth.count) :])

    def _all_of(self, selector: AllOf) -> set[int]:
        parts = [self._of(part) for part in selector.parts]
        found = set.intersection(*parts)
        if not found and all(parts):
            sizes = " and ".join(str(len(part)) for part in parts)
            self._blank(selector.span, f"the parts match {sizes} {self.kind}s, and none is in all of them")
        return found

    def _not(self, selector: Not) -> set[int]:
        found = set(range(len(self.names))) - self._of(selector.part)
        if not found:
            self._blank(selector.span, f"every {self.kind} is left out")
        return found

    def _named(self, selector: Named) -> set[int]:
        definition = selector.definition or self._selects.get(selector.name)
        if definition is not None:
            return self.picks(definition)
        if self.kind == TENSORS:
            self._error("selector-kind", "tensors are expected here", selector.span, f"`{selector.name}` names nodes")
            return set()
        if selector.name == "all":
            return set(range(len(self.names)))
        found = set(_PREDICATES[selector.name](self.view))
        if not found:
            self._blank(selector.span, f"{self.view.model_name} has no `{selector.name}`", self._structures())
        return found

    def _structures(self) -> tuple[str, ...]:
        """What the graph does have of the words that select by structure."""
        sizes = {word: len(found(self.view)) for word, found in _PREDICATES.items()}
        there = [f"`{word}` ({counted(size, NODES)})" for word, size in sizes.items() if size]
        return (f"of these words, it has {', '.join(there)}" if there else "select by name, `op` or `under` instead",)

    def _op(self, selector: Op) -> set[int]:
        present = Counter(node.op for node in self.view.nodes)
        for name, span in selector.names:
            if name not in present and not is_operator(name):
                close = nearest_operator(name, present)
                cures = (f"did you mean {' or '.join(f'`{c}`' for c in close)}?",) if close else ()
                self._error("unknown-op", f"`{name}` is no ONNX operator", span, "unknown operator", cures)
        wanted = {name for name, _ in selector.names}
        found = {node.index for node in self.view.nodes if node.op in wanted}
        if not found and not self.failed:
            common = ", ".join(f"{op} ({count})" for op, count in present.most_common(5))
            help = (*why_absent(sorted(wanted)), f"most frequent there: {common}")
            self._blank(selector.span, f"no such node in {self.view.model_name}", help)
        return found

    def _by_name(self, selector: NameGlob) -> set[int]:
        found: set[int] = set()
        for pattern, span in selector.patterns:
            matched = _matched(pattern, self.names)
            if not matched:
                label = f"no node of this name in {self.view.model_name}"
                self._blank(span, label, self._near_node(pattern), literal=True)
            found |= matched
        return found

    def _near_node(self, pattern: str) -> tuple[str, ...]:
        if pattern in self.view.tensors:
            return (f'that is a tensor: write `tensor "{pattern}"`',)
        if any(in_scope(node.scopes, pattern.rstrip("/")) for node in self.view.nodes):
            return (f'that is a scope: write `under "{pattern}"`',)
        return _near("names", close_names(pattern, self.names)) or _looks(self.names)

    def _matching(self, selector: Matching) -> set[int]:
        regex = Regex(selector.pattern)
        found = {i for i, name in enumerate(self.names) if regex.search(name)}
        if not found:
            label = f"no node name in {self.view.model_name} contains a match"
            help = (f"names look like {listed(self.names)}", "for `*` and `?` patterns write the string alone")
            self._blank(selector.span, label, help, literal=True)
        return found

    def _under(self, selector: Under) -> set[int]:
        found: set[int] = set()
        for written, span in selector.scopes:
            scope = written.rstrip("/") or written
            matched = {node.index for node in self.view.nodes if in_scope(node.scopes, scope)}
            if not matched:
                label = f"no scope `{written}` in {self.view.model_name}"
                self._blank(span, label, self._near_scope(scope), literal=True)
            found |= matched
        return found

    def _near_scope(self, scope: str) -> tuple[str, ...]:
        sizes = scope_sizes(self.view)
        if not sizes:
            return ("this model keeps no module scopes: select by name or by structure",)
        if is_glob(scope):
            return (f'`under` reads a scope letter by letter; a pattern is a name: `"{scope}/*"`',)
        close = [f"`{name}` ({counted(sizes[name], NODES)})" for name in close_names(scope, sizes)]
        if not close:
            return (f"scopes there are {listed(sorted(sizes, key=lambda name: name.count('/')))}",)
        return (f"the nearest scopes are {' and '.join(close)}" if len(close) > 1 else f"the nearest is {close[0]}",)

    def _tensors(self, selector: TensorGlob) -> set[int]:
        if self.kind == NODES:
            help = ("leave out `tensor` to name nodes",)
            self._error("selector-kind", "nodes are expected here", selector.span, "this names tensors", help)
            return set()
        found: set[int] = set()
        for pattern, span in selector.patterns:
            matched = _matched(pattern, self.names)
            if not matched:
                label = f"no tensor of this name in {self.view.model_name}"
                self._blank(span, label, self._near_tensor(pattern), literal=True)
            found |= matched
        return found

    def _near_tensor(self, pattern: str) -> tuple[str, ...]:
        if self.view.is_constant(pattern):
            readers = [node.name for node in self.view.consumers(pattern)]
            return (f"that is a constant: its type is the `weights` of the node that reads it, {listed(readers)}",)
        if pattern in self.view.node_index:
            outputs = self.view.node(pattern).outputs
            return (f"that is a node: it writes {listed(name for name in outputs if name)}",)
        return _near("tensors", close_names(pattern, self.names)) or _looks(self.names)

    def _between(self, selector: Between) -> set[int]:
        start, end = self._end(selector.start, first=True), self._end(selector.end, first=False)
        if not start or not end or self.failed:
            return set()
        net = links(self.view)
        found = reachable(start, net.after) & reachable(end, net.before)
        if not found:
            turned = reachable(end, net.after) & start
            help = ("a path runs the other way: swap the two",) if turned else ()
            label = f"{counted(len(start), NODES)} and {counted(len(end), NODES)}, no path from the first to the second"
            self._error("selector-no-path", "no path runs between these nodes", selector.span, label, help)
        return found

    def _end(self, selector: Selector, *, first: bool) -> set[int]:
        """The nodes at one end of a path; a tensor stands for its readers (first) or for the node that writes it."""
        if kinds(selector) != {TENSORS}:
            return self._of(selector)
        inner = Evaluator(self.view, self._diags, TENSORS, self._selects)
        picked = inner.picks(Picks((selector,), None, selector.span))
        self.failed = self.failed or inner.failed
        known = [self.view.tensors[inner.names[i]] for i in picked]
        if first:
            return {use.node for tensor in known for use in tensor.uses}
        return {tensor.producer for tensor in known if tensor.producer is not None}

    def _condition(self, selector: Condition) -> set[int]:
        known = conditions.facts(self.view, selector.field)
        found = {index for index, fact in known.items() if conditions.holds(selector, fact)}
        if not found:
            self._blank(selector.span, f"holds for no node; {conditions.spread(known)}")
        return found


def tensor_names(view: GraphView) -> list[str]:
    """The tensors that selectors speak of, in graph order: graph inputs, then what each node writes."""
    return [*view.inputs, *(name for node in view.nodes for name in node.outputs if name)]


def counted(count: int, kind: str) -> str:
    return f"{count} {kind}" if count == 1 else f"{count} {kind}s"


def _matched(pattern: str, names: Sequence[str]) -> set[int]:
    if not is_glob(pattern):
        return {i for i, name in enumerate(names) if name == pattern}
    test = glob(pattern)
    return {i for i, name in enumerate(names) if test(name)}


def _looks(names: Sequence[str]) -> tuple[str, ...]:
    """What names are like, where none is near."""
    return (f"names look like {listed(names)}",) if names else ()


def _near(what: str, close: tuple[str, ...]) -> tuple[str, ...]:
    if not close:
        return ()
    shown = " and ".join(f"`{name}`" for name in close)
    return (f"the nearest {what} are {shown}" if len(close) > 1 else f"the nearest is {shown}",)
