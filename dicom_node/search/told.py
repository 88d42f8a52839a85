"""How questions and their answers are told in DICOM, whatever the door: the private block of this project.

(4D33,00xx) LO  private creator M3BIND; xx is the block (PS3.5 section 7.8.1)
(4D33,xx01) LT  the question
(4D33,xx02) FD  answer: score, 0 to 1; none where likeness of words alone ranks
(4D33,xx03) LO  answer: what speaks for it, one value each
(4D33,xx04) UI  study or series that answers shall be like
(4D33,xx05) LO  answer: bundle, name and version
"""

from __future__ import annotations

from dicom_node.search.answer import Hit

GROUP = 0x4D33
CREATOR = "M3BIND"
TEXT, SCORE, TAGS, SIMILAR, BUNDLE = range(1, 6)
"""Elements of the block."""
LO_LENGTH = 64
BY_LIKENESS = "by likeness of words alone"
"""Where no finding that the node scored speaks for an answer: it has no score then."""


def tags_of(hit: Hit) -> list[str]:
    """What speaks for an answer: `Pneumothorax: absent 0.02`, `similarity 0.83`."""
    told = [] if hit.similarity is None else [f"similarity {hit.similarity:.2f}"]
    if hit.by_likeness:
        told.append(BY_LIKENESS)
    for judged in hit.why:
        if judged.finding is not None and judged.probability is not None and judged.presence is not None:
            told.append(f"{judged.finding.name}: {judged.presence.value} {judged.probability:.2f}")
        else:
            words = judged.statement.words.replace("\\", "/")
            told.append(f"{words[:40]}: likeness {judged.likeness:+.1f}")
    return told
