"""How fast objects become what an encoder takes, beside the plain way, and whether they stay the same.

    python tests/benchmarks/bench_pixels.py [--runs 5] [--bundle FOLDER]

Plain: pydicom reads the whole object and decodes it at full size, then the bundle's own operations. Fast:
what the node does, by `read_study` with a pool of decoding children, from objects that it has identified on
receipt. Both from the path of the file to the tensor, in one run, taking turns; medians in milliseconds.
`cpu` is the processor time of this process and its children, which other work on the machine changes less
than wall time; `cores` is that of the fast way by its wall time: how many cores it kept busy. `cosine`
compares the embeddings of the two by the bundle's encoder. Images: the chest radiograph among the samples,
enlarged to 2048 x 2048 with 16 bits and a little noise; its CT slices.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs alone, from any folder

from dicom_node.bundle.manifest import Encoder
from dicom_node.bundle.store import open_bundle
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.inference.protocol import EMBEDDING, IMAGE_INPUT
from dicom_node.pixels.contained import DecoderPool, cores
from dicom_node.pixels.ground import Loaded
from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.ops import Patch, compile_operations
from dicom_node.pixels.radiograph import display
from dicom_node.pixels.select import read_study
from dicom_node.records import Box, Instance
from tests.support.tree import ROOT

SAMPLES = ROOT / "dicom_node" / "assets" / "samples"
TARGETS: Mapping[str, float] = {
    "JPEG 2000": 15.0,
    "HTJ2K": 10.0,
    "JPEG-LS": 3.0,
    "RLE": 5.0,
    "one slice of 100": 20.0,
}
"""Times as fast as the plain way, at least."""
MIN_COSINE = 0.995


@dataclass(frozen=True, slots=True)
class Taken:
    """Milliseconds, medians."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    plain: Taken
    fast: Taken
    cosine: float | None


def large_radiograph() -> tuple[Dataset, NDArray[np.uint16]]:
    """The sample's header, and 2048 x 2048 values of 16 bits."""
    ds = dcmread(SAMPLES / "xray" / "chest-pa.dcm")
    small = Image.fromarray(ds.pixel_array.astype(np.float32))
    pixels = np.asarray(small.resize((2048, 2048), Image.Resampling.BICUBIC))
    pixels = (pixels - pixels.min()) / np.ptp(pixels) * 60000
    noise = np.random.default_rng(1).normal(0, 40, pixels.shape)
    return ds, np.clip(pixels + noise, 0, 65535).astype(np.uint16)


def encodings(pixels: NDArray[np.uint16]) -> dict[str, tuple[UID, bytes, NDArray[Any]]]:
    """Each syntax: its UID, the encoded frame, and the values that it stands for."""
    bytes_only = (pixels >> 8).astype(np.uint8)
    return {
        "uncompressed": (ExplicitVRLittleEndian, pixels.tobytes(), pixels),
        "JPEG 2000": (JPEG2000Lossless, imagecodecs.jpeg2k_encode(pixels, codecformat="J2K"), pixels),
        "HTJ2K": (HTJ2KLossless, imagecodecs.htj2k_encode(pixels), pixels),
        "JPEG-LS": (JPEGLSLossless, imagecodecs.jpegls_encode(pixels), pixels),
        "JPEG lossless": (
            JPEGLosslessSV1,
            imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=16),
            pixels,
        ),
        "RLE": (RLELossless, b"", pixels),
        "JPEG, 8 bits": (JPEGBaseline8Bit, imagecodecs.jpeg8_encode(bytes_only, level=90), bytes_only),
    }


def write_radiographs(folder: Path) -> dict[str, Path]:
    """One file of each syntax."""
    header, pixels = large_radiograph()
    paths = {}
    for name, (syntax, data, values) in encodings(pixels).items():
        ds = deepcopy(header)
        ds.SOPInstanceUID = generate_uid()
        ds.Rows, ds.Columns = values.shape
        ds.BitsAllocated = ds.BitsStored = 8 * values.itemsize
        ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
        ds.WindowCenter, ds.WindowWidth = (30000, 60000) if values.itemsize == 2 else (117, 234)
        for keyword in ("VOILUTSequence", "VOILUTFunction", "RescaleSlope", "RescaleIntercept"):
            if keyword in ds:
                del ds[keyword]
        _put(ds, syntax, data, values)
        paths[name] = folder / f"{name.replace(' ', '-')}.dcm"
        ds.save_as(paths[name], enforce_file_format=True)
    return paths


