"""An ordinary C-FIND, answered as Orthanc answers it where no plugin does.

A plugin that takes C-FIND takes all of it, and Orthanc offers no way back to its own handler. So what that
handler does is done here over Orthanc's REST interface: which level's values are told, from which instance
what the database does not keep is read, how counts are made. tests/integration/test_orthanc_find.py compares
both, attribute by attribute. `why_not` names the set-ups for which that would not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthanc_plugin.find_archive import FindArchive
from orthanc_plugin.find_query import (
    CHARACTER_SET,
    LEVEL,
    MODALITIES_IN_STUDY,
    MODALITY,
    RETRIEVE_AET,
    Query,
)

COMPARED_WITH = (1, 10, 1)
"""The version of Orthanc with which the answers were compared."""

MAIN_TAGS = {
    "Patient": (
        "0010,0010", "0010,0020", "0010,0030", "0010,0040", "0010,1000",
    ),
    "Study": (
        "0008,0020", "0008,0030", "0008,0050", "0008,0080", "0008,0090", "0008,1030", "0020,000d",
        "0020,0010", "0032,1032", "0032,1060",
    ),
    "Series": (
        "0008,0021", "0008,0031", "0008,0060", "0008,0070", "0008,1010", "0008,103e", "0008,1070",
        "0018,0010", "0018,0015", "0018,0024", "0018,1030", "0018,1090", "0018,1400", "0020,000e",
        "0020,0011", "0020,0037", "0020,0105", "0020,1002", "0040,0254", "0054,0081", "0054,0101",
        "0054,1000",
    ),
    "Instance": (
        "0008,0012", "0008,0013", "0008,0018", "0020,0012", "0020,0013", "0020,0032", "0020,0037",
        "0020,0100", "0020,4000", "0028,0008", "0054,1330",
    ),
}  # fmt: skip
"""What the database of Orthanc 1.10 keeps of each level."""
ABOVE = {
    "Study": ("Study",),
    "Series": ("Series", "Study"),
    "Instance": ("Instance", "Series", "Study"),
}
"""What is told at a level below the patient's, besides the patient itself."""
COUNTS = {
    "Patient": {"0020,1200": 1, "0020,1202": 2, "0020,1204": 3},
    "Study": {"0020,1206": 1, "0020,1208": 2},
    "Series": {"0020,1209": 1},
    "Instance": {},
}
"""Tags of the numbers of related objects, and how many levels below they are."""
SOP_CLASSES_IN_STUDY = "0008,0062"
COMPUTED = frozenset(
    {MODALITIES_IN_STUDY, SOP_CLASSES_IN_STUDY, *(tag for tags in COUNTS.values() for tag in tags)}
)
KEPT = frozenset(tag for tags in MAIN_TAGS.values() for tag in tags)


def why_not(configuration: Mapping[str, Any], at_least: Callable[[int, int, int], bool]) -> str | None:
    """Why ordinary queries could not be answered as this Orthanc does it itself; None where they can.
    `at_least` tells whether this Orthanc is of a version or later."""
    major, minor, revision = COMPARED_WITH
    if not at_least(major, minor, revision) or at_least(major, minor, revision + 1):
        return f"only Orthanc {major}.{minor}.{revision} was compared, and this is another version"
    if configuration.get("LuaScripts"):
        return '"LuaScripts" may filter queries, and a plugin that answers them passes by that filter'
    if configuration.get("StorageAccessOnFind", "Always") != "Always":
        return '"StorageAccessOnFind" is not "Always"'
    for section in ("PostgreSQL", "MySQL", "Odbc", "MongoDB"):
        if section in configuration:
            return f'"{section}": only the SQLite index was compared'
    for limit in ("LimitFindResults", "LimitFindInstances"):
        if configuration.get(limit, 0):
            return f'"{limit}" is set, and a plugin cannot tell when that limit was met'
    if "vitrea" in str(configuration.get("DicomModalities", "")).lower():
        return 'Orthanc treats queries of the manufacturer "Vitrea" in a way of its own'
    return None


@dataclass(frozen=True)
class Match:
    """A resource that answers, and the instance that stands for it."""

    id: str
    instance: str = ""
    """Empty: the first of its instances, by id."""


