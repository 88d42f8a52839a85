"""DICOM objects with pixels or waveforms that tests can predict, and encoders that let them be seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    OphthalmicPhotography8BitImageStorage,
    TwelveLeadECGWaveformStorage,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)

from dicom_node.bundle.manifest import Encoder
from dicom_node.pixels.headers import read_instance
from dicom_node.records import Instance
from tests.support.tree import ROOT

STUDY, SERIES = "1.2.3.1", "1.2.3.2"
MDC = ("2:1", "2:2", "2:61", "2:62", "2:63", "2:64", "2:3", "2:4", "2:5", "2:6", "2:7", "2:8")
SAMPLES = ROOT / "dicom_node" / "assets" / "samples"


def encoder(reader: str, *preprocess: dict[str, Any], **sampling: float) -> Encoder:
    return Encoder.model_validate(
        {
            "file": "encoders/x.onnx",
            "reader": reader,
            "sampling": sampling,
            "preprocess": preprocess,
            "input_shape": [1, 1, 1],
            "evidence": False,
        }
    )


def base(
    sop_class: str, modality: str, series: str = SERIES, syntax: str = ExplicitVRLittleEndian
) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = STUDY
    ds.SeriesInstanceUID = series
    ds.Modality = modality
    ds.PatientName = "Nobody^At^All"
    return ds


def put_pixels(ds: Dataset, pixels: NDArray[Any], photometric: str, bits: int | None = None) -> Dataset:
    """(H, W) or (H, W, 3), or with frames before that where NumberOfFrames is set."""
    colour = not photometric.startswith(("MONO", "PALETTE"))
    ds.SamplesPerPixel = 3 if colour else 1
    if colour:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    ds.Rows, ds.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    data = pixels.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    return ds


def save(ds: Dataset, folder: Path, name: str = "") -> Instance:
    path = folder / f"{name or ds.SOPInstanceUID}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return read_instance(path)


def radiograph(pixels: NDArray[Any], photometric: str = "MONOCHROME2", bits: int | None = None) -> Dataset:
    return put_pixels(base(ComputedRadiographyImageStorage, "CR"), pixels, photometric, bits)


def photograph(pixels: NDArray[Any], photometric: str = "RGB") -> Dataset:
    ds = put_pixels(base(OphthalmicPhotography8BitImageStorage, "OP"), pixels, photometric)
    ds.ImageLaterality = "R"
    return ds


def ct_slice(z: float, value: int, series: str = SERIES, size: int = 16) -> Dataset:
    """All pixels hold `value` HU."""
    ds = base(CTImageStorage, "CT", series)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient = [-8, -8, z]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.RescaleSlope, ds.RescaleIntercept = 2, -1024
    stored = np.full((size, size), (value + 1024) // 2, dtype=np.uint16)
    return put_pixels(ds, stored, "MONOCHROME2", 12)


def enhanced_ct(places: Sequence[float], **shared_values: object) -> Dataset:
    """One multi-frame object whose frames hold 10 HU per mm of their place; the scale is shared."""
    ds = base(EnhancedCTImageStorage, "CT")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    stored = np.stack([np.full((8, 8), 1024 + 10 * int(z), dtype=np.uint16) for z in places])
    put_pixels(ds, stored, "MONOCHROME2", 12)
    ds.NumberOfFrames = len(places)
    scale, orientation, shared = Dataset(), Dataset(), Dataset()
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1, -1024, "HU"
    for name, value in shared_values.items():
        setattr(scale, name, value)
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelValueTransformationSequence = [scale]
    shared.PlaneOrientationSequence = [orientation]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = []
    for z in places:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, z]
        frame.PlanePositionSequence = [position]
        ds.PerFrameFunctionalGroupsSequence.append(frame)
    return ds


def channel(code: tuple[str, str], unit: str = "uV", sensitivity: float = 1.0) -> Dataset:
    """`code` is (value, scheme)."""
    source, units, ds = Dataset(), Dataset(), Dataset()
    source.CodeValue, source.CodingSchemeDesignator = code
    source.CodeMeaning = "x"
    units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = unit, "UCUM", unit
    ds.ChannelSourceSequence = [source]
    ds.ChannelSensitivity = sensitivity
    ds.ChannelSensitivityUnitsSequence = [units]
    ds.ChannelSensitivityCorrectionFactor = 1
    ds.ChannelBaseline = 0
    ds.ChannelSampleSkew = 0
    ds.WaveformBitsStored = 16
    return ds


def group(signal: NDArray[np.int16], channels: Sequence[Dataset], rate: float = 500) -> Dataset:
    """`signal` is (T, channels)."""
    ds = Dataset()
    ds.WaveformOriginality = "ORIGINAL"
    ds.NumberOfWaveformChannels = len(channels)
    ds.NumberOfWaveformSamples = len(signal)
    ds.SamplingFrequency = rate
    ds.ChannelDefinitionSequence = list(channels)
    ds.WaveformBitsAllocated = 16
    ds.WaveformSampleInterpretation = "SS"
    ds.WaveformData = signal.tobytes()
    ds["WaveformData"].VR = "OW"
    return ds


def ecg(*groups: Dataset, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    ds = base(TwelveLeadECGWaveformStorage, "ECG", syntax=syntax)
    ds.WaveformSequence = list(groups)
    return ds


def leads(seconds: float = 10, rate: float = 500) -> NDArray[np.int16]:
    """(T, 12) microvolt, leads I to V6; the limb leads obey Einthoven, every chest lead is its own."""
    t = np.arange(round(seconds * rate)) / rate
    one, two = 400 * np.sin(2 * np.pi * 1.3 * t), 900 * np.sin(2 * np.pi * 1.3 * t + 0.4)
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    chest = [100 * (n + 1) * np.cos(2 * np.pi * (n + 1) * t) for n in range(6)]
    return np.rint(np.stack([*limbs, *chest], axis=1)).astype("<i2")


def slide(
    matrix: NDArray[np.uint8], tile: int, microns: float, *, sparse: bool = False, flavour: str = "VOLUME"
) -> Dataset:
    """(H, W, 3) uint8 as tiles; `sparse` leaves out the tiles that are white, and shuffles the rest."""
    ds = base(VLWholeSlideMicroscopyImageStorage, "SM")
    rows, columns = -(-matrix.shape[0] // tile), -(-matrix.shape[1] // tile)
    full = np.zeros((rows * tile, columns * tile, 3), dtype=np.uint8)  # black, as scanners fill
    full[: matrix.shape[0], : matrix.shape[1]] = matrix
    places = [(r, c) for r in range(rows) for c in range(columns)]
    cut = {(r, c): full[r * tile : (r + 1) * tile, c * tile : (c + 1) * tile] for r, c in places}
    if sparse:
        places = [p for p in reversed(places) if cut[p].min() < 255]
    put_pixels(ds, np.stack([cut[p] for p in places]), "RGB")
    ds.NumberOfFrames = len(places)
    ds.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = matrix.shape[:2]
    ds.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [microns / 1000, microns / 1000]
    shared.PixelMeasuresSequence = [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    if sparse:
        ds.PerFrameFunctionalGroupsSequence = [_position(r * tile + 1, c * tile + 1) for r, c in places]
    return ds


def _position(row: int, column: int) -> Dataset:
    position, frame = Dataset(), Dataset()
    position.RowPositionInTotalImagePixelMatrix = row
    position.ColumnPositionInTotalImagePixelMatrix = column
    frame.PlanePositionSlideSequence = [position]
    return frame


def big_endian(ds: Dataset) -> Dataset:
    """The same waveform for Explicit VR Big Endian."""
    for item in ds.WaveformSequence:
        item.WaveformData = np.frombuffer(item.WaveformData, dtype="<i2").astype(">i2").tobytes()
        item["WaveformData"].VR = "OW"
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    return ds
