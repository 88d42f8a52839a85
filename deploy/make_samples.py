"""Make the five sample studies of `dicom_node/assets/samples`, and the one of `tests/samples`, from public
research data.

    M3BIND_DATA=... python deploy/make_samples.py [--out FOLDER] [--tests-out FOLDER]

Needs what `pip install .[samples]` brings, and dciodvfy (Debian package dicom3tools). The data folder is
named by M3BIND_DATA (default: ../shared/data beside the repository). Every source is one that may be passed
on; ATTRIBUTION.md, written beside the studies, names it. No picture is from the training split. Running it
again gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    OphthalmicPhotography8BitImageStorage,
    TwelveLeadECGWaveformStorage,
)
from sample_base import Person, code, derived_uid, new_object, save, sequence, set_lossy, set_pixels
from sample_lung_slide import make_lung_slide
from sample_skin_slide import make_skin_slide

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 8_000_000
"""Bytes of all samples together, those of the tests included."""

RADIOGRAPH = "xray/nih/images/00000261_007.jpg"  # val; infiltration, pneumonia
FUNDUS = "retina/idrid/images/IDRiD_057_test.jpg"  # test; proliferative retinopathy (grade 4), oedema risk 2
ECG = "ecg/ptbxl/records500/00017_hr"  # val; atrial fibrillation or flutter, old inferior infarction
CT = (  # from the shoulders down
    "ct/tcia_slices/ID_0057_AGE_0049_CONTRAST_0_CT.dcm",  # a mass in the right upper lobe
    "ct/tcia_slices/ID_0002_AGE_0074_CONTRAST_1_CT.dcm",  # a mass in the left lung
    "ct/tcia_slices/ID_0049_AGE_0061_CONTRAST_1_CT.dcm",
    "ct/tcia_slices/ID_0024_AGE_0060_CONTRAST_1_CT.dcm",
    "ct/tcia_slices/ID_0006_AGE_0075_CONTRAST_1_CT.dcm",
)
LUNG_TILES = "pathology/lc25000"
SKIN_SLIDE = "pathology/wsi/cmu-1-small-region.svs"

# Lead, CID 3001 code of scheme MDC (PS3.16).
LEADS = (
    ("I", "2:1", "Lead I"),
    ("II", "2:2", "Lead II"),
    ("III", "2:61", "Lead III"),
    ("AVR", "2:62", "aVR, augmented voltage, right"),
    ("AVL", "2:63", "aVL, augmented voltage, left"),
    ("AVF", "2:64", "aVF, augmented voltage, foot"),
    ("V1", "2:3", "Lead V1"),
    ("V2", "2:4", "Lead V2"),
    ("V3", "2:5", "Lead V3"),
    ("V4", "2:6", "Lead V4"),
    ("V5", "2:7", "Lead V5"),
    ("V6", "2:8", "Lead V6"),
)

ATTRIBUTION = """\
# Sample studies

Patients, dates and identifiers are invented; the pictures and recordings are not. None is from a split
that anything was trained on. `deploy/make_samples.py` made them.

