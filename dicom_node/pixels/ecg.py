"""Twelve-lead ECG waveforms: millivolt, leads in one order, at the recording's own rate (PS3.3 C.10.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian

from dicom_node.errors import InputError, UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.ground import (
    Loaded,
    Task,
    count,
    evenly,
    first_item,
    items,
    number,
    read_each,
    text,
    value,
)
from dicom_node.pixels.ops import Patch
from dicom_node.pixels.recording import Multiplex, multiplex_groups, opened, read_part
from dicom_node.records import StudyRead, View

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
MEASURED = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The others follow from I and II: eight leads hold all that a 12-lead ECG measures."""

# Reference numbers of the leads: CID 3001 writes them as MDC 2:n, older objects as SCPECG 5.6.3-9-n.
_NUMBERS = {
    1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6",
    61: "III", 62: "aVR", 63: "aVL", 64: "aVF",
}  # fmt: skip
_CODES: Mapping[tuple[str, str], str] = {
    **{("MDC", f"2:{n}"): lead for n, lead in _NUMBERS.items()},
    **{("SCPECG", f"5.6.3-9-{n}"): lead for n, lead in _NUMBERS.items()},
}
_LABELS = {lead.upper(): lead for lead in LEADS} | {f"LEAD {lead.upper()}": lead for lead in LEADS}
_MILLIVOLT = {"nV": 1e-6, "uV": 1e-3, "mV": 1.0, "V": 1e3}
"""UCUM units."""
_TYPES = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}
"""Waveform Sample Interpretation (5400,1006); MB and AB are companded and not for ECG."""

MIN_SECONDS = 2.0
"""Shorter is a median beat or a fragment, no rhythm."""
RATES = (50.0, 50_000.0)
"""Hz; nothing else is an ECG."""
MAX_BYTES = 1 << 32
"""Of Waveform Data: an attribute of 32-bit length holds no more (PS3.5 7.1.2)."""
MAX_WINDOWS = 6
MAX_PADDING = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """One multiplex group with what is needed to choose among several."""

    multiplex: Multiplex
    channels: Mapping[str, int]
    """Channel index by lead; the first where a lead comes twice."""
    by_label: bool
    """Whether a lead was told from its label only."""
    rate: float
    samples: int
    original: bool

    @property
    def item(self) -> Dataset:
        """What describes it."""
        return self.multiplex.item


def read(objects: Sequence[Loaded], task: Task) -> StudyRead:
    """One view per recording, (12, T) float32 mV before the bundle's operations.

    A recording longer than `sampling.seconds` becomes several samples of that length, evenly spaced, at most
    six; the last one ends with the recording, and so overlaps the one before. Missing limb leads are derived
    from I and II; without I, II or a chest lead the recording is refused (`missing-leads`), and a part in
    which one of them is padding is left out. Of a recording of days no more is read than those parts.
    """
    seconds = task.parameter("seconds")
    return read_each(objects, lambda loaded: [_read_one(loaded, task, seconds)])


def _read_one(loaded: Loaded, task: Task, seconds: float) -> View:
    with opened(loaded) as file:
        group = _choose(multiplex_groups(loaded, file))
        length, duration = round(seconds * group.rate), group.samples / group.rate
        starts, unread = _starts(group, length)
        scale = _Scale.of(loaded, group)
        notes, samples, lost = scale.notes(), [], []
        for index in evenly(len(starts), MAX_WINDOWS):
            first, last = starts[index], min(starts[index] + length, group.samples)
            stored = read_part(file, group.multiplex, scale.kind, scale.channels, first, last)
            try:
                signal, told = scale.millivolts(stored)
            except InputError as error:
                lost.append(error)
                continue
            notes += told
            span = (first / group.rate, last / group.rate)
            samples.append(task.sample(Patch(signal, rate=group.rate, span=span), loaded.source))
    if not samples:
        raise lost[0]
    notes = list(dict.fromkeys(notes))
    if len(starts) > MAX_WINDOWS:
        notes.append(f"{MAX_WINDOWS} of {len(starts)} parts of {seconds:g} s were read, evenly spaced.")
    if lost:
        notes.append(f"{len(lost)} of the parts were left out: a lead is missing there (padding).")
    if unread:
        notes.append(f"The last {unread / group.rate:.3g} s were not read: too short to show a rhythm.")
    end = max(sample.span[1] for sample in samples if sample.span is not None)
    if end > duration + 0.5 / group.rate:
        notes.append(f"The recording lasts {duration:.4g} s; zeros were added up to {end:.4g} s.")
    return View(
        modality=task.modality,
        series_uid=loaded.instance.series_uid,
        samples=tuple(samples),
        sources=(loaded.source,),
        notes=tuple(notes),
        duration=duration,
    )


