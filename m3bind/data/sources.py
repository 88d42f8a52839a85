"""The data sets on disk: one small function each, from its label file to rows; nothing is decoded here.

The folder is named by the environment variable M3BIND_DATA, or is ../shared/data beside the repository.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import ConfigError
from m3bind.data.reports import told, with_rhythm

LICENCES: Mapping[str, str] = {
    "nih": "NIH ChestX-ray14 (Wang 2017), no restriction",
    "kermany": "Kermany 2018 paediatric chest radiographs, CC BY 4.0",
    "iq_othnccd": "IQ-OTH/NCCD lung cancer CT, CC BY 4.0",
    "idrid": "IDRiD fundus photographs, CC BY 4.0",
    "ptbxl": "PTB-XL electrocardiograms, CC BY 4.0",
    "ludb": "LUDB electrocardiograms, ODC-BY 1.0",
    "lc25000": "LC25000 lung and colon histology (Borkowski 2019), use as you see fit",
}

CC_BY_4 = "https://creativecommons.org/licenses/by/4.0/"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a data set comes from, and what its splits keep apart."""

    cite: str
    links: tuple[str, ...]
    """To the data, then to the licence where there is a text of it."""
    unit: str
    """What is never on two sides of a split."""
    known: str = ""
    """What is known to be wrong with that."""


