"""Pictures that no encoder was made for, drawn from numbers alone: blank frames, noise, pages, test phantoms,
and rough bodies other than a chest. All are (H, W) float32, 0 to 1, bright is dense.

They stand in for what a node is sent by mistake. None of them looks real; an encoder's first layers, which
know edges, letters and tubes from natural images, tell them and their real likes from a chest all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Floats = NDArray[np.float32]
Random = np.random.Generator
Draw = Callable[[Random], Floats]

SIZE = 224
"""Rows and columns of a picture: what most encoders see anyway."""
WORDS = "patient report history normal the of and in with left right dose no chart page total name date"


def blank(random: Random) -> Floats:
    """One grey, or a ramp from one to another, sometimes with the faint noise of a detector."""
    low, high = np.sort(random.uniform(0, 1, 2)) if random.random() < 0.5 else [random.uniform(0, 1)] * 2
    across, down = _grid()
    angle = random.uniform(0, 2 * np.pi)
    ramp = (across * np.cos(angle) + down * np.sin(angle)) / 2.9 + 0.5
    picture = low + (high - low) * ramp
    if random.random() < 0.5:
        picture = picture + random.normal(0, random.choice([0.002, 0.01, 0.03]), picture.shape)
    return _unit(picture)


def noise(random: Random) -> Floats:
    """Independent pixels, or blobs of any size, or a few lone bright pixels."""
    kind = random.integers(3)
    if kind == 0:
        return _unit(random.normal(random.uniform(0.2, 0.8), random.uniform(0.05, 0.4), (SIZE, SIZE)))
    if kind == 1:
        return _unit((random.random((SIZE, SIZE)) < random.uniform(0.002, 0.2)).astype(np.float64))
    return _unit(_clouds(random, random.uniform(0, 2.5)))


def page(random: Random) -> Floats:
    """A page of text, a form or a chart, flat or photographed at a slant, white or (a screen) black."""
    paper = Image.new("L", (SIZE, SIZE), 255)
    pen = ImageDraw.Draw(paper)
    margin = int(random.integers(4, 30))
    size = int(random.integers(7, 26))
    font = ImageFont.load_default(size)
    words = WORDS.split()
    y = margin
    while y < SIZE - margin:
        line = " ".join(random.choice(words, int(random.integers(1, 12))))
        pen.text((margin, y), line, fill=int(random.integers(0, 90)), font=font)
        y += round(size * random.uniform(1.1, 2.2))
    if random.random() < 0.4:
        _table(pen, random)
    if random.random() < 0.4:
        _chart(pen, random)
    picture = np.asarray(paper, dtype=np.float64) / 255.0
    if random.random() < 0.3:
        picture = 1.0 - picture
    if random.random() < 0.6:
        picture = _slanted(picture, random)
        across, down = _grid()
        light = 1 + random.uniform(-0.4, 0.4) * across + random.uniform(-0.4, 0.4) * down
        picture = picture * random.uniform(0.6, 1.0) * light + random.normal(0, 0.02, picture.shape)
    return _unit(picture)


def phantom(random: Random) -> Floats:
    """A test object: discs, bars of several widths, steps, rings or a grid on an even ground."""
    ground, picture = random.uniform(0, 0.6), np.zeros((SIZE, SIZE))
    across, down = _grid()
    frame = np.maximum(abs(across), abs(down)) if random.random() < 0.5 else np.hypot(across, down)
    picture += ground * (frame < random.uniform(0.7, 1.5))
    for _ in range(int(random.integers(1, 5))):
        kind, level = random.integers(5), random.uniform(-0.6, 0.8)
        x, y, reach = *random.uniform(-0.7, 0.7, 2), random.uniform(0.08, 0.5)
        inside = (abs(across - x) < reach) & (abs(down - y) < reach)
        if kind == 0:
            for step in range(int(random.integers(1, 9))):
                angle = step * np.pi / 4
                disc = np.hypot(across - x - reach * np.cos(angle), down - y - reach * np.sin(angle))
                picture += level * (disc < 0.1 * (step + 2) * reach)
        elif kind == 1:
            along = across if random.random() < 0.5 else down
            picture += level * inside * (np.sin(along * random.uniform(15, 200)) > 0)
        elif kind == 2:
            picture += level * inside * np.floor((across - x + reach) / (2 * reach) * 8) / 8
        elif kind == 3:
            picture += level * (np.sin(np.hypot(across - x, down - y) * random.uniform(15, 80)) > 0.8)
        else:
            pitch = random.uniform(15, 60)
            picture += level * ((np.sin(across * pitch) > 0.95) | (np.sin(down * pitch) > 0.95))
    return _unit(picture + random.normal(0, random.uniform(0, 0.05), picture.shape))


def scene(random: Random) -> Floats:
    """A photograph of things: overlapping shapes of even brightness with texture, light and shadow."""
    picture = _clouds(random, 1.5) * random.uniform(0, 0.6) + random.uniform(0, 0.5)
    across, down = _grid()
    for _ in range(int(random.integers(3, 14))):
        x, y, angle = *random.uniform(-1, 1, 2), random.uniform(0, np.pi)
        u = (across - x) * np.cos(angle) + (down - y) * np.sin(angle)
        v = (down - y) * np.cos(angle) - (across - x) * np.sin(angle)
        wide, high = random.uniform(0.05, 0.7, 2)
        shape = (
            np.hypot(u / wide, v / high) < 1 if random.random() < 0.5 else (abs(u) < wide) & (abs(v) < high)
        )
        fill = (
            random.uniform(0, 1) + random.uniform(-0.5, 0.5) * u + 0.2 * _clouds(random, random.uniform(0, 2))
        )
        picture = np.where(shape, fill, picture)
    return _unit(picture + random.normal(0, 0.01, picture.shape))


def limb(random: Random) -> Floats:
    """Rough shadow of an arm, a leg, a joint, a hand or a foot: bone within flesh, on an empty ground."""
    angle, x, y = random.uniform(0, 2 * np.pi), *random.uniform(-0.3, 0.3, 2)
    flesh, bone = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
    rays = int(random.choice([1, 1, 2, 4, 5]))
    thick = random.uniform(0.25, 0.55) if rays < 3 else random.uniform(0.07, 0.13)
    for ray in range(rays):
        turn = angle + (ray - (rays - 1) / 2) * random.uniform(0.15, 0.35) * (rays > 2)
        bend = random.uniform(-0.6, 0.6) if rays < 3 else random.uniform(-0.1, 0.1)
        step = np.array([np.cos(turn), np.sin(turn)])
        start = np.array([x, y]) + step * (random.uniform(-1.4, -0.6) if rays < 3 else 0.1)
        if rays == 2:
            start = start + np.array([-step[1], step[0]]) * (ray - 0.5) * thick * 1.5
        for _ in range(int(random.integers(2, 5))):
            length = random.uniform(0.5, 1.3) if rays < 3 else random.uniform(0.25, 0.5)
            end = start + step * length
            distance, along = _to_segment(start, end)
            flesh = np.maximum(flesh, _tube(distance, thick * (1 + 0.2 * along)))
            width = thick * random.uniform(0.25, 0.5) * (0.75 + 0.9 * abs(along - 0.5) ** 1.5 * 2)
            bone += _tube(distance, width) - 0.7 * _tube(distance, width * random.uniform(0.55, 0.8))
            start = end + step * random.uniform(0.01, 0.05)
            turn += bend
            step = np.array([np.cos(turn), np.sin(turn)])
    if rays > 2:  # palm or sole
        back = np.array([x - 0.4 * np.cos(angle), y - 0.4 * np.sin(angle)])
        distance, _ = _to_segment(np.array([x, y]), back)
        flesh = np.maximum(flesh, _tube(distance, 0.4))
    return _exposed(random.uniform(0.3, 0.9) * flesh + random.uniform(0.8, 2.5) * bone, random)


def trunk(random: Random) -> Floats:
    """Rough shadow of a skull, a pelvis, a belly or a spine: dense in the middle, without lungs."""
    across, down = _grid()
    angle, wide, high = random.uniform(-0.3, 0.3), random.uniform(0.6, 1.1), random.uniform(0.7, 1.2)
    u = across * np.cos(angle) + down * np.sin(angle)
    v = down * np.cos(angle) - across * np.sin(angle)
    body = _tube(np.hypot(u / wide, v / high), 1.0)
    kind, bone = random.integers(3), np.zeros((SIZE, SIZE))
    if kind == 0:  # skull: a shell, and a base
        bone += body - 0.9 * _tube(np.hypot(u / wide, v / high), random.uniform(0.88, 0.96))
        bone += 0.4 * _clouds(random, 1.8) * (v > 0.2) * body
    elif kind == 1:  # a column of vertebrae
        bone += 0.5 * (abs(u) < 0.14) * (0.6 + 0.4 * (np.sin(v * random.uniform(12, 25)) > -0.6))
    else:  # two wings, two heads
        for side in (-1, 1):
            ring = np.hypot((u - side * 0.5) / 0.45, (v + 0.2) / 0.5)
            bone += 0.6 * (_tube(ring, 1.0) - 0.7 * _tube(ring, 0.8))
            bone += 0.5 * _tube(np.hypot(u - side * 0.65, v - 0.45), 0.17)
    gas = 0.35 * np.maximum(_clouds(random, 1.6) - 0.6, 0) * random.uniform(0, 2) * (kind > 0)
    return _exposed(random.uniform(0.5, 1.4) * body * (1 - gas) + random.uniform(0.3, 1.2) * bone, random)


def head_slice(random: Random) -> Floats:
    """HU, rough: a skull with brain and ventricles, its base with air cells, or a neck; table or headrest."""
    across, down = _grid()
    scale, angle = random.uniform(0.55, 0.95), random.uniform(-0.3, 0.3)
    x, y = random.uniform(-0.1, 0.1, 2)
    u = ((across - x) * np.cos(angle) + (down - y) * np.sin(angle)) / scale
    v = ((down - y) * np.cos(angle) - (across - x) * np.sin(angle)) / scale
    shell = np.hypot(u / random.uniform(0.72, 0.85), v)
    inner = random.uniform(0.84, 0.93)
    hu = np.full((SIZE, SIZE), -1000.0)
    hu[shell < 1] = random.uniform(0, 60)
    hu[(shell < 0.97) & (shell > inner)] = random.uniform(700, 1600)
    brain = shell < inner
    hu[brain] = (35 + 12 * (_clouds(random, 1.5) - 0.5))[brain]
    if random.random() < 0.6:
        for side in (-1, 1):
            horn = np.hypot((u - side * random.uniform(0.08, 0.16)) / 0.09, (v + 0.1) / 0.3)
            hu[brain & (horn < 1)] = 5
        hu[brain & (abs(u) < 0.008)] = 60
    else:
        base = _clouds(random, 1.2)
        hu[brain & (base > 0.65)] = random.uniform(400, 1200)
        hu[brain & (base < random.uniform(0.15, 0.3))] = -900
        if random.random() < 0.5:
            for side in (-1, 1):
                hu[np.hypot(u - side * 0.32, v + 0.62) < 0.2] = -30
    if random.random() < 0.5:
        rest = abs(np.hypot(across - x, down - y) - random.uniform(1.0, 1.1)) < 0.02
        hu[rest & (down > y + 0.2)] = random.uniform(-200, 300)
    return (hu + random.normal(0, random.uniform(2, 15), hu.shape)).astype(np.float32)


def limb_slice(random: Random) -> Floats:
    """HU, rough: one or two round limbs across, each with one or two bones; or a neck with its airway."""
    across, down = _grid()
    hu = np.full((SIZE, SIZE), -1000.0)
    count = int(random.integers(1, 3))
    for index in range(count):
        x, y = (index - (count - 1) / 2) * random.uniform(0.8, 1.0), random.uniform(-0.2, 0.2)
        reach = random.uniform(0.25, 0.45) if count == 2 else random.uniform(0.3, 0.7)
        disc = np.hypot((across - x) / reach, (down - y) / (reach * random.uniform(0.8, 1.1)))
        hu[disc < 1] = -90
        hu[(disc < random.uniform(0.7, 0.95)) & (_clouds(random, 1.5) > 0.25)] = random.uniform(40, 70)
        for _ in range(int(random.integers(1, 3))):
            bone = np.hypot(across - x - random.uniform(-0.4, 0.4) * reach, down - y) / reach
            radius = random.uniform(0.15, 0.35)
            hu[bone < radius] = random.uniform(700, 1400)
            hu[bone < radius * random.uniform(0.4, 0.8)] = random.uniform(-50, 300)
        if random.random() < 0.3:
            hu[np.hypot(across - x, down - y + 0.4 * reach) < 0.15 * reach] = -1000
    return (hu + random.normal(0, random.uniform(5, 25), hu.shape)).astype(np.float32)


ANYWHERE: Mapping[str, Draw] = {
    "a blank frame": blank,
    "noise": noise,
    "a page of text or a chart": page,
    "a test object": phantom,
    "a photograph": scene,
}
"""Strange to every encoder, by what people would call it."""


def _grid() -> NDArray[np.float64]:
    """(2, SIZE, SIZE): across and down, each -1 to 1."""
    axis = np.linspace(-1, 1, SIZE)
    return np.stack(np.meshgrid(axis, axis))


def _unit(picture: NDArray[np.float64]) -> Floats:
    return np.clip(picture, 0.0, 1.0).astype(np.float32)


def _clouds(random: Random, steepness: float) -> NDArray[np.float64]:
    """Noise whose amplitude falls with frequency to the power `steepness`, 0 to 1."""
    white = np.fft.rfft2(random.normal(size=(SIZE, SIZE)))
    f = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    f[0, 0] = f[0, 1]
    field = np.fft.irfft2(white / f**steepness, s=(SIZE, SIZE))
    low, high = np.percentile(field, [1, 99])
    return np.asarray(np.clip((field - low) / (high - low), 0, 1))


def _to_segment(start: NDArray[np.float64], end: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Distance of every pixel to a segment, and where along it (0 to 1) the nearest point lies."""
    offset = _grid() - start[:, None, None]
    line = end - start
    along = np.clip(np.tensordot(line, offset, 1) / (line @ line), 0, 1)
    return np.hypot(*(offset - line[:, None, None] * along)), along


