"""The sample whole-slide image: two levels as VL Whole Slide Microscopy Image Storage (PS3.3 A.32.8)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage
from sample_base import Person, code, derived_uid, new_object, save, sequence, set_lossy, set_pixels

PERSON = Person("Demo^Slide", "M3B-DEMO-PATHOLOGY", "19550101", "O")
MICRONS_PER_PIXEL = 0.499  # "MPP" of the source
TILE = 240  # of the source
REDUCTION = 4
# Place of the region on the glass in mm: "Left", "Top" and the region's offset of the source's description.
X_OFFSET = 25.691574 + 42673 * MICRONS_PER_PIXEL / 1000
Y_OFFSET = 23.449873 + 5576 * MICRONS_PER_PIXEL / 1000

# APP14 "Adobe", transform 0: the three components are red, green and blue. Readers that do not look at the
# DICOM photometric interpretation would otherwise take them for YCbCr.
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


def make_slide(source: Path, out: Path) -> None:
    """Write the full resolution with the scanner's own JPEG tiles, and a level reduced by four."""
    with tifffile.TiffFile(source) as tiff:
        page = tiff.pages[0]
        if (
            not isinstance(page, tifffile.TiffPage)
            or page.tile != (TILE, TILE)
            or page.photometric != tifffile.PHOTOMETRIC.RGB
        ):
            raise SystemExit(f"{source.name} is not the slide this was written for")
        whole = page.asarray()
        tables = bytes(page.jpegtables or b"")
        frames = [
            _join(tables, tiff.filehandle.read(count))
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            if tiff.filehandle.seek(offset) == offset
        ]
    ds = _new_level(1, whole.shape[0], whole.shape[1], MICRONS_PER_PIXEL, frames, "RGB")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    _set_frame_type(ds)
    save(ds, out / "pathology" / "level-0.dcm")

    height, width = whole.shape[0] // REDUCTION, whole.shape[1] // REDUCTION
    reduced = np.asarray(Image.fromarray(whole[: height * REDUCTION, : width * REDUCTION]).reduce(REDUCTION))
    tiles = [_encode(tile) for tile in _cut(reduced)]
    ds = _new_level(2, height, width, MICRONS_PER_PIXEL * REDUCTION, tiles, "YBR_FULL_422")
    ds.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    _set_frame_type(ds)
    save(ds, out / "pathology" / "level-1.dcm")


def _join(tables: bytes, tile: bytes) -> bytes:
    """An abbreviated JPEG stream of a TIFF and its tables as one complete stream that says it is RGB."""
    return b"\xff\xd8" + ADOBE_RGB + tables[2:-2] + tile[2:]


def _cut(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Tiles of (TILE, TILE, 3), row by row, the last ones filled up with white."""
    rows, columns = (-(-size // TILE) for size in pixels.shape[:2])
    full = np.full((rows * TILE, columns * TILE, 3), 255, dtype=np.uint8)
    full[: pixels.shape[0], : pixels.shape[1]] = pixels
    return [
        full[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE]
        for r in range(rows)
        for c in range(columns)
    ]


def _encode(tile: NDArray[np.uint8]) -> bytes:
    """JPEG baseline, YCbCr with the chroma halved along rows (4:2:2)."""
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, format="JPEG", quality=90, subsampling="4:2:2")
    return buffer.getvalue()


def _new_level(
    number: int, height: int, width: int, microns: float, frames: list[bytes], photometric: str
) -> Dataset:
    """One level of the pyramid, TILED_FULL (PS3.3 C.7.6.17.3), all but its image type."""
    ds = new_object(
        "pathology", "1", number, VLWholeSlideMicroscopyImageStorage, JPEGBaseline8Bit, PERSON, "SM"
    )
    ds.StudyDescription = "Whole-slide image"
    ds.SeriesDescription = "Skin, H&E"
    ds.Manufacturer = "Aperio"
    ds.ManufacturerModelName = "ScanScope"
    ds.DeviceSerialNumber = "CPAPERIOCS"
    ds.SoftwareVersions = "Aperio Image Library v11.2.1"
    ds.AcquisitionDateTime = "20240229120000"
    ds.FrameOfReferenceUID = derived_uid("pathology", "frame of reference")
    ds.PositionReferenceIndicator = "SLIDE_CORNER"
    set_pixels(ds, TILE, TILE, photometric, 8, 8)
    ds.NumberOfFrames = len(frames)
    ds.BurnedInAnnotation = "NO"
    set_lossy(ds, len(frames) * TILE * TILE * 3 / sum(len(frame) for frame in frames))
    ds.VolumetricProperties = "VOLUME"
    ds.SpecimenLabelInImage = "NO"
    ds.FocusMethod = "AUTO"
    ds.ExtendedDepthOfField = "NO"
    ds.AcquisitionDuration = 0.0
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = height, width
    ds.TotalPixelMatrixFocalPlanes = 1
    ds.ImagedVolumeWidth = width * microns / 1000
    ds.ImagedVolumeHeight = height * microns / 1000
    ds.ImagedVolumeDepth = 1.0
    ds.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = f"{X_OFFSET:.6f}"
    origin.YOffsetInSlideCoordinateSystem = f"{Y_OFFSET:.6f}"
    ds.TotalPixelMatrixOriginSequence = sequence(origin)
    _set_specimen(ds)
    _set_optical_path(ds)
    _set_dimensions(ds, microns)
    ds.PixelData = encapsulate(frames, has_bot=True)
    ds["PixelData"].VR = "OB"
    return ds


def _set_specimen(ds: Dataset) -> None:
    """Specimen module (PS3.3 C.7.6.22): one glass slide. How it was prepared is not known."""
    ds.ContainerIdentifier = "DEMO-SLIDE-1"
    ds.IssuerOfTheContainerIdentifierSequence = sequence()
    ds.ContainerTypeCodeSequence = sequence(code("433466003", "SCT", "Microscope slide"))
    specimen = Dataset()
    specimen.SpecimenIdentifier = "DEMO-SPECIMEN-1"
    specimen.IssuerOfTheSpecimenIdentifierSequence = sequence()
    specimen.SpecimenUID = derived_uid("pathology", "specimen")
    specimen.SpecimenPreparationSequence = sequence()
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


def _set_dimensions(ds: Dataset, microns: float) -> None:
    """Multi-frame dimension and shared functional groups; TILED_FULL needs none per frame."""
    ds.DimensionOrganizationType = "TILED_FULL"
    organization = Dataset()
    organization.DimensionOrganizationUID = derived_uid("pathology", "dimensions")
    ds.DimensionOrganizationSequence = sequence(organization)
    measures = Dataset()
    measures.PixelSpacing = [microns / 1000, microns / 1000]
    measures.SliceThickness = 0.001
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    shared = Dataset()
    shared.PixelMeasuresSequence = sequence(measures)
    shared.OpticalPathIdentificationSequence = sequence(path)
    ds.SharedFunctionalGroupsSequence = sequence(shared)


def _set_frame_type(ds: Dataset) -> None:
    frame_type = Dataset()
    frame_type.FrameType = ds.ImageType
    ds.SharedFunctionalGroupsSequence[0].WholeSlideMicroscopyImageFrameTypeSequence = sequence(frame_type)
