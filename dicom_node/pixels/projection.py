"""From which side a radiograph was taken: frontal, lateral or oblique, and which attribute tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset

from dicom_node.pixels.ground import first_item, in_capitals, text, texts


class Kind(StrEnum):
    """What an encoder of frontal radiographs needs to know."""

    FRONTAL = "frontal"
    LATERAL = "lateral"
    OBLIQUE = "oblique"


@dataclass(frozen=True, slots=True)
class Projection:
    """What an object says of the side it was taken from."""

    kind: Kind | None
    """None: nothing tells it."""
    position: str | None
    """A term of View Position (0018,5101): PA, AP, LL, RL; else FRONTAL, LATERAL, OBLIQUE."""
    told_by: str
    """The attribute, for people; empty where nothing tells it."""
    against: tuple[str, ...] = ()
    """Attributes that tell another kind; the first of all is believed."""


_WORDS: Mapping[str, Kind] = {
    **dict.fromkeys(("AP", "PA", "FRONTAL", "FRONTALE", "FACE", "FRENTE", "LLD", "RLD"), Kind.FRONTAL),
    **dict.fromkeys(("POSTERO", "ANTERO", "DORSOVENTRAL", "VENTRODORSAL"), Kind.FRONTAL),
    **dict.fromkeys(
        (f"{way}{end}" for way in ("POSTEROANTERIOR", "ANTEROPOSTERIOR") for end in ("", "E")), Kind.FRONTAL
    ),
    **dict.fromkeys(
        ("LL", "RL", "LLO", "RLO", "LATERAL", "LAT", "LLAT", "RLAT", "LATERALE", "LATERAAL", "PROFIL"),
        Kind.LATERAL,
    ),
    **dict.fromkeys(("PERFIL", "PROFILO", "SEITL", "SEITLICH"), Kind.LATERAL),
    **dict.fromkeys(("OBLIQUE", "OBL", "LAO", "RAO", "LPO", "RPO"), Kind.OBLIQUE),
}
"""The defined terms of View Position (PS3.3 C.8.1.1) and what devices and technicians write instead."""
_LYING = ("LLD", "RLD", "DECUB")
"""A decubitus (left, right, "lateral") is a frontal view of a patient who lies on the side, in all languages
that have the word."""
_AND = frozenset({"AND", "UND", "ET", "Y", "E", "OG", "OCH", "+", "&"})
"""What joins views: a description with it names those of the study ("Thorax d.v. und seitlich"), in words of
which we may know the one for lateral only."""
_ACROSS = re.compile(r"\b(A *[-/.]? *P|P *[-/.]? *A)\b")
"""AP and PA, as they are written: P.A., A-P, a/p."""
_TERMS = frozenset({"PA", "AP", "LL", "RL"})

_LATERAL_CODES = "399067008 399352003 399260004 260427002 30730003 R-102CD R-10228 R-10224 R-40783 G-A145"
_OBLIQUE_CODES = (
    "399312000 399160007 399132005 399135007 399184004 399006002 399004004 399182000 399059000 399356000 "
    "399236003 399038007 399325008 R-10208 R-10204 R-10252 R-10220 R-10238 R-10212 R-10246 R-102C1 R-10216 "
    "R-40985 R-10234 R-10210 R-10254"
)
_CODES: Mapping[str, tuple[Kind, str]] = {
    **dict.fromkeys(("399348003", "R-10206"), (Kind.FRONTAL, "AP")),
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), (Kind.FRONTAL, "PA")),
    **dict.fromkeys(("399033003", "R-10202"), (Kind.FRONTAL, "FRONTAL")),
    **dict.fromkeys(("399173006", "R-10236"), (Kind.LATERAL, "LL")),
    **dict.fromkeys(("399198007", "R-10232"), (Kind.LATERAL, "RL")),
    **dict.fromkeys(_LATERAL_CODES.split(), (Kind.LATERAL, "LATERAL")),
    **dict.fromkeys(_OBLIQUE_CODES.split(), (Kind.OBLIQUE, "OBLIQUE")),
}
"""Of CID 4010 DX View (PS3.16), in SNOMED CT and the SNOMED RT of older objects."""
_SCHEMES = frozenset({"SCT", "SRT", "SNM3", "99SDM"})

_DIRECTIONS: Mapping[str, Kind] = {
    "L": Kind.FRONTAL,
    "R": Kind.FRONTAL,
    "A": Kind.LATERAL,
    "P": Kind.LATERAL,
}
"""Where rows or columns point, by the first letter of Patient Orientation (PS3.3 C.7.6.1.1.1): towards a side
of the patient in a frontal view, towards the front or the back in a lateral one."""
_DESCRIPTIONS = ("SeriesDescription", "AcquisitionDeviceProcessingDescription", "ProtocolName")
"""Free text about the one image; what a study is called ("CHEST PA AND LAT") tells nothing of it."""


def projection(header: Dataset) -> Projection:
    """What the object says, the most deliberate attribute first: View Position, View Code Sequence, words
    of its descriptions, then Patient Orientation, which many devices leave at L and F whatever the view."""
    told = list(_told(header))
    if not told:
        return Projection(None, None, "")
    kind, position, name = told[0]
    against = tuple(other for unlike, _, other in told[1:] if unlike is not kind)
    return Projection(kind, position, name, against)


def _told(header: Dataset) -> Iterator[tuple[Kind, str, str]]:
    """Kind, position and attribute, of each attribute that tells them."""
    position = _in_words(text(header, "ViewPosition"))
    if position is not None:
        yield *position, "View Position"
    view = first_item(header, "ViewCodeSequence")
    if view is not None and text(view, "CodingSchemeDesignator") in _SCHEMES:
        code = _CODES.get(text(view, "CodeValue"))
        if code is not None:
            yield *code, "View Code Sequence"
    described = (_in_description(text(header, keyword)) for keyword in _DESCRIPTIONS)
    words = next((found for found in described if found is not None), None)
    if words is not None:
        yield *words, "its description"
    kinds = {_DIRECTIONS[v[0]] for v in texts(header, "PatientOrientation") if v[:1] in _DIRECTIONS}
    if len(kinds) == 1:
        (kind,) = kinds
        yield kind, kind.upper(), "Patient Orientation"


def _in_description(said: str) -> tuple[Kind, str] | None:
    """As `_in_words`, of free text; none but a frontal view where several are named, known to us or not."""
    found = _in_words(said)
    several = not _AND.isdisjoint(re.findall(r"\w+|[+&]", in_capitals(said)))
    return None if several and found is not None and found[0] is not Kind.FRONTAL else found


def _in_words(said: str) -> tuple[Kind, str] | None:
    """Kind and position by the words of a text; None where they tell none, or both frontal and lateral."""
    joined = _ACROSS.sub(lambda across: re.sub(r"\W", "", across[0]), in_capitals(said))
    plain = "".join(c if c.isalnum() else " " for c in joined.replace(".", "")).split()
    if any(word.startswith(_LYING) for word in plain):
        return Kind.FRONTAL, Kind.FRONTAL.upper()
    words = [word for word in plain if word in _WORDS]
    kinds = {_WORDS[word] for word in words}
    if not kinds or kinds >= {Kind.FRONTAL, Kind.LATERAL}:
        return None
    # "AP oblique" is an oblique view; "left lateral oblique" is called a lateral one.
    kind = next(kind for kind in (Kind.LATERAL, Kind.OBLIQUE, Kind.FRONTAL) if kind in kinds)
    term = next((word for word in words if word in _TERMS and _WORDS[word] is kind), kind.upper())
    return kind, term
