"""`qdsl explain`: why one node, tensor or diagnostic code is as it is, what a rule of the audit finds, and what a word
of the language says."""

from __future__ import annotations

import argparse

_WIDEST = 100  # columns of an explanation


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json, add_sets, add_target

    parser.description = (
        "Show the chain of rules behind one node or tensor of a recipe's model, ending in the winner; "
        "or, without a recipe, what a diagnostic code, a rule of the audit or a word of the language means."
    )
    parser.usage = "qdsl explain RECIPE NODE|TENSOR  |  qdsl explain CODE|RULE|WORD"
    parser.add_argument("words", nargs="+", metavar="RECIPE SUBJECT | CODE | RULE | WORD")
    add_sets(parser)
    add_target(parser)
    parser.add_argument("--out", default="build", help="where `compile` put what it measured (default: build)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if len(args.words) == 1:
        return _code(args.words[0], args.json)
    if len(args.words) == 2:
        return _subject(args)
    from qdsl.cli import EXIT_USAGE
    from qdsl.cli.output import complain

    complain("qdsl explain takes a recipe and one name, or one diagnostic code, rule or word of the language")
    return EXIT_USAGE


def _subject(args: argparse.Namespace) -> int:
    import dataclasses
    import sys

    import qdsl.api
    from qdsl.cli.output import print_json

    recipe, subject = args.words
    found = qdsl.api.explain(recipe, subject, target=args.target, sets=dict(args.sets), out=args.out)
    if args.json:
        print_json([dataclasses.asdict(explanation) for explanation in found])
        return 0
    for explanation in found:
        print(explanation.render(narrow=sys.stdout.isatty()), end="")
    return 0


def _code(code: str, as_json: bool) -> int:
    import dataclasses

    from qdsl.cli.output import print_json
    from qdsl.diag import Diagnostic, QdslError, nearest
    from qdsl.diag.codes import all_codes
    from qdsl.lang.word_help import known as words
    from qdsl.spec.audit_rules import RULES

    known = all_codes()
    if code in RULES:
        return _rule(code, as_json)
    if code not in known and _keyword(code, as_json):
        return 0
    if code not in known:
        close = nearest(code, (*known, *words(), *RULES))
        cures = [f"the nearest are {', '.join(f'`{c}`' for c in close)}"] if close else []
        cures += _foreign(code)
        cures.append("to explain a node or tensor, name the recipe first: `qdsl explain RECIPE NODE`")
        headline = f"there is no diagnostic code, no rule of the audit and no word `{code[:80]}`"
        raise QdslError([Diagnostic("code-unknown", headline, help=tuple(cures))])
    doc = known[code]
    if as_json:
        print_json({"code": code, **dataclasses.asdict(doc)})
        return 0
    print(f"{code}: {doc.summary}\n\n{_wrapped(doc.explanation)}")
    if doc.example:
        raised = "by a call of the library" if doc.verb == "library" else f"by `qdsl {doc.verb}`"
        beside = f", where: {doc.setup}" if doc.setup else ""
        print(f"\nRaised {raised} on this recipe{beside}\n")
        print("\n".join(f"    {line}" for line in doc.example.strip("\n").split("\n")))
    return 0


def _rule(name: str, as_json: bool) -> int:
    """Tell what a rule of the audit finds, and how a recipe lets it stand."""
    from qdsl.auditing.index import rule_named
    from qdsl.cli.output import print_json

    rule = rule_named(name)
    if as_json:
        told = {"summary": rule.summary, "explanation": rule.explanation}
        print_json({"rule": rule.id, "severity": rule.severity.value, "targets": list(rule.targets), **told})
        return 0
    only = f", on {', '.join(rule.targets)}" if rule.targets else ""
    print(f"{rule.id}: {rule.summary}\n\n{_wrapped(rule.explanation)}")
    print(f"\nA finding of `qdsl audit`, {rule.severity.value} at most{only}. Where it is meant:\n")
    print(f'    allow {rule.id} on "/a/node" because "why it is meant"')
    return 0


def _keyword(word: str, as_json: bool) -> bool:
    """Tell what a word of the language says; False when it is none."""
    from qdsl.cli.output import print_json
    from qdsl.lang.word_help import KINDS_OF_VALUES, meanings

    found = meanings(word)
    if not found:
        return False
    if as_json:
        print_json([each._asdict() for each in found])
        return True
    for number, each in enumerate(found):
        print(("\n" if number else "") + f"{word}: {each.stands}")
        kinds = [k for k in each.takes.replace("|", " ").replace("[", " ").replace("]", " ").split() if k.isupper()]
        takes = "; ".join([each.takes, *(f"{k} is {KINDS_OF_VALUES[k]}" for k in kinds if k in KINDS_OF_VALUES)])
        for title, text in (("takes", takes), ("says", each.says), ("such as", each.example)):
            if text:
                print(f"  {title:<8} {text}")
    return True


def _foreign(word: str) -> list[str]:
    """What a word of other tools is called here, in each block that may be meant."""
    from qdsl.lang.foreign import FIRST, cure

    blocks = dict.fromkeys(row.where for row in FIRST)
    told = [(block, cure(block, word)) for block in blocks]
    return [f"in {'a recipe' if block == 'recipe' else f'`{block}`'} {text}" for block, text in told if text]


def _wrapped(text: str) -> str:
    """Paragraphs of at most `_WIDEST` columns; indented lines stay as they are."""
    import textwrap

    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(p if p.startswith(" ") else textwrap.fill(" ".join(p.split()), _WIDEST) for p in paragraphs)
