"""Whole-slide images as VL Whole Slide Microscopy Image Storage (PS3.3 A.32.8): what the samples share."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage
from sample_base import Person, code, derived_uid, new_object, sequence, set_lossy, set_pixels


@dataclass(frozen=True)
class Equipment:
    """Enhanced General Equipment module (PS3.3 C.7.5.2), all of it required."""

    manufacturer: str
    model: str
    serial: str
    software: str


@dataclass(frozen=True)
class Slide:
    """What all levels of one slide have in common."""

    key: str
    """First part of the key of every UID."""
    person: Person
    number: int
    """Of the glass slide and its specimen, among the samples."""
    study: str
    """Study Description."""
    series: str
    """Series Description."""
    equipment: Equipment
    tile: int
    """Pixels of a frame, along both sides."""
    offset: tuple[float, float]
    """X and Y of the total pixel matrix in the slide coordinate system, mm."""
    derivation: str = ""
    """Derivation Description, where there is something to tell."""
    site: Dataset | None = None
    """Code of the specimen's primary anatomic structure, where it is known."""


@dataclass(frozen=True)
class Level:
    """One level of the pyramid."""

    number: int
    rows: int
    columns: int
    microns: float
    """Micrometres per pixel."""
    frames: list[bytes]
    """JPEG streams of the tiles, row by row."""
    photometric: str
    image_type: tuple[str, str, str, str]


def make_level(slide: Slide, level: Level) -> Dataset:
    """One level, TILED_FULL (PS3.3 C.7.6.17.3)."""
    ds = new_object(
        slide.key, "1", level.number, VLWholeSlideMicroscopyImageStorage, JPEGBaseline8Bit, slide.person, "SM"
    )
    ds.StudyDescription = slide.study
    ds.SeriesDescription = slide.series
    if slide.derivation:
        ds.DerivationDescription = slide.derivation
    ds.Manufacturer = slide.equipment.manufacturer
    ds.ManufacturerModelName = slide.equipment.model
    ds.DeviceSerialNumber = slide.equipment.serial
    ds.SoftwareVersions = slide.equipment.software
    ds.ImageType = list(level.image_type)
    ds.AcquisitionDateTime = "20240229120000"
    ds.FrameOfReferenceUID = derived_uid(slide.key, "frame of reference")
    ds.PositionReferenceIndicator = "SLIDE_CORNER"
    set_pixels(ds, slide.tile, slide.tile, level.photometric, 8, 8)
    ds.NumberOfFrames = len(level.frames)
    ds.BurnedInAnnotation = "NO"
    set_lossy(ds, len(level.frames) * slide.tile**2 * 3 / sum(len(frame) for frame in level.frames))
    ds.VolumetricProperties = "VOLUME"
    ds.SpecimenLabelInImage = "NO"
    ds.FocusMethod = "AUTO"
    ds.ExtendedDepthOfField = "NO"
    ds.AcquisitionDuration = 0.0
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = level.rows, level.columns
    ds.TotalPixelMatrixFocalPlanes = 1
    ds.ImagedVolumeWidth = level.columns * level.microns / 1000
    ds.ImagedVolumeHeight = level.rows * level.microns / 1000
    ds.ImagedVolumeDepth = 1.0
    ds.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = f"{slide.offset[0]:.6f}"
    origin.YOffsetInSlideCoordinateSystem = f"{slide.offset[1]:.6f}"
    ds.TotalPixelMatrixOriginSequence = sequence(origin)
    _set_specimen(ds, slide)
    _set_optical_path(ds)
    _set_dimensions(ds, slide, level)
    ds.PixelData = encapsulate(level.frames, has_bot=True)
    ds["PixelData"].VR = "OB"
    return ds


