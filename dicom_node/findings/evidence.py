"""Where in the source the model found what it says.

An encoder's `evidence` map holds local vectors whose mean points the way of the embedding, so a finding's
margin is exactly the sum of its local contributions (`contributions`). The region drawn is the connected
area around the strongest of them; nothing is drawn that is not in the map.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Pooling
from dicom_node.findings.outline import outer_outline
from dicom_node.findings.score import pooled_samples
from dicom_node.records import Box, Evidence, Sample, SourceRef, View, ViewVectors

Mask = NDArray[np.bool_]

EXTENT = 0.5
"""A cell belongs to the region down to this part of the strongest contribution (width at half maximum)."""

MOST_SAMPLES = 3
"""Of a series or a slide, regions are drawn in this many samples at most: the strongest ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A connected part of an evidence map."""

    mask: Mask
    """(h, w)"""
    share: float
    """Part of all positive contributions that lies inside, 0 to 1."""


def contributions(evidence: NDArray[np.float32], direction: NDArray[np.float32]) -> NDArray[np.float64]:
    """(h, w) parts of a finding's margin; their sum is the margin of this sample.

    `evidence` (h, w, D), not normalised; `direction` (D,) is the affirmed less the negated anchor.
    """
    local = evidence.astype(np.float64)
    cells = local.shape[0] * local.shape[1]
    length = float(np.linalg.norm(local.mean(axis=(0, 1))))
    return np.asarray(local @ direction.astype(np.float64) / (cells * max(length, 1e-12)))


def strongest_region(parts: NDArray[np.float64], drawable: Mask) -> Region | None:
    """The connected cells (4-neighbours) around the strongest one among `drawable`, both (h, w).

    None where no drawable cell contributes.
    """
    allowed = np.where(drawable, parts, -np.inf)
    peak = np.unravel_index(int(np.argmax(allowed)), parts.shape)
    highest = allowed[peak]
    if not highest > 0:
        return None
    mask = _fill_holes(_connected(allowed >= EXTENT * highest, (int(peak[0]), int(peak[1]))))
    positive = np.maximum(parts, 0.0)
    return Region(mask, float(positive[mask].sum() / positive.sum()))


def find_evidence(
    view: View,
    vectors: ViewVectors,
    direction: NDArray[np.float32],
    pooling: Pooling,
    demanded: float,
) -> tuple[Evidence, ...]:
    """Regions of one finding, of the strongest sample first; empty where the encoder gives no map.

    `demanded` is the margin at which the finding is spoken of at all. It is spread evenly over the map and
    taken off, so that cells that merely carry the constant part of the margin are no evidence.
    """
    if vectors.evidence is None:
        return ()
    margins = vectors.embeddings @ direction
    found: list[Evidence] = []
    for index in pooled_samples(margins, pooling)[:MOST_SAMPLES]:
        if found and margins[index] < demanded:
            break
        local = vectors.evidence[index]
        parts = contributions(local, direction)
        if np.isfinite(demanded):
            parts = parts - demanded / parts.size
        drawn = _draw(view, view.samples[index], parts, local)
        if drawn is not None:
            found.append(drawn)
    return tuple(found)


def region_embedding(local: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """(D,), unit norm: the mean of an evidence map (h, w, D) within a region (h, w)."""
    mean = local[mask].mean(axis=0, dtype=np.float64)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def _draw(
    view: View, sample: Sample, parts: NDArray[np.float64], local: NDArray[np.float32]
) -> Evidence | None:
    source = sample.evidence_source or sample.source
    if sample.span is not None:
        return _draw_span(source, parts, local, sample.span, view.duration)
    if sample.box is None or view.source_size is None:
        return None
    if sample.swapped:
        parts, local = parts.T, local.swapaxes(0, 1)
    region = strongest_region(parts, _inside(parts.shape, sample.box, view.source_size))
    if region is None:
        return None
    outline = _to_source(outer_outline(region.mask), parts.shape, sample.box, view.source_size)
    return Evidence(
        source, outline=outline, share=region.share, embedding=region_embedding(local, region.mask)
    )


def _draw_span(
    source: SourceRef,
    parts: NDArray[np.float64],
    local: NDArray[np.float32],
    span: tuple[float, float],
    duration: float | None,
) -> Evidence | None:
    """As of an image: cells of which less than half lies within the recording are never drawn, and a drawn
    one ends where the recording does."""
    last = math.inf if duration is None else duration
    drawable = _overlap(parts.shape[1], *span, last) >= 0.5
    region = strongest_region(parts.mean(axis=0, keepdims=True), drawable[None])
    if region is None:
        return None
    start, end = _to_span(region, span)
    columns = np.broadcast_to(region.mask, local.shape[:2])
    return Evidence(
        source,
        span=(start, min(end, last)),
        share=region.share,
        embedding=region_embedding(local, columns),
    )


def _to_span(region: Region, span: tuple[float, float]) -> tuple[float, float]:
    columns = np.flatnonzero(region.mask[0])
    step = (span[1] - span[0]) / region.mask.shape[1]
    return (span[0] + float(columns[0]) * step, span[0] + float(columns[-1] + 1) * step)


def _inside(shape: tuple[int, ...], box: Box, size: tuple[int, int]) -> Mask:
    """(h, w): cells of which at least half the width and half the height lie on the source, not in
    padding."""
    rows = _overlap(shape[0], box.top, box.bottom, size[0])
    columns = _overlap(shape[1], box.left, box.right, size[1])
    return np.asarray(np.outer(rows >= 0.5, columns >= 0.5))


def _overlap(cells: int, low: float, high: float, size: float) -> NDArray[np.float64]:
    """(cells,) part of each cell of the stretch `low`..`high`, which may run backwards, within 0..`size`."""
    edges = np.linspace(low, high, cells + 1)
    first, last = np.minimum(edges[:-1], edges[1:]), np.maximum(edges[:-1], edges[1:])
    inside = np.minimum(last, size) - np.maximum(first, 0.0)
    return np.asarray(np.maximum(inside, 0.0) / (last - first))


def _to_source(
    outline: list[tuple[int, int]], shape: tuple[int, ...], box: Box, size: tuple[int, int]
) -> tuple[tuple[float, float], ...]:
    """Corners (column, row) in cells to (column, row) in source pixels, clipped to the source."""
    across = (box.right - box.left) / shape[1]
    down = (box.bottom - box.top) / shape[0]
    return tuple(
        (
            min(max(box.left + column * across, 0.0), float(size[1])),
            min(max(box.top + row * down, 0.0), float(size[0])),
        )
        for column, row in outline
    )


def _connected(mask: Mask, start: tuple[int, int]) -> Mask:
    """The 4-connected part of `mask` that holds `start`."""
    reached = np.zeros_like(mask)
    reached[start] = True
    queue = deque([start])
    while queue:
        row, column = queue.popleft()
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1] and mask[r, c] and not reached[r, c]:
                reached[r, c] = True
                queue.append((r, c))
    return reached


def _fill_holes(mask: Mask) -> Mask:
    """With every cell that the outer border encloses: an outline is one polygon, it has no holes."""
    padded = np.pad(~mask, 1, constant_values=True)
    outside = np.zeros_like(padded)
    outside[0, 0] = True
    queue = deque([(0, 0)])
    while queue:
        row, column = queue.popleft()
        for r in range(max(row - 1, 0), min(row + 2, padded.shape[0])):
            for c in range(max(column - 1, 0), min(column + 2, padded.shape[1])):
                if padded[r, c] and not outside[r, c]:
                    outside[r, c] = True
                    queue.append((r, c))
    return ~outside[1:-1, 1:-1]
