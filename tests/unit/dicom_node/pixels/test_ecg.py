from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pydicom.waveforms import multiplex_array

from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.select import read_study
from dicom_node.records import Sample, StudyRead
from tests.support.pixel_objects import MDC, SAMPLES, big_endian, channel, ecg, encoder, group, leads, save

CODES = [(value, "MDC") for value in MDC]
SCP = [(f"5.6.3-9-{value.split(':')[1]}", "SCPECG") for value in MDC]


def run(folder: Path, ds: Dataset, seconds: float = 10) -> StudyRead:
    return read_study([save(ds, folder)], {"ecg": encoder("ecg", seconds=seconds)})


def sample(folder: Path, ds: Dataset) -> Sample:
    read = run(folder, ds)
    assert read.skipped == ()
    return read.views[0].samples[0]


def refused(folder: Path, ds: Dataset) -> str:
    read = run(folder, ds)
    assert read.views == ()
    return read.skipped[0].reason


def all_leads(signal: np.ndarray | None = None, **options: float) -> Dataset:
    signal = leads() if signal is None else signal
    return group(signal, [channel(code) for code in CODES], **options)


def test_the_sample_study_equals_pydicom() -> None:
    path = SAMPLES / "ecg" / "resting-12-lead.dcm"
    read = read_study([read_instance(path)], {"ecg": encoder("ecg", seconds=10)})
    (one,) = read.views[0].samples
    microvolt = multiplex_array(dcmread(path), 0, as_raw=False)
    np.testing.assert_allclose(one.values, microvolt.T / 1000, atol=1e-6)
    assert one.span == (0.0, 10.0)
    assert one.box is None
    np.testing.assert_allclose(one.values[2], one.values[1] - one.values[0], atol=0.002)


def test_leads_in_any_order(tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(12)
    ds = ecg(group(leads()[:, order], [channel(CODES[i]) for i in order]))
    np.testing.assert_allclose(sample(tmp_path, ds).values, leads().T / 1000, atol=1e-6)


def test_codes_of_scp_ecg(tmp_path: Path) -> None:
    ds = ecg(group(leads(), [channel(code) for code in SCP]))
    np.testing.assert_allclose(sample(tmp_path, ds).values, leads().T / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("unit", "sensitivity"), [("uV", 2.5), ("mV", 0.0025), ("V", 0.0000025), ("nV", 2500)]
)
def test_sensitivity_and_units(tmp_path: Path, unit: str, sensitivity: float) -> None:
    channels = [channel(code, unit, sensitivity) for code in CODES]
    for one in channels:
        one.ChannelSensitivityCorrectionFactor = 2
        one.ChannelBaseline = 3 * sensitivity
    values = sample(tmp_path, ecg(group(leads(), channels))).values
    np.testing.assert_allclose(values, (leads().T * 5.0 + 7.5) / 1000, atol=1e-5)


def test_eight_leads_hold_twelve(tmp_path: Path) -> None:
    keep = [0, 1, *range(6, 12)]
    ds = ecg(group(leads()[:, keep], [channel(CODES[i]) for i in keep]))
    read = run(tmp_path, ds)
    np.testing.assert_allclose(read.views[0].samples[0].values, leads().T / 1000, atol=0.002)
    assert read.views[0].notes == ("Derived from I and II: III, aVR, aVL, aVF.",)


@pytest.mark.parametrize("lost", [0, 1, 6, 11])
def test_a_missing_lead_is_refused(tmp_path: Path, lost: int) -> None:
    keep = [i for i in range(12) if i != lost]
    ds = ecg(group(leads()[:, keep], [channel(CODES[i]) for i in keep]))
    read = run(tmp_path, ds)
    assert read.skipped[0].reason == "missing-leads"
    assert ("I", "II", "V1", "V6")[[0, 1, 6, 11].index(lost)] in read.skipped[0].message


def test_labels_where_codes_are_private_and_that_is_told(tmp_path: Path) -> None:
    names = ["I", "II", "III", "AVR", "aVL", "aVF", "V1", "v2", "Lead V3", "V4", "V5", "V6"]
    channels = [channel((f"X{i}", "99ACME")) for i in range(12)]
    for one, name in zip(channels, names, strict=True):
        one.ChannelLabel = name
    read = run(tmp_path, ecg(group(leads(), channels)))
    np.testing.assert_allclose(read.views[0].samples[0].values, leads().T / 1000, atol=1e-6)
    assert "labels" in read.views[0].notes[0]


def test_the_rhythm_is_chosen_not_the_median_beat(tmp_path: Path) -> None:
    median = all_leads(leads(1.2))
    long_but_derived = all_leads(leads(20))
    long_but_derived.WaveformOriginality = "DERIVED"
    assert sample(tmp_path, ecg(median, long_but_derived, all_leads())).span == (0.0, 10.0)


def test_a_median_beat_alone_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, ecg(all_leads(leads(1.2)))) == "too-short"