def _put(ds: Dataset, syntax: UID, data: bytes, values: NDArray[Any]) -> None:
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    if syntax == RLELossless:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.PixelData = values.tobytes()
        uid = ds.SOPInstanceUID
        ds.compress(RLELossless, values)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
        return
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([bytes(data)]) if syntax.is_encapsulated else data
    ds["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"


def write_series(folder: Path, count: int) -> list[Path]:
    """Uncompressed CT slices of 512 x 512, made of the samples'."""
    files = [dcmread(path) for path in sorted((SAMPLES / "ct").glob("*.dcm"))]
    arrays = [
        np.asarray(
            Image.fromarray(f.pixel_array.astype(np.float32)).resize((512, 512), Image.Resampling.BICUBIC)
        ).astype(np.int16)
        for f in files
    ]
    paths, series = [], generate_uid()
    for index in range(count):
        ds = deepcopy(files[index % len(files)])
        ds.SeriesInstanceUID, ds.SOPInstanceUID, ds.InstanceNumber = series, generate_uid(), index + 1
        ds.ImagePositionPatient = [-180, -180, float(index)]
        ds.Rows = ds.Columns = 512
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        _put(ds, ExplicitVRLittleEndian, arrays[index % len(arrays)].tobytes(), arrays[0])
        paths.append(folder / f"{index:03}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def write_multi_frame(folder: Path, count: int) -> Path:
    """The same as one Enhanced CT object, uncompressed; enough of one for reading."""
    slices = [dcmread(path) for path in write_series(folder, count)]
    first = slices[0]
    ds = deepcopy(first)
    ds.SOPClassUID, ds.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    ds.NumberOfFrames = count
    ds.SharedFunctionalGroupsSequence = [Dataset()]
    frames = []
    for one in slices:
        place, plane, scale, item = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = one.ImagePositionPatient
        plane.ImageOrientationPatient = one.ImageOrientationPatient
        scale.RescaleSlope, scale.RescaleIntercept = one.RescaleSlope, one.RescaleIntercept
        scale.RescaleType = "HU"
        item.PlanePositionSequence, item.PlaneOrientationSequence = [place], [plane]
        item.PixelValueTransformationSequence = [scale]
        frames.append(item)
    ds.PerFrameFunctionalGroupsSequence = frames
    _put(ds, ExplicitVRLittleEndian, b"".join(one.PixelData for one in slices), slices[0].pixel_array)
    path = folder / "enhanced.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def plain_radiograph(path: Path, encoder: Encoder) -> NDArray[np.float32]:
    """The whole file by pydicom, full size, then the bundle's operations."""
    ds = dcmread(path)
    values, _ = display(Loaded(read_instance(path), ds), ds.pixel_array)
    return prepared(values, encoder)


def prepared(values: NDArray[np.float32], encoder: Encoder) -> NDArray[np.float32]:
    """The operations on a whole image."""
    rows, columns = values.shape[:2]
    return compile_operations(encoder.preprocess)(Patch(values, Box(0, 0, columns, rows))).values


def plain_slice(path: Path, index: int, encoder: Encoder) -> NDArray[np.float32]:
    """One slice of a multi-frame object by pydicom: the file is read and all its frames are decoded."""
    ds = dcmread(path)
    scale = ds.PerFrameFunctionalGroupsSequence[index].PixelValueTransformationSequence[0]
    stored = ds.pixel_array[index].astype(np.float32)
    return prepared(stored * float(scale.RescaleSlope) + float(scale.RescaleIntercept), encoder)


def processor_seconds() -> float:
    """What this process and its children have used, ended threads included."""
    children = psutil.Process().children()
    # The clock of another process, as clock_getcpuclockid(3) makes its number.
    return time.process_time() + sum(time.clock_gettime((~child.pid << 3) | 2) for child in children)


def medians(runs: int, *ways: Callable[[], object]) -> list[Taken]:
    """What each way takes; they take turns so that the machine's moods meet all alike."""
    taken: list[list[tuple[float, float]]] = [[] for _ in ways]
    for run in range(runs + 1):
        for way, times in zip(ways, taken, strict=True):
            used, began = processor_seconds(), time.perf_counter()
            way()
            wall = time.perf_counter() - began
            if run:  # the first warms caches and children
                times.append((1000 * wall, 1000 * (processor_seconds() - used)))
    return [Taken(*(statistics.median(column) for column in zip(*times, strict=True))) for times in taken]


def cosine(runner: OnnxRunner, one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of the two embeddings."""
    a, b = runner.run({IMAGE_INPUT: np.stack([one, other])})[EMBEDDING]
    return float(a @ b)


def measure(folder: Path, bundle: Path, runs: int) -> list[Row]:
    """All rows."""
    manifest = open_bundle(bundle).manifest
    xray, ct = manifest.encoders["xray"], manifest.encoders["ct"]
    xray_runner = OnnxRunner(bundle / xray.file, threads=1)
    ct_runner = OnnxRunner(bundle / ct.file, threads=1)
    rows = []
    with DecoderPool(cores()) as pool:

        def fast(objects: Sequence[Instance], modality: str, encoder: Encoder) -> list[NDArray[np.float32]]:
            read = read_study(objects, {modality: encoder}, pool)
            return [sample.values for view in read.views for sample in view.samples]

        for name, path in write_radiographs(folder).items():
            known = [read_instance(path)]
            plain, quick = medians(
                runs, lambda p=path: plain_radiograph(p, xray), lambda k=known: fast(k, "xray", xray)
            )
            same = cosine(xray_runner, plain_radiograph(path, xray), fast(known, "xray", xray)[0])
            rows.append(Row(name, plain, quick, same))
        enhanced = write_multi_frame(folder, 100)
        known = [read_instance(enhanced)]
        single = ct.model_copy(update={"sampling": {**ct.sampling, "slices": 1}})
        plain, quick = medians(runs, lambda: plain_slice(enhanced, 50, ct), lambda: fast(known, "ct", single))
        same = cosine(ct_runner, plain_slice(enhanced, 50, ct), fast(known, "ct", single)[0])
        rows.append(Row("one slice of 100", plain, quick, same))
        series = write_series(folder, 300)
        slices = [read_instance(path) for path in series]

        def plain_series() -> list[NDArray[np.float32]]:
            done = []
            for ds in sorted(map(dcmread, series), key=lambda d: d.ImagePositionPatient[2]):
                hu = ds.pixel_array.astype(np.float32) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
                done.append(prepared(hu, ct))
            return done

        def raw_bytes() -> None:
            for path in series:
                path.read_bytes()

        plain, quick, disk = medians(
            max(2, runs // 2), plain_series, lambda: fast(slices, "ct", ct), raw_bytes
        )
        rows.append(Row("300 CT slices", plain, quick, None))
        rows.append(Row("300 CT slices, bytes alone", disk, disk, None))
    return rows


def table(rows: Sequence[Row]) -> Table:
    """For people."""
    drawn = Table(box=None)
    titles = (
        "",
        "plain ms",
        "fast ms",
        "times",
        "plain cpu",
        "fast cpu",
        "times",
        "target",
        "cores",
        "cosine",
    )
    for title in titles:
        drawn.add_column(title, justify="left" if not title else "right")
    for row in rows:
        target = TARGETS.get(row.name)
        drawn.add_row(
            row.name,
            f"{row.plain.wall:.1f}",
            f"{row.fast.wall:.1f}",
            f"{row.plain.wall / row.fast.wall:.1f}",
            f"{row.plain.cpu:.1f}",
            f"{row.fast.cpu:.1f}",
            f"{row.plain.cpu / row.fast.cpu:.1f}",
            "" if target is None else f"{target:g}",
            f"{row.fast.cpu / row.fast.wall:.1f}",
            "" if row.cosine is None else f"{row.cosine:.4f}",
        )
    return drawn


def main() -> None:
    """Print the table; exit status 1 where a target or the cosine is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bundle", type=Path, default=ROOT / "dicom_node" / "assets" / "m3bind-mini")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), chosen.bundle, chosen.runs)
    Console(width=110).print(table(rows))
    missed = [r.name for r in rows if r.plain.wall / r.fast.wall < TARGETS.get(r.name, 0.0)]
    changed = [r.name for r in rows if r.cosine is not None and r.cosine < MIN_COSINE]
    if missed or changed:
        print(f"missed: {', '.join(missed) or 'none'}; not the same image: {', '.join(changed) or 'none'}")
        sys.exit(1)


if __name__ == "__main__":
    main()
