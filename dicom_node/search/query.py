"""A question in words to its parts: what shall be there, what shall not, and what merely filters.

    "bilateral pleural effusion, no pneumothorax or nodule, women over 60, last month"
        all of   pleural effusion (both sides) | not pneumothorax | not nodule
        wanted   sex F, 61 years and older, 2026-10-01 to 2026-10-31

The grammar, on lexemes (`lexemes.py`):

    question  := item { joint item }            joint  := , | and | or | nor | but | . | nothing, before a cue
    item      := [cue] { word | finding | side | attribute }

    A denial ("no", "without") holds for its item, and on along a list that is closed by `or`, `nor` or `and`:
    "no A, B or C" denies three, "no A, B" denies one. `but`, `with`, a full stop and any other cue end it.
    A denial behind ("A and B absent") holds back along `and` and `or`.
    `or` between affirmed items makes alternatives; between denied ones each is denied.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from dicom_node.errors import QuestionError
from dicom_node.search.attributes import gather
from dicom_node.search.items import Item, Joint, Polarity, items_of
from dicom_node.search.lexemes import lexemes_of
from dicom_node.search.question import Alternatives, Question, Reason, Statement, Wanted
from dicom_node.search.statements import statements_of
from dicom_node.search.terms import Term
from dicom_node.search.vocabulary import Phrases, Vocabulary

MOST_STATEMENTS = 12
"""Each is embedded and ranked by itself, in each modality."""
LONGEST = 1000
"""Characters; no question is longer, and what is longer is no question."""


def parse(text: str, vocabulary: Vocabulary, terms: Phrases[Term], today: date) -> Question:
    """The parts of `text`; `terms` are the names of the bundle's findings, `yesterday` is that of `today`.

    Raises QuestionError for a question that is empty, contradicts itself or cannot be understood.
    """
    if len(text) > LONGEST:
        raise QuestionError(
            Reason.TOO_LONG, f"A question has at most {LONGEST} characters. Ask in fewer words."
        )
    tokens = vocabulary.tokens(text)
    if not any(token.key[0].isalnum() for token in tokens):
        raise QuestionError(
            Reason.EMPTY,
            "The question is empty. Ask for a finding, e.g. `pneumonia, no effusion, women over 60`.",
        )
    items = items_of(lexemes_of(tokens, vocabulary, terms, today))
    wanted = gather(items)
    groups, undecided = _grouped(items, text)
    if not groups and wanted == Wanted():
        raise QuestionError(
            Reason.NOTHING_SAID,
            "The question says neither what shall be there nor what shall not (`rule out` says neither). "
            "Name a finding, e.g. `pneumonia` or `no pneumonia`.",
        )
    if sum(len(group.any_of) for group in groups) > MOST_STATEMENTS:
        raise QuestionError(
            Reason.TOO_LONG, f"A question has at most {MOST_STATEMENTS} statements. Ask for fewer findings."
        )
    _refuse_contradiction(groups)
    return Question(tuple(groups), wanted, tuple(undecided))


def _grouped(items: Sequence[Item], text: str) -> tuple[list[Alternatives], list[str]]:
    """Statements by `and` of `or`, and what was left undecided."""
    groups: list[Alternatives] = []
    undecided: list[str] = []
    open_to_or = False
    for item in items:
        said = statements_of(item, text)
        if item.polarity is Polarity.UNDECIDED:
            undecided += [statement.text for statement in said]
            open_to_or = False
        elif said:
            first, *others = said
            if item.alternative and open_to_or:
                more = first.kinds if first.affirmed and first.kinds else (first,)
                groups[-1] = Alternatives(tuple(dict.fromkeys((*groups[-1].any_of, *more))))
            else:
                groups += _spread(first)
            groups += [group for other in others for group in _spread(other)]
            open_to_or = True
        elif item.joint is not Joint.OR:
            open_to_or = False
    return groups, undecided


def _spread(statement: Statement) -> list[Alternatives]:
    """Any of its kinds where it is affirmed; none of them where it is denied."""
    if not statement.kinds:
        return [Alternatives((statement,))]
    if statement.affirmed:
        return [Alternatives(statement.kinds)]
    return [Alternatives((kind,)) for kind in statement.kinds]


def _refuse_contradiction(groups: Sequence[Alternatives]) -> None:
    """Of statements that must all hold, none may deny what another affirms."""
    sure = [group.any_of[0] for group in groups if len(group.any_of) == 1]
    denied = [one for one in sure if not one.present]
    for group in groups:
        if all(one.present and any(_same(one, other) for other in denied) for one in group.any_of):
            raise QuestionError(
                Reason.CONTRADICTION,
                "The question asks for the same finding to be there and not to be there. Leave out "
                "one of both, or ask for either with `or`.",
            )


def _same(one: Statement, other: Statement) -> bool:
    if one.side != other.side:
        return False
    return one.prompt == other.prompt or (bool(one.findings) and one.findings == other.findings)
