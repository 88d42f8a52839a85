"""Of a recording of a day only the parts that are judged are read, however its sequences are written."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    AmbulatoryECGWaveformStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.pixels.ecg import MEASURED
from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.recording import load_recording, multiplex_groups, opened
from dicom_node.pixels.select import read_study
from dicom_node.records import Instance, StudyRead
from tests.support.pixel_objects import MDC, big_endian, channel, ecg, encoder, group, leads, save

CODES = [(value, "MDC") for value in MDC]
EIGHT = [0, 1, *range(6, 12)]
RATE = 500
DAY = 24 * 3600


def holter(seconds: float, *, eight: bool = False) -> Dataset:
    keep = EIGHT if eight else list(range(12))
    ds = ecg(group(leads(seconds)[:, keep], [channel(CODES[i]) for i in keep], rate=RATE))
    ds.SOPClassUID = AmbulatoryECGWaveformStorage
    return ds


def read(instance: Instance) -> StudyRead:
    return read_study([instance], {"ecg": encoder("ecg", seconds=10)})


def of_a_day(folder: Path, *, undefined: bool) -> Instance:
    """Eight leads of a day: 691 MB, of which the file system holds only what is not zero."""
    ds = holter(0.002, eight=True)
    (item,) = ds.WaveformSequence
    item.NumberOfWaveformSamples = DAY * RATE
    ds["WaveformSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    path = save(ds, folder).path
    content = path.read_bytes()
    data = bytes(item.WaveformData)
    at = content.rindex(data)
    grown = DAY * RATE * 8 * 2
    lengths = {at - 4: grown}
    if not undefined:
        extra = grown - len(data)
        sequence = content.rindex(b"\x00\x54\x00\x01SQ")
        lengths |= {
            place: int.from_bytes(content[place : place + 4], "little") + extra
            for place in (sequence + 8, sequence + 16)
        }
    out = bytearray(content)
    for place, length in lengths.items():
        out[place : place + 4] = length.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(out[:at])
        for start in (0, DAY // 2):  # the beginning, and what stands for the rest
            file.seek(at + start * RATE * 16)
            file.write(leads(60)[:, EIGHT].tobytes())
        file.seek(at + grown)
        file.write(out[at + len(data) :])
        file.truncate()
    return replace(save(holter(1), folder), path=path, size=path.stat().st_size)  # no digest of all that


@pytest.mark.parametrize("undefined", [False, True])
def test_a_day_is_read_in_little_memory(tmp_path: Path, undefined: bool) -> None:
    instance = of_a_day(tmp_path, undefined=undefined)
    assert instance.size > 690_000_000
    tracemalloc.start()
    done = read(instance)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.skipped == ()
    (view,) = done.views
    assert peak < 50_000_000
    assert view.duration == DAY
    assert len(view.samples) == 6
    spans = [sample.span for sample in view.samples]
    assert spans[0] == (7200, 7210)
    assert "6 of 8640 parts" in "".join(view.notes)


def test_parts_are_those_of_the_whole(tmp_path: Path) -> None:
    seconds = 90
    (view,) = read(save(holter(seconds), tmp_path)).views
    signal = leads(seconds).T / 1000
    assert len(view.samples) == 6
    for sample in view.samples:
        assert sample.span is not None
        first, last = (round(at * RATE) for at in sample.span)
        np.testing.assert_allclose(sample.values, signal[:, first:last], atol=1e-6)


def test_a_part_whose_lead_is_off_is_left_out_and_told(tmp_path: Path) -> None:
    ds = holter(30)
    (item,) = ds.WaveformSequence
    signal = leads(30)
    signal[10 * RATE : 20 * RATE, 6] = -32768
    item.WaveformData = signal.tobytes()
    item.WaveformPaddingValue = np.array([-32768], dtype="<i2").tobytes()
    item["WaveformPaddingValue"].VR = "OW"
    (view,) = read(save(ds, tmp_path)).views
    assert [sample.span for sample in view.samples] == [(0, 10), (20, 30)]
    assert any("1 of the parts" in note for note in view.notes)


def written(form: str) -> Dataset:
    ds = holter(12)
    ds.WaveformSequence.insert(0, holter(3).WaveformSequence[0])
    if form == "big":
        return big_endian(ds)
    if form == "undefined":
        ds["WaveformSequence"].is_undefined_length = True
        for item in ds.WaveformSequence:
            item.is_undefined_length_sequence_item = True
            item["ChannelDefinitionSequence"].is_undefined_length = True
    syntaxes: dict[str, Any] = {
        "implicit": ImplicitVRLittleEndian,
        "deflated": DeflatedExplicitVRLittleEndian,
    }
    ds.file_meta.TransferSyntaxUID = syntaxes.get(form, ExplicitVRLittleEndian)
    return ds


@pytest.mark.parametrize("form", ["explicit", "implicit", "big", "undefined", "deflated"])
def test_groups_however_they_are_written(tmp_path: Path, form: str) -> None:
    instance = save(written(form), tmp_path)
    loaded = load_recording(instance)
    assert "WaveformSequence" not in loaded.header
    with opened(loaded) as file:
        groups = multiplex_groups(loaded, file)
    assert [group.item.NumberOfWaveformSamples for group in groups] == [1500, 6000]
    assert all(group.data_length == group.item.NumberOfWaveformSamples * 24 for group in groups)
    (view,) = read(instance).views
    np.testing.assert_allclose(view.samples[0].values, leads(10).T / 1000, atol=1e-6)


@pytest.mark.parametrize("rate", [250, 500, 1000])
def test_rates_become_the_bundle_s(tmp_path: Path, rate: int) -> None:
    ds = ecg(group(leads(10, rate), [channel(code) for code in CODES], rate=rate))
    prepared = encoder("ecg", {"op": "resample", "rate": 100}, seconds=10)
    (view,) = read_study([save(ds, tmp_path)], {"ecg": prepared}).views
    t = np.arange(1000) / 100
    wanted = 0.4 * np.sin(2 * np.pi * 1.3 * t)
    np.testing.assert_allclose(view.samples[0].values[0, 50:-50], wanted[50:-50], atol=0.005)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    instance = save(holter(30), tmp_path)
    content = instance.path.read_bytes()
    instance.path.write_bytes(content[: len(content) // 2])
    assert {entry.reason for entry in read(instance).skipped} == {"broken-waveform"}
    instance.path.write_bytes(content[:600])
    assert read(instance).views == ()


def test_heads_of_fragments_are_no_samples(tmp_path: Path) -> None:
    ds = holter(12)
    (item,) = ds.WaveformSequence
    data = bytes(item.WaveformData)
    ds["WaveformSequence"].is_undefined_length = True
    item.is_undefined_length_sequence_item = True
    path = save(ds, tmp_path).path
    content = path.read_bytes()
    at = content.rindex(data)
    heads = b"\xfe\xff\x00\xe0" + len(data).to_bytes(4, "little")  # eight bytes: four channels of shift
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    path.write_bytes(content[: at - 4] + b"\xff" * 4 + heads + data + end + content[at + len(data) :])
    (left,) = read(read_instance(path)).skipped
    assert left.reason == "no-waveform"


def test_a_holter_of_three_leads_is_refused(tmp_path: Path) -> None:
    keep = [1, 6, 10]
    ds = ecg(group(leads(20)[:, keep], [channel(CODES[i]) for i in keep]))
    ds.SOPClassUID = AmbulatoryECGWaveformStorage
    (left,) = read(save(ds, tmp_path)).skipped
    assert left.reason == "missing-leads"
    assert set(MEASURED) - {"II", "V1", "V5"} == set(left.message.split("lacks ")[1].rstrip(".").split(", "))
