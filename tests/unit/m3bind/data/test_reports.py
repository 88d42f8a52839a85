"""What reports tell: rhythm and axis where codes are silent, and captions that codes confirm."""

import pytest

from m3bind.data.captions import caption_pool, training_captions
from m3bind.data.catalogue import findings_of, labels_of
from m3bind.data.reports import NO_RHYTHM, phrases, statements, told, with_rhythm
from m3bind.data.sources import data_root, ptbxl_reports, training_part
from m3bind.data.statements import LONGEST, readable, report_statements


@pytest.mark.parametrize(
    ("report", "rhythm", "axis"),
    [
        ("FÖrmaksflimmer med hÖg kammarfrekvens  vÄnster el-axel", "AFIB", "left"),
        ("atrial fibrillation. right axis deviation.", "AFIB", "right"),
        ("sinusbradykardie linkstyp sonst normales ekg", "SBRAD", "leftward"),
        ("sinusrhythmus ueberdrehter linkstyp", "SR", "left"),
        ("sinus arrhythmia. normal ecg.", "SARRH", None),
        ("trace only requested.", None, None),
    ],
)
def test_three_languages_are_read(report, rhythm, axis):
    assert told(report, "rhythm") == rhythm
    assert told(report, "axis") == axis


def test_codes_of_a_rhythm_are_believed_before_the_report():
    assert with_rhythm({"NORM", "SR"}, "atrial fibrillation") == {"NORM", "SR"}
    assert with_rhythm({"LVH"}, "atrial fibrillation") == {"LVH", "AFIB"}
    assert with_rhythm({"LVH"}, "trace only requested.") == {"LVH", NO_RHYTHM}


def test_phrases_are_written_as_they_are_looked_for_and_of_known_findings():
    lists = [*phrases("rhythm").values(), *phrases("axis").values(), *statements().values()]
    for words in lists:
        assert words
        assert all(w == w.casefold() == " ".join(w.split()) for w in words)
    assert set(statements()) <= {f.id for f in findings_of("ecg")} | {"ecg.normal"}


def test_a_report_becomes_a_caption_without_the_editors_note():
    assert readable("sinus rhythm. normal ecg. Edit: NORM 100, rQSIII(NORM 50)") == "sinus rhythm. normal ecg"
    assert readable("  ") == ""


def test_a_record_without_a_rhythm_says_nothing_of_fibrillation():
    specs = findings_of("ecg")
    none, axis = {"codes": frozenset({"NORM", NO_RHYTHM})}, {"axis": frozenset()}
    labels = labels_of(specs, "ptbxl", none | axis)
    assert labels["ecg.atrial_fibrillation"] is None
    assert labels["ecg.sinus_rhythm"] is None
    assert labels["ecg.abnormal"] == 0


@pytest.mark.data
def test_only_training_patients_speak_and_codes_confirm_what_they_say():
    specs, said = findings_of("ecg"), report_statements()
    rows = ptbxl_reports(data_root())
    spoken = {readable(report) for row, report in rows if training_part(row)}
    assert len(said) > 50
    assert set(said) <= spoken
    assert any(dict(states) == {"ecg.abnormal": 0, "ecg.sinus_rhythm": 1} for states in said.values())
    assert any(states.get("ecg.atrial_fibrillation") == 1 for states in said.values())
    for row, report in rows:
        if training_part(row) and readable(report) in said:
            labels = labels_of(specs, row.dataset, row.columns)
            stated = said[readable(report)]
            assert len(readable(report)) <= LONGEST
            assert all(labels[i] == v for i, v in stated.items())


@pytest.mark.data
def test_captions_for_training_are_the_pool_and_the_reports():
    pool, trained = caption_pool("ecg"), training_captions("ecg")
    assert trained[: len(pool)] == pool
    assert len({c.text for c in trained}) == len(trained) > len(pool)
    assert training_captions("ct") == caption_pool("ct")