def _tube(distance: NDArray[np.float64], radius: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """What a ray passes through a round body, 0 to 1."""
    return np.asarray(np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1)))


def _exposed(thickness: NDArray[np.float64], random: Random) -> Floats:
    """A radiograph of what the ray passes: absorption, scatter, grain; maybe collimated, with a side mark."""
    picture = 1 - np.exp(-random.uniform(0.7, 2.0) * thickness)
    picture = picture + 0.03 * _clouds(random, 1.5) + random.normal(0, random.uniform(0, 0.02), picture.shape)
    if random.random() < 0.4:
        across, down = _grid()
        edge = random.uniform(0.6, 0.95, 2)
        picture[(abs(across) > edge[0]) | (abs(down) > edge[1])] = 0.0
    if random.random() < 0.4:
        mark = Image.fromarray(_unit(picture))
        place = tuple(random.integers(5, SIZE - 30, 2).tolist())
        letter = str(random.choice(["L", "R"]))
        ImageDraw.Draw(mark).text(place, letter, fill=1.0, font=ImageFont.load_default(20))
        picture = np.asarray(mark, dtype=np.float64)
    return _unit(picture)


def _table(pen: ImageDraw.ImageDraw, random: Random) -> None:
    left, top = random.integers(5, 80, 2).tolist()
    for row in range(int(random.integers(3, 9))):
        pen.line((left, top + 16 * row, SIZE - 10, top + 16 * row), fill=0)
    for column in range(int(random.integers(2, 6))):
        pen.line((left + 30 * column, top, left + 30 * column, top + 100), fill=0)


def _chart(pen: ImageDraw.ImageDraw, random: Random) -> None:
    across = np.linspace(10, SIZE - 10, 60)
    for _ in range(int(random.integers(1, 5))):
        down = random.uniform(30, SIZE - 30) + np.cumsum(random.normal(0, 4, 60))
        pen.line([(float(x), float(y)) for x, y in zip(across, down, strict=True)], fill=0, width=2)


def _slanted(picture: NDArray[np.float64], random: Random) -> NDArray[np.float64]:
    """As photographed from the side, on a darker desk."""
    c = random.uniform(-0.25, 0.25, 8)
    data = (1 + c[0], c[1], 30 * c[2], c[3], 1 + c[4], 30 * c[5], c[6] / 300, c[7] / 300)
    image = Image.fromarray(picture.astype(np.float32)).transform(
        (SIZE, SIZE),
        Image.Transform.PERSPECTIVE,
        data,
        Image.Resampling.BILINEAR,
        fillcolor=random.uniform(0, 0.6),
    )
    return np.asarray(image, dtype=np.float64)