def cut(pixels: NDArray[np.uint8], tile: int) -> list[NDArray[np.uint8]]:
    """(H, W, 3) to tiles of (tile, tile, 3), row by row, the last ones filled up with white."""
    rows, columns = (-(-size // tile) for size in pixels.shape[:2])
    full = np.full((rows * tile, columns * tile, 3), 255, dtype=np.uint8)
    full[: pixels.shape[0], : pixels.shape[1]] = pixels
    return [
        full[r * tile : (r + 1) * tile, c * tile : (c + 1) * tile]
        for r in range(rows)
        for c in range(columns)
    ]


def reduce(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """(H, W, 3) to (H // factor, W // factor, 3), each pixel the mean of a square."""
    height, width = pixels.shape[0] // factor * factor, pixels.shape[1] // factor * factor
    return np.asarray(Image.fromarray(pixels[:height, :width]).reduce(factor))


def encode(tile: NDArray[np.uint8]) -> bytes:
    """JPEG baseline, YCbCr with the chroma halved along rows (4:2:2)."""
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, format="JPEG", quality=90, subsampling="4:2:2")
    return buffer.getvalue()


def _set_specimen(ds: Dataset, slide: Slide) -> None:
    """Specimen module (PS3.3 C.7.6.22): one glass slide. How it was prepared is not known."""
    ds.ContainerIdentifier = f"DEMO-SLIDE-{slide.number}"
    ds.IssuerOfTheContainerIdentifierSequence = sequence()
    ds.ContainerTypeCodeSequence = sequence(code("433466003", "SCT", "Microscope slide"))
    specimen = Dataset()
    specimen.SpecimenIdentifier = f"DEMO-SPECIMEN-{slide.number}"
    specimen.IssuerOfTheSpecimenIdentifierSequence = sequence()
    specimen.SpecimenUID = derived_uid(slide.key, "specimen")
    specimen.SpecimenPreparationSequence = sequence()
    if slide.site is not None:
        specimen.PrimaryAnatomicStructureSequence = sequence(slide.site)
    ds.SpecimenDescriptionSequence = sequence(specimen)
    ds.AcquisitionContextSequence = sequence()


def _set_optical_path(ds: Dataset) -> None:
    """Optical Path module (PS3.3 C.8.12.5): bright field, full light, sRGB assumed."""
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.IlluminationTypeCodeSequence = sequence(code("111744", "DCM", "Brightfield illumination"))
    path.IlluminationColorCodeSequence = sequence(code("414298005", "SCT", "Full Spectrum"))
    path.ICCProfile = _srgb()
    path.ColorSpace = "SRGB"
    ds.OpticalPathSequence = sequence(path)
    ds.NumberOfOpticalPaths = 1


def _srgb() -> bytes:
    """The sRGB profile with a fixed date (header bytes 24 to 35) and no profile id (84 to 99), so that it is
    always the same; padded to even length."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = b"\x07\xe8\x00\x02\x00\x1d\x00\x0c\x00\x00\x00\x00"
    profile[84:100] = bytes(16)
    return bytes(profile) + b"\x00" * (len(profile) % 2)


def _set_dimensions(ds: Dataset, slide: Slide, level: Level) -> None:
    """Multi-frame dimension and shared functional groups; TILED_FULL needs none per frame."""
    ds.DimensionOrganizationType = "TILED_FULL"
    organization = Dataset()
    organization.DimensionOrganizationUID = derived_uid(slide.key, "dimensions")
    ds.DimensionOrganizationSequence = sequence(organization)
    measures = Dataset()
    measures.PixelSpacing = [level.microns / 1000, level.microns / 1000]
    measures.SliceThickness = 0.001
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    frame_type = Dataset()
    frame_type.FrameType = ds.ImageType
    shared = Dataset()
    shared.PixelMeasuresSequence = sequence(measures)
    shared.OpticalPathIdentificationSequence = sequence(path)
    shared.WholeSlideMicroscopyImageFrameTypeSequence = sequence(frame_type)
    ds.SharedFunctionalGroupsSequence = sequence(shared)