def test_a_long_recording_becomes_several_samples(tmp_path: Path) -> None:
    (view,) = run(tmp_path, ecg(all_leads(leads(30)))).views
    assert [s.span for s in view.samples] == [(0, 10), (10, 20), (20, 30)]
    assert (view.duration, view.notes) == (30.0, ())
    np.testing.assert_allclose(view.samples[1].values, leads(30)[5000:10000].T / 1000, atol=1e-6)
    (view,) = run(tmp_path, ecg(all_leads(leads(300)))).views
    assert len(view.samples) == 6
    assert "6 of 30" in view.notes[0]


@pytest.mark.parametrize("seconds", [12, 19.5, 35])
def test_the_end_of_a_recording_is_read_too(tmp_path: Path, seconds: float) -> None:
    signal = leads(seconds)
    (view,) = run(tmp_path, ecg(all_leads(signal))).views
    spans = [s.span for s in view.samples]
    assert spans[:-1] == [(10 * i, 10 * i + 10) for i in range(int(seconds // 10))]
    assert spans[-1] == (seconds - 10, seconds)
    np.testing.assert_allclose(view.samples[-1].values, signal[-5000:].T / 1000, atol=1e-6)
    assert view.notes == ()


def test_an_end_too_short_for_a_rhythm_is_told(tmp_path: Path) -> None:
    (view,) = run(tmp_path, ecg(all_leads(leads(11.5)))).views
    assert [s.span for s in view.samples] == [(0, 10)]
    assert view.notes == ("The last 1.5 s were not read: too short to show a rhythm.",)


def test_what_is_added_to_a_short_recording_is_told(tmp_path: Path) -> None:
    prepared = encoder("ecg", {"op": "fit_length", "seconds": 10}, seconds=10)
    (view,) = read_study([save(ecg(all_leads(leads(7.25))), tmp_path)], {"ecg": prepared}).views
    assert view.samples[0].span == (0.0, 10.0)
    assert view.duration == 7.25
    assert view.notes == ("The recording lasts 7.25 s; zeros were added up to 10 s.",)


def test_operations_know_the_rate(tmp_path: Path) -> None:
    prepared = encoder(
        "ecg", {"op": "resample", "rate": 100}, {"op": "fit_length", "seconds": 10}, seconds=10
    )
    (view,) = read_study(
        [save(ecg(all_leads(leads(10, 1000), rate=1000)), tmp_path)], {"ecg": prepared}
    ).views
    assert view.samples[0].values.shape == (12, 1000)
    assert view.samples[0].span == (0.0, 10.0)


def test_padding_becomes_zero_and_is_told(tmp_path: Path) -> None:
    signal = leads()
    signal[100:200, 7] = -32768
    one = all_leads(signal)
    one.WaveformPaddingValue = np.array([-32768], dtype="<i2").tobytes()
    one["WaveformPaddingValue"].VR = "OW"
    (view,) = run(tmp_path, ecg(one)).views
    assert not view.samples[0].values[7, 100:200].any()
    assert "Padding" in view.notes[0]
    signal[:3000, 7] = -32768
    one.WaveformData = signal.tobytes()
    assert refused(tmp_path, ecg(one)) == "missing-leads"


def test_other_encodings(tmp_path: Path) -> None:
    wanted = leads().T / 1000
    for ds in (ecg(all_leads(), syntax=ImplicitVRLittleEndian), big_endian(ecg(all_leads()))):
        np.testing.assert_allclose(sample(tmp_path, ds).values, wanted, atol=1e-6)


def test_unsigned_and_wide_samples(tmp_path: Path) -> None:
    wide = all_leads()
    wide.WaveformData = leads().astype("<i4").tobytes()
    wide.WaveformBitsAllocated, wide.WaveformSampleInterpretation = 32, "SL"
    np.testing.assert_allclose(sample(tmp_path, ecg(wide)).values, leads().T / 1000, atol=1e-6)
    unsigned = all_leads()
    unsigned.WaveformData = (leads().astype("<i4") + 32768).astype("<u2").tobytes()
    unsigned.WaveformSampleInterpretation = "US"
    for one in unsigned.ChannelDefinitionSequence:
        one.ChannelBaseline = -32768
    np.testing.assert_allclose(sample(tmp_path, ecg(unsigned)).values, leads().T / 1000, atol=1e-6)


def test_what_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, ecg()) == "no-waveform"
    short = all_leads()
    short.WaveformData = short.WaveformData[:-2]
    assert refused(tmp_path, ecg(short)) == "broken-waveform"
    lying = all_leads()
    lying.NumberOfWaveformChannels = 11
    assert refused(tmp_path, ecg(lying)) == "broken-waveform"
    pressure = group(leads(), [channel(code, "mm[Hg]") for code in CODES])
    assert refused(tmp_path, ecg(pressure)) == "not-voltage"
    unknown = all_leads()
    del unknown.ChannelDefinitionSequence[3].ChannelSensitivity
    assert refused(tmp_path, ecg(unknown)) == "missing-sensitivity"
    slow = all_leads(rate=1)
    assert refused(tmp_path, ecg(slow)) == "bad-rate"
    speech = all_leads()
    speech.WaveformSampleInterpretation = "MB"
    assert refused(tmp_path, ecg(speech)) == "sample-interpretation"
    absurd = all_leads()
    absurd.NumberOfWaveformSamples = 4_000_000_000
    assert refused(tmp_path, ecg(absurd)) == "absurd-size"