ORIGINS: Mapping[str, Origin] = {
    "nih": Origin(
        'X. Wang et al., "ChestX-ray8", CVPR 2017; data by the NIH Clinical Center',
        ("https://nihcc.app.box.com/v/ChestXray-NIHCC",),
        "patient",
    ),
    "kermany": Origin(
        'D. Kermany, K. Zhang, M. Goldbaum, "Labeled Optical Coherence Tomography (OCT) and Chest X-Ray '
        'Images for Classification", Mendeley Data, V2, 2018',
        ("https://doi.org/10.17632/rscbjbr9sj.2", CC_BY_4),
        "patient, as the file names number them",
    ),
    "iq_othnccd": Origin(
        'H. Alyasriy, M. AL-Huseiny, "The IQ-OTH/NCCD lung cancer dataset", Mendeley Data',
        ("https://data.mendeley.com/datasets/bhmdr45bh2", CC_BY_4),
        "group of near-duplicate slices, not patient: the set names none",
        "Slices of one patient may therefore lie in training and in val.",
    ),
    "idrid": Origin(
        'P. Porwal et al., "Indian Diabetic Retinopathy Image Dataset (IDRiD)", Data 2018, 3(3), 25',
        ("https://doi.org/10.3390/data3030025", CC_BY_4),
        "photograph (official split): the set names no patient",
        "IDRiD_375 and IDRiD_073, one in calib and one in train, are near to the same photograph.",
    ),
    "ptbxl": Origin(
        'P. Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", Scientific '
        "Data 7, 154, 2020",
        ("https://physionet.org/content/ptb-xl/", CC_BY_4),
        "patient (official folds)",
    ),
    "ludb": Origin(
        'A. Kalyakulina et al., "LUDB: A New Open-Access Validation Tool for Electrocardiogram Delineation '
        'Algorithms", IEEE Access 8, 186181-186190, 2020',
        ("https://physionet.org/content/ludb/", "https://opendatacommons.org/licenses/by/1-0/"),
        "subject",
    ),
    "lc25000": Origin(
        'A. Borkowski et al., "Lung and Colon Cancer Histopathological Image Dataset (LC25000)", arXiv '
        "1912.12142, 2019",
        ("https://github.com/tampapath/lung_colon_image_set",),
        "original tile (the set holds altered copies of 1,250), not patient: the set names none",
        "Tiles of one patient may therefore lie in training and in val.",
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One image or record as its label file tells it."""

    dataset: str
    path: Path
    split: str
    """train or val (an official test split counts as val)."""
    group: str
    """Patient, or near-duplicate group: what must not be on two sides of a split."""
    columns: Mapping[str, frozenset[str]]
    """Tokens by column, for the label rules."""


def data_root() -> Path:
    """The training data. Raises ConfigError where it is not."""
    named = os.environ.get("M3BIND_DATA")
    root = Path(named) if named else Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if not root.is_dir():
        raise ConfigError(f"No training data at {root}: let M3BIND_DATA name its folder.")
    return root


def share(key: str) -> float:
    """A number in [0, 1) that depends on the key alone: deterministic splits on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


CALIB_SHARE = 0.15
"""Of the training part of each data set, dealt by group: for calibration and thresholds."""


def training_part(row: Row) -> bool:
    """Whether a row is trained on: neither `val` nor `calib`."""
    return row.split == "train" and share(f"calib:{row.group}") >= CALIB_SHARE


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise ConfigError(f"No label file {path}: is M3BIND_DATA the right folder?")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _images(dataset: str, folder: Path, group: str | None, columns: Mapping[str, str | None]) -> list[Row]:
    """Rows of a labels.csv beside a folder `images`. `columns`: name to separator, None for one token."""
    rows = []
    for line in _table(folder / "labels.csv"):
        tokens = {
            name: frozenset((line[name],) if separator is None else line[name].split(separator))
            for name, separator in columns.items()
        }
        own = f"{dataset}:{line[group] if group else line['file']}"
        split = "train" if line["split"] == "train" else "val"
        rows.append(Row(dataset, folder / "images" / line["file"], split, own, tokens))
    return rows


def _nih(root: Path) -> list[Row]:
    return _images("nih", root / "xray/nih", "patient", {"findings": "|"})


def _kermany(root: Path) -> list[Row]:
    return _images("kermany", root / "xray/kermany", "patient", {"label": None})


def _iq_othnccd(root: Path) -> list[Row]:
    return _images("iq_othnccd", root / "ct/iq_othnccd", "group", {"label": None})


def _idrid(root: Path) -> list[Row]:
    """No patient is named: each photograph is its own group."""
    return _images(
        "idrid", root / "retina/idrid", None, {"retinopathy_grade": None, "macular_edema_risk": None}
    )


def _lc25000(root: Path) -> list[Row]:
    return _images("lc25000", root / "pathology/lc25000", "group", {"label": None})


def _not_chest_xray(root: Path) -> list[Row]:
    folder = root / "xray/not_chest/images"
    return [Row("not_chest", p, "val", f"not_chest:{p.name}", {}) for p in sorted(folder.iterdir())]


def _not_chest_ct(root: Path) -> list[Row]:
    folder = root / "ct/not_chest/images"
    return [Row("not_chest_ct", p, "val", f"not_chest_ct:{p.name}", {}) for p in sorted(folder.iterdir())]


def cancer_slices(root: Path) -> list[Path]:
    """Real DICOM slices, one each of patients with lung cancer, not chosen for showing it: to measure with.
    Empty where the folder is not there."""
    return sorted((root / "ct/tcia_slices").glob("*.dcm"))


DIAGNOSTIC_LIKELIHOOD = 50.0
"""Per cent. PTB-XL gives diagnostic statements a likelihood (15, 35, 50, 80, 100; 0 where unknown)."""


def ptbxl_reports(root: Path) -> list[tuple[Row, str]]:
    """Every record with the report that was written for it.

    Codes whose likelihood is stated below 50 % become `CODE?`; form and rhythm codes have none. A rhythm
    that the codes leave out, and the axis, which they never tell, are read from the report.
    """
    folder = root / "ecg/ptbxl"
    diagnostic = {line[""] for line in _table(folder / "scp_statements.csv") if line["diagnostic"] == "1.0"}
    rows = []
    for line in _table(folder / "labels.csv"):
        stated: dict[str, float] = ast.literal_eval(line["scp_codes"])
        codes = frozenset(
            f"{code}?" if code in diagnostic and 0 < likelihood < DIAGNOSTIC_LIKELIHOOD else code
            for code, likelihood in stated.items()
        )
        axis = told(line["report"], "axis")
        columns = {
            "codes": with_rhythm(codes, line["report"]),
            "axis": frozenset((axis,) if axis else ()),
        }
        path = folder / "records100" / f"{line['record']}.hea"
        split = "train" if line["split"] == "train" else "val"
        rows.append((Row("ptbxl", path, split, f"ptbxl:{line['patient']}", columns), line["report"]))
    return rows


def _ptbxl(root: Path) -> list[Row]:
    return [row for row, _ in ptbxl_reports(root)]


LUDB_VAL_SHARE = 0.35
"""LUDB has no official split; subjects are dealt by a hash of their number."""


def _lines(cell: str) -> list[str]:
    """Statements of one cell, one per line."""
    return [text.strip() for text in cell.split("\n") if text.strip()]


def _ludb_columns(line: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Statements without their details, except for the wall of an infarct (`wall?` where it may be one)."""
    columns = {
        name: frozenset(_lines(line[name]))
        for name in ("Rhythms", "Conduction abnormalities", "Hypertrophies")
    }
    kinds = [re.split("[:,]", text)[0] for text in _lines(line["Extrasystolies"])]
    columns["Extrasystolies"] = frozenset(kinds)
    heart = "Electric axis of the heart"
    columns["axis"] = frozenset(text.partition(": ")[2] for text in _lines(line[heart]))
    columns["pacing"] = frozenset({"paced"} if line["Cardiac pacing"].strip() else ())
    stated = [text.partition(": ")[::2] for text in _lines(line["Ischemia"])]
    columns["ischaemia"] = frozenset(kind for kind, _ in stated)
    columns["infarct wall"] = frozenset(
        wall if kind in ("Stemi", "Scar formation") else f"{wall}?" for kind, wall in stated
    )
    changes = _lines(line["Non-specific repolarization abnormalities"])
    columns["repolarisation"] = frozenset(
        {"non-specific repolarization abnormalities"} if changes else {"ischaemic"} if stated else ()
    )
    others = [line[n].strip() for n in ("Cardiac pacing", "Other states")]
    told_of = ("Conduction abnormalities", "Hypertrophies", "Extrasystolies", "ischaemia")
    quiet = columns["Rhythms"] == {"Sinus rhythm"} and not (any(others) or changes)
    quiet = quiet and not any(columns[name] for name in told_of)
    columns["all"] = frozenset({"nothing abnormal"} if quiet else ())
    return columns


def _ludb(root: Path) -> list[Row]:
    folder = root / "ecg/ludb"
    rows = []
    for line in _table(folder / "ludb.csv"):
        number = line["ID"].strip()
        group = f"ludb:{number}"
        split = "val" if share(f"split:{group}") < LUDB_VAL_SHARE else "train"
        rows.append(Row("ludb", folder / "data" / f"{number}.hea", split, group, _ludb_columns(line)))
    return rows


DATASETS: Mapping[str, Callable[[Path], list[Row]]] = {
    "nih": _nih,
    "kermany": _kermany,
    "iq_othnccd": _iq_othnccd,
    "idrid": _idrid,
    "ptbxl": _ptbxl,
    "ludb": _ludb,
    "lc25000": _lc25000,
    "not_chest": _not_chest_xray,
    "not_chest_ct": _not_chest_ct,
}
MEASURE_ONLY = frozenset({"not_chest", "not_chest_ct"})
"""Licence unclear: for measuring what is out of scope, never for training."""
