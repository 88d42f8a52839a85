"""One measurement group for each finding: TID 1501 (part16/sect_TID_1501.html), whatever its evidence.

    outlines         NUM, inferred from each SCOORD (TID 300, TID 320); the images in the group (row 10b)
    span of an ECG   NUM, inferred from a TCOORD (TID 300, TID 321); the WAVEFORM in the group (row 10f)
    none             the sources as IMAGE or WAVEFORM (rows 10b, 10f)

TID 1410 Planar ROI would hold a single outline too, but a report with groups of both templates (a finding
with a region beside one without) is taken by PixelMed for one of TID 1410 groups only, and each group without
a region for an error; viewers look for the SCOORD under the NUM in any case.

Whether a finding is there is said twice in codes, and once in words, so that no reader takes an absent
finding for a present one: the Finding itself is modified by TID 1350 (`Presence of property`), the group
has the qualitative evaluation `Presence`, and the tracking identifier spells it out, where what the codes
call absent is "not detected". All three come from `Finding.presence`. PixelMed, whose tables are older than
both rows, warns of "Content Item not in template" for them, which is no error: the template is extensible.
A group without a Finding for what is absent was the alternative; it would leave readers that look for the
Finding with a number and no name.

What viewers are particular about (the tracking identifier, where the SCOORD stands) is decided in
`tracking_identifier` and `finding_group`, nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContentItem,
    ContentSequence,
    FindingSite,
    GraphicTypeValues,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    PixelOriginInterpretationValues,
    QualitativeEvaluation,
    RelationshipTypeValues,
    ScoordContentItem,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TcoordContentItem,
    TemporalRangeTypeValues,
    TrackingIdentifier,
    WaveformContentItem,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    AmbulatoryECGWaveformStorage,
    GeneralECGWaveformStorage,
    TwelveLeadECGWaveformStorage,
)

from dicom_node.errors import ReportError
from dicom_node.records import Assessment, Code, Evidence, Finding, SourceRef
from dicom_node.report import codes
from dicom_node.report.concepts import concept
from dicom_node.report.context import tracking_uid
from dicom_node.report.headers import specimen_site
from dicom_node.report.regions import closed_polygon, image_size, is_tiled

INFERRED_FROM = RelationshipTypeValues.INFERRED_FROM
CONTAINS = RelationshipTypeValues.CONTAINS

WAVEFORMS = frozenset(
    {
        str(TwelveLeadECGWaveformStorage),
        str(GeneralECGWaveformStorage),
        str(AmbulatoryECGWaveformStorage),
        "1.2.840.10008.5.1.4.1.1.9.1.4",  # General 32-bit ECG Waveform Storage
    }
)
"""SOP classes that are referenced as WAVEFORM, not as IMAGE (PS3.3 C.17.3.2)."""

MAX_SOURCES = 64
"""Instances that a group without evidence lists. Beyond, only the evidence sequence of the document does:
a whole series under each of its findings would bury the report (TID 1501 row 10b is optional)."""

MAX_FRAMES = 64
"""Frames that a reference lists; beyond, it holds for the whole object."""


@dataclass(frozen=True, slots=True)
class _Region:
    """An outline that can be drawn."""

    source: SourceRef
    polygon: NDArray[np.float64]
    """(V + 1, 2), closed, (column, row)."""
    header: Dataset


def tracking_identifier(finding: Finding) -> str:
    """What lists and labels of viewers show for a group (TID 4108 row 1)."""
    side = codes.SIDE_WORDS.get(finding.laterality or "")
    name = finding.name if side is None else f"{finding.name} ({side})"
    return f"{name}: {codes.PRESENCE_WORDS[finding.presence]}"


def finding_group(
    finding: Finding,
    assessment: Assessment,
    by_uid: Mapping[str, Dataset],
    report_uid: str,
    algorithm: AlgorithmIdentification,
) -> ContentItem:
    """TID 1501 of one finding; `by_uid` holds the source headers by SOP Instance UID.

    Raises ReportError when the finding names a view or an evidence source that was not given.
    """
    sources = _sources(finding, assessment)
    inferred: list[ContentItem] = [_tcoord(e) for e in finding.evidence if e.span is not None]
    inferred.extend(_scoord(region) for region in _regions(finding, by_uid))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=tracking_uid(report_uid, finding), identifier=tracking_identifier(finding)
        ),
        finding_type=concept(finding.code),
        finding_sites=_sites(finding, sources, by_uid),
        algorithm_id=algorithm,
        measurements=[_probability(finding, inferred)],
        qualitative_evaluations=[
            QualitativeEvaluation(concept(codes.PRESENCE), concept(codes.PRESENCE_VALUES[finding.presence]))
        ],
    )[0]
    group.ContentSequence.extend(_references(sources, by_uid))
    _modify_finding(group, finding)
    return cast(ContentItem, group)


def _modify_finding(group: Dataset, finding: Finding) -> None:
    """TID 1350 Negation Modifier, Presence of Finding, under the Finding (row 3b)."""
    for item in group.ContentSequence.find(concept(codes.FINDING)):
        item.ContentSequence = ContentSequence(
            [
                CodeContentItem(
                    name=concept(codes.PRESENCE_OF_PROPERTY),
                    value=concept(codes.PRESENCE_VALUES[finding.presence]),
                    relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
                )
            ]
        )


def _sources(finding: Finding, assessment: Assessment) -> list[SourceRef]:
    """Where the finding was judged: its evidence, else the instances of its view (none beyond `MAX_SOURCES`).
    One reference for each instance, its frames gathered by `_frames`."""
    if not 0 <= finding.view < len(assessment.views):
        raise ReportError(f"Finding {finding.id} names view {finding.view} of {len(assessment.views)}")
    told = [e.source for e in finding.evidence] or list(assessment.views[finding.view].sources)
    if not finding.evidence and len({s.sop_instance_uid for s in told}) > MAX_SOURCES:
        return []
    return list(dict.fromkeys(told))


def _regions(finding: Finding, by_uid: Mapping[str, Dataset]) -> list[_Region]:
    """The outlines of the evidence that enclose something inside their image, the largest share first."""
    regions = []
    for evidence in sorted(finding.evidence, key=lambda e: -e.share):
        header = _header(finding, evidence, by_uid)
        if evidence.outline is not None:
            polygon = closed_polygon(evidence.outline, image_size(header))
            if polygon is not None:
                regions.append(_Region(evidence.source, polygon, header))
    return regions


def _header(finding: Finding, evidence: Evidence, by_uid: Mapping[str, Dataset]) -> Dataset:
    header = by_uid.get(evidence.source.sop_instance_uid)
    if header is None:
        raise ReportError(f"The header of the evidence of finding {finding.id} was not given to the report")
    return header


def _sites(
    finding: Finding, sources: Sequence[SourceRef], by_uid: Mapping[str, Dataset]
) -> list[FindingSite]:
    """Rows 6 and 7: the site by the table of `codes`, for a slide by its specimen; with laterality (CID 244).
    Empty where neither knows."""
    site = codes.SITES.get(finding.modality) or _specimen_site(sources, by_uid)
    if site is None:
        return []
    laterality = codes.LATERALITIES.get(finding.laterality or "")
    return [FindingSite(concept(site), laterality=None if laterality is None else concept(laterality))]


def _specimen_site(sources: Sequence[SourceRef], by_uid: Mapping[str, Dataset]) -> Code | None:
    sites = {specimen_site(by_uid[s.sop_instance_uid]) for s in sources if s.sop_instance_uid in by_uid}
    return sites.pop() if len(sites) == 1 else None


def _probability(finding: Finding, inferred_from: Sequence[ContentItem]) -> Measurement:
    """TID 300 (part16/sect_TID_300.html): NUM in percent, 1/100 exact."""
    if not 0 <= finding.probability <= 1:
        raise ReportError(f"Finding {finding.id} has probability {finding.probability}, which is not 0 to 1")
    measurement = Measurement(
        name=concept(codes.PROBABILITY),
        value=round(100 * finding.probability, 2),
        unit=concept(codes.PERCENT),
    )
    if inferred_from:
        measurement[0].ContentSequence = ContentSequence(inferred_from)
    return measurement


def _pixel_origin(region: _Region) -> PixelOriginInterpretationValues | None:
    """Pixel Origin Interpretation (0048,0301), PS3.3 C.18.6.1.3: outlines on tiled images are told in the
    total pixel matrix, so it is VOLUME, and no frame is named: a region may span several tiles. Elsewhere the
    attribute does not apply and coordinates count from the corner of the image, or of the frame named."""
    return PixelOriginInterpretationValues.VOLUME if is_tiled(region.header) else None


def _source_of_region(region: _Region) -> SourceImageForRegion:
    """TID 320 row 4: the image, with the frame where there are several and they are not tiles."""
    frames = None if is_tiled(region.header) else _frames([region.source], region.header)
    return SourceImageForRegion(region.source.sop_class_uid, region.source.sop_instance_uid, frames)


def _scoord(region: _Region) -> ScoordContentItem:
    """TID 320 (part16/sect_TID_320.html) rows 3 and 4."""
    item = ScoordContentItem(
        name=concept(codes.SOURCE_OF_MEASUREMENT),
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=region.polygon,
        pixel_origin_interpretation=_pixel_origin(region),
        relationship_type=INFERRED_FROM,
    )
    item.ContentSequence = ContentSequence([_source_of_region(region)])
    return item


def _tcoord(evidence: Evidence) -> TcoordContentItem:
    """TID 321 (part16/sect_TID_321.html) rows 3, 4: a segment in seconds after the start (PS3.3 C.18.7)."""
    item = TcoordContentItem(
        name=concept(codes.SOURCE_OF_MEASUREMENT),
        temporal_range_type=TemporalRangeTypeValues.SEGMENT,
        referenced_time_offsets=[round(seconds, 3) for seconds in evidence.span or ()],
        relationship_type=INFERRED_FROM,
    )
    item.ContentSequence = ContentSequence([_waveform(evidence.source, RelationshipTypeValues.SELECTED_FROM)])
    return item


def _waveform(source: SourceRef, relationship: RelationshipTypeValues) -> WaveformContentItem:
    """All channels of a recording: the encoder reads the twelve leads as one."""
    return WaveformContentItem(
        name=concept(codes.SOURCE_OF_MEASUREMENT),
        referenced_sop_class_uid=source.sop_class_uid,
        referenced_sop_instance_uid=source.sop_instance_uid,
        relationship_type=relationship,
    )


def _references(sources: Sequence[SourceRef], by_uid: Mapping[str, Dataset]) -> list[ContentItem]:
    """TID 1501 rows 10b and 10f: one IMAGE or WAVEFORM for each instance."""
    by_instance: dict[str, list[SourceRef]] = {}
    for source in sources:
        by_instance.setdefault(source.sop_instance_uid, []).append(source)
    items: list[ContentItem] = []
    for uid, references in by_instance.items():
        first = references[0]
        if first.sop_class_uid in WAVEFORMS:
            items.append(_waveform(first, CONTAINS))
        else:
            frames = _frames(references, by_uid.get(uid))
            items.append(SourceImageForMeasurementGroup(first.sop_class_uid, uid, frames))
    return items


def _frames(references: Sequence[SourceRef], header: Dataset | None) -> list[int] | None:
    """Referenced Frame Number (PS3.3 C.17.3.2 with 10.3): only of objects that have several frames, and only
    where the reference does not hold for all of them."""
    frames = sorted({source.frame for source in references if source.frame is not None})
    count = None if header is None else int(header.get("NumberOfFrames") or 1)
    if not frames or len(frames) > MAX_FRAMES or any(source.frame is None for source in references):
        return None
    return None if count == 1 or len(frames) == count else frames
