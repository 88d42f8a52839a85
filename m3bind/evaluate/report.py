"""All figures of a checkpoint, as JSON beside its weights."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from m3bind.checkpoint import load_checkpoint
from m3bind.data.captions import caption_pool
from m3bind.data.catalogue import illnesses_of
from m3bind.evaluate.retrieval import cross_modal, image_to_text
from m3bind.evaluate.systems import embed_texts, systems, tokenizer_of, val_images
from m3bind.evaluate.zero_shot import score_modality
from m3bind.loop import Progress


def evaluate(work: Path, cache: Path, progress: Progress) -> dict[str, Any]:
    """Measure the checkpoint in `work` beside its stages and a random encoder; writes evaluation.json."""
    model = load_checkpoint(work)
    recipe, tokenizer = model.recipe, tokenizer_of(model.recipe)
    found, embed = val_images(recipe, cache, progress)
    told: dict[str, Any] = {"split": "val", "commit": model.commit, "systems": {}}
    for system in systems(model, work):
        embedded = {m: embed(m, tower) for m, tower in system.images.items()}
        zero_shot, retrieval = {}, {}
        for modality, images in embedded.items():
            text = system.texts[modality]
            captions = caption_pool(modality)
            zero_shot[modality] = score_modality(
                images,
                found[modality],
                illnesses_of(modality),
                partial(embed_texts, text, tokenizer=tokenizer),
                recipe.evaluate,
            )
            texts = embed_texts(text, [c.text for c in captions], tokenizer)
            retrieval[modality] = image_to_text(images, texts, found[modality], captions)
        told["systems"][system.name] = {
            "zero_shot": zero_shot,
            "image_to_text": retrieval,
            "cross_modal": cross_modal(embedded, found),
        }
        progress(f"evaluated {system.name}")
    (work / "evaluation.json").write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    return told


def lines(told: dict[str, Any]) -> list[str]:
    """The figures as lines of a table, for people."""
    names = list(told["systems"])
    out = ["finding".ljust(40) + "".join(n.rjust(24) for n in names)]
    first = told["systems"][names[0]]["zero_shot"]
    for modality, part in first.items():
        for finding in [*part["findings"], "macro"]:
            cells = []
            for name in names:
                own = told["systems"][name]["zero_shot"][modality]
                e = own["macro"] if finding == "macro" else own["findings"][finding]
                cells.append(f"{e['value']:.3f} ({e['low']:.3f}-{e['high']:.3f})".rjust(24))
            label = f"{modality} macro" if finding == "macro" else finding
            out.append(label.ljust(40) + "".join(cells))
    for kind in first:
        cells = []
        for name in names:
            r = told["systems"][name]["image_to_text"][kind]
            cells.append(f"{r['precision@5']:.3f} (chance {r['chance']:.3f})".rjust(24))
        out.append(f"{kind} image to text, precision@5".ljust(40) + "".join(cells))
    means = [f"{told['systems'][n]['cross_modal']['mean']:.3f}".rjust(24) for n in names]
    out.append("cross-modal retrieval (chance .5)".ljust(40) + "".join(means))
    return out
