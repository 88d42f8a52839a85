"""What a question says, as frozen facts; `query.py` makes one from text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicom_node.search.dates import Days
from dicom_node.search.vocabulary import Years


class Reason(StrEnum):
    """`QuestionError.reason` of this room; stable, for programs."""

    EMPTY = "empty-question"
    NOTHING_SAID = "nothing-said"
    CONTRADICTION = "contradiction"
    DANGLING = "dangling-negation"
    DOUBLE = "double-negation"
    EXCLUDED_ATTRIBUTE = "excluded-attribute"
    EMPTY_AGES = "empty-ages"
    EMPTY_DATES = "empty-dates"
    UNKNOWN_EXAMPLE = "unknown-example"
    TOO_LONG = "question-too-long"


@dataclass(frozen=True, slots=True)
class Statement:
    """Something that is there, or is not."""

    text: str
    """As it was asked, without its denial: `small pleural effusion`. May hold anything, a name too."""
    prompt: str
    """What is embedded for it: `text` with abbreviations spelled out."""
    affirmed: bool
    """Whether the words shall hold; see `present`."""
    findings: tuple[str, ...] = ()
    """Ids of the bundle that it names: one for each modality that knows it, none where no one does."""
    denies: bool = False
    """Whether the words themselves say that those findings are absent: `normal ECG`."""
    side: str | None = None
    """`L`, `R` or `B`: on which side it shall lie."""
    bare: bool = False
    """Whether it names the finding and says nothing more of it."""
    narrower: bool = False
    """Whether the words say more than the finding that they name: `STEMI`, `old inferior infarct`."""
    kinds: tuple[Statement, ...] = ()
    """Of a general name (`cancer`): one for each finding that it may be."""
    is_kind: bool = False
    """Whether it stands for a general name: a modality that knows another of the kinds means that one."""

    @property
    def present(self) -> bool:
        """Whether the findings shall be there."""
        return self.affirmed != self.denies

    @property
    def words(self) -> str:
        """For people: with its denial."""
        return self.text if self.affirmed else f"no {self.text}"


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of these statements, at least, must hold. Mostly there is only one."""

    any_of: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is no finding, and filters: all of it at once; an empty tuple or None says nothing."""

    sexes: tuple[str, ...] = ()
    """`M`, `F`."""
    years: Years | None = None
    days: Days | None = None
    modalities: tuple[str, ...] = ()
    """Ids as bundles have them, any of which will do."""
    codes: tuple[str, ...] = ()
    """DICOM modalities that were asked for and that no encoder reads, any of which will do."""
    not_modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    """Values of (0018,0015), any of which will do. Most objects name none."""
    sides: tuple[str, ...] = ()
    """Of a pair (eyes) the one that the image must show: `L`, `R` or `B`."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, understood."""

    all_of: tuple[Alternatives, ...] = ()
    wanted: Wanted = Wanted()
    undecided: tuple[str, ...] = ()
    """What was named but neither affirmed nor denied ("rule out pneumonia"); it was not used."""

    @property
    def statements(self) -> tuple[Statement, ...]:
        """All of them, in their order."""
        return tuple(statement for group in self.all_of for statement in group.any_of)
