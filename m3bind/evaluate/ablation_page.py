"""The rows of `m3bind ablate` as a table for people. Pure: figures in, lines out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3bind.evaluate import words
from m3bind.evaluate.spelling import respelled
from m3bind.evaluate.tables import table, with_interval
from m3bind.evaluate.words import prose

Told = Mapping[str, Any]


def kept(own: Told) -> str:
    """Whether zero-shot of a row does not lie below the interval of the unbound towers, or where it does."""
    if not own["kept"]:
        return "-"
    lost = [modality for modality, is_kept in own["kept"].items() if is_kept is False]
    return f"**not {', '.join(lost)}**" if lost else "yes"


def _figures(own: Told, modalities: list[str]) -> list[str]:
    across = own["cross_modal"]
    return [
        *(with_interval(own["zero_shot"][m]) for m in modalities),
        kept(own),
        with_interval(across and across["above chance"]),
        with_interval(across and across["R@10"]),
    ]


def section(ablation: Told | None, picture: str) -> list[str]:
    """Lines of the page; none where nothing was varied. `picture` is the path of the plot."""
    if not ablation:
        return []
    modalities = list(ablation["unbound"]["zero_shot"])
    rows = [["-", "-", "unbound towers", *_figures(ablation["unbound"], modalities), "-", "-"]]
    for run in ablation["runs"]:
        seconds = run["seconds"]
        # All students are of one binding, which the row of the recipe tells.
        for name, spent in (("bound", seconds["bind"]), ("distilled", seconds["distil"])):
            if name == "bound" and run["what"] == "student":
                continue
            rows.append(
                [
                    run["what"],
                    run["value"] + (" (recipe)" if run["recipe"] else ""),
                    name,
                    *_figures(run[name], modalities),
                    f"{run[name]['text_megabytes']:.0f}",
                    f"{spent:.0f}",
                ]
            )
    steps = ablation["steps"]
    head = ["what", "value", "system", *modalities, "kept", "across, above chance", "across, R@10"]
    return [
        "## Ablations",
        "",
        *prose(
            words.ABLATION, command=respelled(ablation["command"]), bind=steps["bind"], distil=steps["distil"]
        ),
        f"![Ablations]({picture})",
        "",
        *table([*head, "text MB", "seconds"], rows),
    ]