- **xray**: NIH ChestX-ray8 `00000261_007` (NIH Clinical Center; no restriction on use; X. Wang et al.,
  "ChestX-ray8", CVPR 2017; https://nihcc.app.box.com/v/ChestXray-NIHCC), scaled down to 400 pixels. The
  spacing of its pixels is not known and therefore not told. Labelled by its makers: infiltration,
  pneumonia.
- **ct**: COMPOSED FOR DEMONSTRATION. Five axial slices of five different persons, from The Cancer Imaging
  Archive (TCGA-LUAD and TCGA-LUSC collections, CC BY 3.0, https://creativecommons.org/licenses/by/3.0/),
  as selected in the "CT Medical Images" set (K. Mader, kaggle.com). Resampled to one pixel spacing of 0.7
  mm. The order follows the anatomy, but the positions along the body are invented: it is not one person,
  and nothing may be measured across slices.
- **retina**: Indian Diabetic Retinopathy Image Dataset (IDRiD), `IDRiD_057` of the disease grading test
  set (CC BY 4.0, https://creativecommons.org/licenses/by/4.0/; P. Porwal et al., Data 2018, 3(3), 25),
  cropped and scaled down to 512 pixels, its JPEG data unchanged since. Graded by its makers: retinopathy
  4 of 4, macular oedema risk 2 of 2. The side (left) was told from the place of the optic disc.
- **ecg**: PTB-XL 1.0.3 record 17, 500 Hz (CC BY 4.0; P. Wagner et al., Scientific Data 7, 154, 2020;
  https://physionet.org/content/ptb-xl/). Reported by its makers: atrial fibrillation or flutter with fast
  ventricular response, left axis, inferior infarction of unknown age.
- **pathology**: COMPOSED FOR DEMONSTRATION. 25 tiles of lung tissue, side by side on a white margin, from
  LC25000 (A. Borkowski et al., arXiv 1912.12142, 2019; "use as you see fit"), as scaled down to 224 pixels,
  their JPEG data unchanged since; the lower level was computed from them. Labelled by its makers:
  adenocarcinoma (16 tiles), benign (9 tiles, lower right corner), each of another original picture. Whose
  they are is not told; it is not one specimen and not one patient. The arrangement, the place on the glass
  and the scale (0.86 micrometres per pixel, at which the bundle reads) are invented: nothing may be measured
  on it. Stain (haematoxylin and eosin) and colour space (sRGB) are assumed. The tiles are of the held-out
  split, and were PICKED AS A CLEAR EXAMPLE: of those that the first m3bind-mini called right, the ones
  nearest to its training data. How well a model does is told by its model card, not by this slide.
"""

TESTS_ATTRIBUTION = """\
# Studies for the tests

Patient, dates and identifiers are invented; the pictures are not. `deploy/make_samples.py` made them.

- **other_tissue_slide**: `CMU-1-Small-Region.svs`, OpenSlide test data (Carnegie Mellon University, CC0 1.0;
  https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/). The tiles of the full resolution are
  those of the scanner, unchanged; the lower level was computed from them. Stain (haematoxylin and eosin)
  and colour space (sRGB) are assumed. No diagnosis came with it.
"""


def make_radiograph(source: Path, out: Path) -> None:
    """One frontal chest radiograph as Computed Radiography Image Storage.

    Not DX: that IOD demands an Imager Pixel Spacing, which is not known here and never invented.
    """
    person = Person("Demo^Radiograph", "M3B-DEMO-XRAY", "19830101", "F", "041Y")
    with Image.open(source) as picture:
        pixels = np.asarray(picture.convert("L"))
    ds = new_object("xray", "1", 1, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, person, "CR")
    ds.StudyDescription = "Chest radiograph"
    ds.SeriesDescription = "Chest PA"
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = "PA"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.PatientOrientation = ["L", "F"]
    set_pixels(ds, pixels.shape[0], pixels.shape[1], "MONOCHROME2", 8, 8)
    ds.WindowCenter, ds.WindowWidth = 128, 256
    set_lossy(ds, pixels.size / source.stat().st_size)
    ds.PixelData = pixels.tobytes()
    save(ds, out / "xray" / "chest-pa.dcm")


def make_ct(sources: list[Path], out: Path) -> None:
    """One series of axial slices, 20 mm apart, each resampled to a spacing of 0.7 mm about its own centre."""
    person = Person("Demo^Tomogram", "M3B-DEMO-CT", "19600101", "O")
    spacing, size, apart = 0.7, 512, 20.0
    for number, source in enumerate(sources, start=1):
        hu = _resample_slice(pydicom.dcmread(source), spacing, size)
        ds = new_object("ct", "1", number, CTImageStorage, ExplicitVRLittleEndian, person, "CT")
        ds.StudyDescription = "Chest CT, composed for demonstration"
        ds.SeriesDescription = "Composed from slices of five persons"
        ds.DerivationDescription = (
            "Slices of different persons, resampled; positions along the body are invented"
        )
        ds.BodyPartExamined = "CHEST"
        ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        ds.Manufacturer = "SIEMENS"
        ds.KVP = None  # differs between the sources
        ds.SliceThickness = None  # likewise
        ds.AcquisitionNumber = 1
        ds.PatientPosition = "HFS"
        ds.FrameOfReferenceUID = derived_uid("ct", "frame of reference")
        ds.PositionReferenceIndicator = None
        corner = -spacing * (size - 1) / 2
        ds.ImagePositionPatient = [corner, corner, -apart * (number - 1)]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [spacing, spacing]
        set_pixels(ds, size, size, "MONOCHROME2", 12, 16)
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
        ds.WindowCenter, ds.WindowWidth = [-600, 40], [1500, 400]
        ds.WindowCenterWidthExplanation = ["LUNG", "SOFT TISSUE"]
        ds.PixelData = (np.clip(hu, -1024, 3071) + 1024).astype("<u2").tobytes()
        save(ds, out / "ct" / f"slice-{number}.dcm")


def _resample_slice(ds: Dataset, spacing: float, size: int) -> NDArray[np.int32]:
    """HU at the new spacing, (size, size), centred on the middle of the source; air where it had nothing."""
    hu = ds.pixel_array.astype(np.float32) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    factor = spacing / float(ds.PixelSpacing[0])
    left, top = ds.Columns / 2 - size * factor / 2, ds.Rows / 2 - size * factor / 2
    # Shifted, since the fill of Pillow's transform is 0 and air is -1024.
    shifted = Image.fromarray(np.maximum(hu, -1024.0) + 1024.0)
    moved = shifted.transform(
        (size, size), Image.Transform.AFFINE, (factor, 0, left, 0, factor, top), Image.Resampling.BILINEAR
    )
    return np.rint(np.asarray(moved) - 1024.0).astype(np.int32)


def make_fundus(source: Path, out: Path) -> None:
    """One colour fundus photograph as Ophthalmic Photography 8 Bit Image Storage, its JPEG data unchanged."""
    person = Person("Demo^Fundus", "M3B-DEMO-RETINA", "19700101", "O")
    jpeg = source.read_bytes()
    with Image.open(source) as picture:
        width, height = picture.size
    ds = new_object("retina", "1", 1, OphthalmicPhotography8BitImageStorage, JPEGBaseline8Bit, person, "OP")
    ds.StudyDescription = "Fundus photograph"
    ds.SeriesDescription = "Left macula"
    ds.Manufacturer = "Kowa"
    ds.ManufacturerModelName = "VX-10 alpha"
    ds.SynchronizationFrameOfReferenceUID = derived_uid("retina", "synchronization")
    ds.SynchronizationTrigger = "NO TRIGGER"
    ds.AcquisitionTimeSynchronized = "N"
    # Scaled down, and yet not DERIVED: that would demand a reference to a source object, and there is none.
    ds.ImageType = ["ORIGINAL", "PRIMARY", "", "COLOR"]
    ds.AcquisitionDateTime = "20240229120000"
    set_pixels(ds, height, width, "YBR_FULL_422", 8, 8)
    ds.NumberOfFrames = 1
    ds.FrameIncrementPointer = 0x00181063
    ds.FrameTime = 0
    ds.BurnedInAnnotation = "NO"
    set_lossy(ds, width * height * 3 / len(jpeg))
    ds.PatientOrientation = None
    ds.ImageLaterality = "L"
    ds.AnatomicRegionSequence = sequence(code("5665001", "SCT", "Retina"))
    ds.PatientEyeMovementCommanded = "NO"
    ds.HorizontalFieldOfView = 50
    ds.RefractiveStateSequence = sequence()
    ds.EmmetropicMagnification = None
    ds.IntraOcularPressure = None
    ds.PupilDilated = "YES"
    ds.MydriaticAgentSequence = sequence()
    ds.DegreeOfDilation = None
    ds.AcquisitionDeviceTypeCodeSequence = sequence(code("409898007", "SCT", "Fundus Camera"))
    ds.IlluminationTypeCodeSequence = sequence()
    ds.LightPathFilterTypeStackCodeSequence = sequence()
    ds.ImagePathFilterTypeStackCodeSequence = sequence()
    ds.LensesCodeSequence = sequence()
    ds.DetectorType = "CCD"
    ds.PixelData = encapsulate([jpeg], has_bot=True)
    ds["PixelData"].VR = "OB"
    save(ds, out / "retina" / "fundus-left.dcm")


def make_ecg(source: Path, out: Path) -> None:
    """One 12-lead ECG, 10 s at 500 Hz, in microvolt, as 12-lead ECG Waveform Storage."""
    person = Person("Demo^Electrocardiogram", "M3B-DEMO-ECG", "19680101", "M", "056Y")
    header = source.with_suffix(".hea").read_text(encoding="ascii").splitlines()
    _, channels, rate, length = header[0].split()[:4]
    names = [line.split()[-1] for line in header[1 : 1 + int(channels)]]
    units = {line.split()[2] for line in header[1 : 1 + int(channels)]}
    if names != [lead for lead, _, _ in LEADS] or units != {"1000.0(0)/mV"}:
        raise SystemExit(f"{source.name}: leads {names} or units {units} are not those of PTB-XL")
    signal = np.fromfile(source.with_suffix(".dat"), dtype="<i2").reshape(int(length), int(channels))
    ds = new_object("ecg", "1", 1, TwelveLeadECGWaveformStorage, ExplicitVRLittleEndian, person, "ECG")
    ds.StudyDescription = "Resting 12-lead ECG"
    ds.SeriesDescription = "12-lead ECG"
    ds.AcquisitionDateTime = "20240229120000"
    del ds.AcquisitionDate, ds.AcquisitionTime  # not of this IOD
    ds.AcquisitionContextSequence = sequence()
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels = int(channels)
    group.NumberOfWaveformSamples = int(length)
    group.SamplingFrequency = int(rate)
    group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = sequence(*(_channel(value, meaning) for _, value, meaning in LEADS))
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.WaveformData = signal.tobytes()
    group["WaveformData"].VR = "OW"
    ds.WaveformSequence = sequence(group)
    save(ds, out / "ecg" / "resting-12-lead.dcm")


def _channel(value: str, meaning: str) -> Dataset:
    """Channel definition of one lead (PS3.3 C.10.9.1.4): 1 uV per unit."""
    channel = Dataset()
    channel.ChannelSourceSequence = sequence(code(value, "MDC", meaning))
    channel.ChannelSensitivity = 1
    channel.ChannelSensitivityUnitsSequence = sequence(code("uV", "UCUM", "microvolt"))
    channel.ChannelSensitivityCorrectionFactor = 1
    channel.ChannelBaseline = 0
    channel.ChannelSampleSkew = 0
    channel.WaveformBitsStored = 16
    return channel


def make_all(data: Path, out: Path, tests_out: Path) -> None:
    """All five studies, the one of the tests, and the attributions."""
    make_radiograph(data / RADIOGRAPH, out)
    make_ct([data / name for name in CT], out)
    make_fundus(data / FUNDUS, out)
    make_ecg(data / ECG, out)
    make_lung_slide(data / LUNG_TILES, out / "pathology")
    (out / "ATTRIBUTION.md").write_text(ATTRIBUTION, encoding="utf-8")
    make_skin_slide(data / SKIN_SLIDE, tests_out / "other_tissue_slide")
    (tests_out / "ATTRIBUTION.md").write_text(TESTS_ATTRIBUTION, encoding="utf-8")
    made = [path for folder in (out, tests_out) for path in sorted(folder.rglob("*.dcm"))]
    total = sum(path.stat().st_size for path in made)
    if total > LIMIT:
        raise SystemExit(f"The samples take {total} bytes, more than {LIMIT}.")
    for path in made:
        print(f"{path.stat().st_size:>9}  {path.parent.name}/{path.name}")
    print(f"{total:>9}  in all; dciodvfy found no error")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the sample studies.")
    parser.add_argument("--out", type=Path, default=ROOT / "dicom_node" / "assets" / "samples")
    parser.add_argument("--tests-out", type=Path, default=ROOT / "tests" / "samples")
    arguments = parser.parse_args()
    data = Path(os.environ.get("M3BIND_DATA", ROOT.parent / "shared" / "data"))
    if not (data / RADIOGRAPH).is_file():
        raise SystemExit(
            f"No data in {data}: set M3BIND_DATA to the folder that holds xray/, ct/ and the others."
        )
    make_all(data, arguments.out, arguments.tests_out)


if __name__ == "__main__":
    main()