def _starts(group: _Group, length: int) -> tuple[list[int], int]:
    """Where parts of `length` begin, all in samples, and how many samples at the end are in none of them."""
    starts = list(range(0, max(group.samples - length, 0) + 1, length))
    rest = max(group.samples - starts[-1] - length, 0)
    if rest / group.rate < MIN_SECONDS:
        return starts, rest
    return [*starts, group.samples - length], 0


def _choose(found: Sequence[Multiplex]) -> _Group:
    """The original group with all leads that lasts longest; else a derived one.

    Raises UnreadableObjectError (`no-waveform`, `missing-leads`, `too-short`), or what is wrong with the
    first group where none is usable.
    """
    if not found:
        raise UnreadableObjectError("no-waveform", "It has no Waveform Sequence.")
    groups: list[_Group] = []
    faults: list[InputError] = []
    for multiplex in found:
        try:
            groups.append(_describe(multiplex))
        except InputError as error:
            faults.append(error)
    if not groups:
        raise faults[0]
    full = [g for g in groups if all(lead in g.channels for lead in MEASURED)]
    if not full:
        best = max(groups, key=lambda g: len(g.channels))
        missing = ", ".join(lead for lead in MEASURED if lead not in best.channels)
        raise UnreadableObjectError(
            "missing-leads",
            f"No multiplex group holds all leads of a 12-lead ECG; the fullest lacks {missing}.",
        )
    long = [g for g in full if g.samples / g.rate >= MIN_SECONDS]
    if not long:
        raise UnreadableObjectError(
            "too-short", f"The recording is shorter than {MIN_SECONDS:g} s: a median beat is no rhythm."
        )
    return max(long, key=lambda g: (g.original, g.samples / g.rate))


def _describe(multiplex: Multiplex) -> _Group:
    item = multiplex.item
    rate = number(item, "SamplingFrequency")
    if rate is None or not RATES[0] <= rate <= RATES[1]:
        raise UnreadableObjectError("bad-rate", "Its sampling frequency is missing or not that of an ECG.")
    definitions = items(item, "ChannelDefinitionSequence")
    channel_count, samples = count(item, "NumberOfWaveformChannels"), count(item, "NumberOfWaveformSamples")
    if channel_count * samples > MAX_BYTES:
        raise UnreadableObjectError(
            "absurd-size", f"It claims {channel_count} channels of {samples} samples."
        )
    if len(definitions) != channel_count:
        raise UnreadableObjectError(
            "broken-waveform", f"It describes {len(definitions)} channels, but says it has {channel_count}."
        )
    channels: dict[str, int] = {}
    by_label = False
    for index, definition in enumerate(definitions):
        lead, labelled = _lead(definition)
        if lead is not None and lead not in channels:
            channels[lead] = index
            by_label |= labelled
    original = text(item, "WaveformOriginality") != "DERIVED"
    return _Group(multiplex, channels, by_label, rate, samples, original)


def _lead(definition: Dataset) -> tuple[str | None, bool]:
    """The lead of a channel by its code, else by its label or code meaning; and whether it was the latter."""
    source = first_item(definition, "ChannelSourceSequence")
    if source is not None:
        lead = _CODES.get((text(source, "CodingSchemeDesignator"), text(source, "CodeValue")))
        if lead is not None:
            return lead, False
    for label in (
        text(definition, "ChannelLabel"),
        text(source, "CodeMeaning") if source is not None else "",
    ):
        lead = _LABELS.get(" ".join(label.upper().split()))
        if lead is not None:
            return lead, True
    return None, False


@dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """What makes millivolts of the samples of a group."""

    group: _Group
    kind: np.dtype[np.signedinteger]
    channels: int
    gains: Mapping[str, tuple[float, float]]
    """Gain and offset in mV, by lead."""
    padding: int | None

    @classmethod
    def of(cls, loaded: Loaded, group: _Group) -> _Scale:
        """Raises InputError where the samples cannot be understood, or are fewer than is said."""
        word = _TYPES.get(text(group.item, "WaveformSampleInterpretation"))
        if group.multiplex.data_at is None:
            raise UnreadableObjectError("no-waveform", "Its multiplex group holds no Waveform Data.")
        if word is None or number(group.item, "WaveformBitsAllocated") != 8 * int(word[1]):
            raise UnsupportedObjectError(
                "sample-interpretation", "Its samples are not plain integers of 8, 16 or 32 bits."
            )
        order = ">" if loaded.instance.transfer_syntax_uid == ExplicitVRBigEndian else "<"
        definitions = items(group.item, "ChannelDefinitionSequence")
        if group.multiplex.data_length < group.samples * len(definitions) * int(word[1]):
            raise UnreadableObjectError("broken-waveform", "Its waveform data are shorter than it says.")
        gains = {lead: _gain(definitions[index]) for lead, index in group.channels.items()}
        kind = np.dtype(order + word)
        return cls(group, kind, len(definitions), gains, _padding(group, kind))

    def notes(self) -> list[str]:
        """What was assumed, whatever the samples."""
        notes: list[str] = []
        if self.group.by_label:
            notes.append("Leads were told from their labels: their codes are not those of PS3.16 CID 3001.")
        derived = [lead for lead in LEADS if lead not in self.gains]
        if derived:
            notes.append(f"Derived from I and II: {', '.join(derived)}.")
        return notes

    def millivolts(self, stored: NDArray[np.signedinteger]) -> tuple[NDArray[np.float32], list[str]]:
        """(T, channels) as stored to (12, T) in mV, and what was assumed.

        Raises UnreadableObjectError (`missing-leads`).
        """
        notes: list[str] = []
        signal: dict[str, NDArray[np.float32]] = {}
        for lead, (gain, offset) in self.gains.items():
            column = stored[:, self.group.channels[lead]]
            values = (column * gain + offset).astype(np.float32)
            if self.padding is not None:
                lost = column == self.padding
                if lost.mean() > MAX_PADDING:
                    raise UnreadableObjectError("missing-leads", f"More than half of lead {lead} is padding.")
                values[lost] = 0.0
                if lost.any():
                    notes.append("Padding in the recording was set to zero.")
            signal[lead] = values
        one, two = signal["I"], signal["II"]
        # Einthoven's law and the definition of Goldberger's leads.
        limbs = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
        return np.stack([signal[lead] if lead in signal else limbs[lead] for lead in LEADS]), notes


def _padding(group: _Group, kind: np.dtype[np.signedinteger]) -> int | None:
    """Waveform Padding Value (5400,100A), None where not told."""
    found = value(group.item, "WaveformPaddingValue")
    if isinstance(found, bytes) and len(found) >= kind.itemsize:
        return int(np.frombuffer(found, dtype=kind, count=1)[0])
    return None


def _gain(definition: Dataset) -> tuple[float, float]:
    """Samples x sensitivity x correction factor + baseline (PS3.3 C.10.9.1.4.2): factor and summand in mV."""
    sensitivity = number(definition, "ChannelSensitivity")
    unit = first_item(definition, "ChannelSensitivityUnitsSequence")
    if sensitivity is None or unit is None:
        raise UnreadableObjectError(
            "missing-sensitivity", "A channel has no sensitivity or no unit: its amplitude is not known."
        )
    factor = _MILLIVOLT.get(text(unit, "CodeValue"))
    if factor is None:
        raise UnsupportedObjectError("not-voltage", "A channel is not in a unit of voltage.")
    correction = number(definition, "ChannelSensitivityCorrectionFactor")
    baseline = number(definition, "ChannelBaseline") or 0.0
    return sensitivity * (1.0 if correction is None else correction) * factor, baseline * factor