class OrdinaryFind:
    """Answers to one query at a time."""

    def __init__(self, archive: FindArchive, *, own_aet: str, case_sensitive_names: bool) -> None:
        """`own_aet` and `case_sensitive_names`: Orthanc's settings DicomAet and CaseSensitivePN."""
        self._archive = archive
        self._own_aet = own_aet
        self._case_sensitive_names = case_sensitive_names

    def answers(self, query: Query) -> Iterator[bytes]:
        """Data sets, in Orthanc's order. Raises QueryError and what Orthanc raises."""
        for match in self.matches(query):
            yield self.answer(query, match)

    def matches(self, query: Query) -> Iterator[Match]:
        """What matches."""
        level = query.level
        constraints = query.constraints()
        if level == "Study" and MODALITIES_IN_STUDY in constraints and self._reads_header(query):
            yield from self._by_modality(constraints)
            return
        for identifier in self._find(level, constraints):
            yield Match(identifier)

    def answer(self, query: Query, match: Match, *, character_set: str | None = None) -> bytes:
        """The data set that Orthanc would send; it is sent in Orthanc's DefaultEncoding, whatever
        `character_set` it is made in (None: that one)."""
        elements = self._elements(query, match)
        if character_set is not None:
            elements[CHARACTER_SET] = character_set
        return self._archive.dicom(elements)

    def uids(self, level: str, identifier: str) -> tuple[str, str]:
        """Study Instance UID of a study or series, and Series Instance UID (empty for a study)."""
        found = self._archive.resource(level, identifier)
        if level == "Study":
            return found.tags.get("StudyInstanceUID", ""), ""
        study = self._archive.resource("Study", found.parent)
        return study.tags.get("StudyInstanceUID", ""), found.tags.get("SeriesInstanceUID", "")

    def _find(self, level: str, constraints: Mapping[str, str]) -> list[str]:
        """Names (PN) are compared without regard to case unless Orthanc is told otherwise, all else with."""
        names = {tag: value for tag, value in constraints.items() if self._archive.vr(tag) == "PN"}
        if self._case_sensitive_names or not names:
            return self._archive.find(level, constraints, case_sensitive=True)
        others = {tag: value for tag, value in constraints.items() if tag not in names}
        named = self._archive.find(level, names, case_sensitive=False)
        if not others:
            return named
        wanted = frozenset(named)
        return [one for one in self._archive.find(level, others, case_sensitive=True) if one in wanted]

    def _by_modality(self, constraints: Mapping[str, str]) -> Iterator[Match]:
        """Studies by the modality of their series: the first series that matches stands for its study."""
        asked = {MODALITY if tag == MODALITIES_IN_STUDY else tag: v for tag, v in constraints.items()}
        found: dict[str, Match] = {}
        for identifier in self._find("Series", asked):
            series = self._archive.resource("Series", identifier)
            study = self._archive.resource("Study", series.parent)
            found.setdefault(study.tags["StudyInstanceUID"], Match(study.id, series.children[0]))
        for _, match in sorted(found.items()):
            yield match

    def _reads_header(self, query: Query) -> bool:
        """Whether something is asked that the database does not keep at any level."""
        return any(tag not in KEPT for tag in query.tags - COMPUTED - {CHARACTER_SET, LEVEL})

    def _elements(self, query: Query, match: Match) -> dict[str, Any]:
        header = None
        if self._reads_header(query):
            instance = match.instance or self._below(query.level, match.id, "Instance")[0]
            header = self._archive.header(instance)
        main = {} if header is not None else self._main_tags(query.level, match.id)
        made: dict[str, Any] = {RETRIEVE_AET: self._own_aet}
        for key in query.keys:
            if key.tag == LEVEL:
                made[key.tag] = key.value
            elif key.tag == CHARACTER_SET:
                continue
            elif self._archive.vr(key.tag) == "SQ":
                if header is not None and header.get(key.tag, {}).get("Type") == "Sequence":
                    made[key.tag] = [_item(one) for one in header[key.tag]["Value"]]
            elif header is not None:
                made[key.tag] = _text(header.get(key.tag))
            else:
                made[key.tag] = main.get(key.tag, {}).get(key.name, "")
        made.update(self._computed(query, match.id))
        return made

    def _main_tags(self, level: str, identifier: str) -> dict[str, Mapping[str, str]]:
        """By tag, the tags of the level that keeps it: this one or one above. What is kept of a patient is
        what the study says; for a patient, the study of the instance that stands for it."""
        if level == "Patient":
            first = self._archive.resource("Instance", self._below(level, identifier, "Instance")[0])
            study = self._archive.resource("Study", self._archive.resource("Series", first.parent).parent)
            return dict.fromkeys(MAIN_TAGS["Patient"], study.patient)
        found: dict[str, Mapping[str, str]] = {}
        for one in ABOVE[level]:
            resource = self._archive.resource(one, identifier)
            for tag in MAIN_TAGS[one]:
                found.setdefault(tag, resource.tags)
            identifier = resource.parent
        return found | dict.fromkeys(MAIN_TAGS["Patient"], resource.patient)

    def _computed(self, query: Query, identifier: str) -> dict[str, str]:
        level = query.level
        made = {
            tag: str(len(self._children(level, identifier, below)))
            for tag, below in COUNTS[level].items()
            if tag in query.tags
        }
        if level != "Study":
            return made
        if MODALITIES_IN_STUDY in query.tags:
            series = (self._archive.resource("Series", one) for one in self._children(level, identifier, 1))
            made[MODALITIES_IN_STUDY] = _set(one.tags["Modality"] for one in series if "Modality" in one.tags)
        if SOP_CLASSES_IN_STUDY in query.tags:
            instances = self._children(level, identifier, 2)
            made[SOP_CLASSES_IN_STUDY] = _set(self._archive.sop_class(one) for one in instances)
        return made

    def _below(self, level: str, identifier: str, wanted: str) -> Sequence[str]:
        order = tuple(MAIN_TAGS)
        return self._children(level, identifier, order.index(wanted) - order.index(level))

    def _children(self, level: str, identifier: str, below: int) -> Sequence[str]:
        """Ids of what is so many levels below."""
        found, order = [identifier], tuple(MAIN_TAGS)
        for one in order[order.index(level) : order.index(level) + below]:
            found = [child for each in found for child in self._archive.resource(one, each).children]
        return found


def _text(element: Mapping[str, Any] | None) -> str:
    return str(element["Value"]) if element is not None and element["Type"] == "String" else ""


def _item(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An item of a sequence, of which Orthanc tells the values alone."""
    return {
        tag: [_item(one) for one in element["Value"]] if element["Type"] == "Sequence" else _text(element)
        for tag, element in item.items()
    }


def _set(values: Iterator[str]) -> str:
    return "\\".join(sorted(set(values)))
