"""The prose of the report, between its tables."""

from __future__ import annotations

HEAD = """
Written by `{command}`. Weights trained by commit {commit}, measured by commit {measured_by} on {measured},
in {processor:.1f} minutes of the processor ({wall:.1f} by the clock).
Not a medical device; figures of small public sets, which say little of other hospitals.

Every figure is of the held-out split (`val`), which no training saw. In brackets the 95 % interval of
{bootstrap:,} bootstrap samples (few-shot and cross-modal {fewer}) that draw whole patients, or groups of
near-duplicates where a set names no patients. A finding is measured where it has {positives} positives. An
AUC counts pairs within one data set only. {counts}.
"""

TARGETS = """
The probe is supervised: logistic regression on frozen start weights, see below. For several classes the
figure is the mean over classes, each against all others, and positives are those of all classes.
"""

KEPT = """
1. Zero-shot skill is kept: the macro AUC of the distilled model does not lie below the interval of the
   tower alone.
"""

GAINED = """
2. Retrieval across modalities appears: at least twice the unbound towers', and its interval clear of chance.
   A plain mAP cannot double where chance alone is near .5 (the most possible ratio stands beside); the part
   above chance, which is 0 for a random order and 1 for a perfect one, is the fair measure. Where the
   unbound towers are at or below chance there is no ratio.
"""

ZERO_SHOT = """
A finding's score is the cosine to its prompts for less that to its prompts against; nothing is fitted to it
after training. Zero-shot here means prompted without a classifier, not unseen: the towers were trained on
images with the labels of these very findings, and the prompts stand among their captions. The random system
is projections drawn at random over the weights that training starts from (ImageNet, MiniLM; an ECG tower
starts from nothing); its AUC may fall on either side of .5.

Macro AUC:
"""

ACCURACY = """
Accuracy, balanced accuracy, mean over findings, where a score above 0 counts as present (no threshold is
fitted, so a score whose zero lies elsewhere is called wrong however well it ranks):
"""

PROBE = """
The supervised probe: logistic regression on the whole training part. Pictures: EfficientNet-Lite0 as it came
from ImageNet, 224 x 224 pixels. ECG: there are no start weights, so 1,000 random kernels (ROCKET, arXiv
1910.13051).
"""

FEW_SHOT = """
k examples with and k without a finding, mean of {draws} draws; macro AUC over findings that have 16 of
either. The examples are of the training part, on which the towers themselves were trained with all its
labels: a curve tells how few shots a trained space needs, not how few labels. The frozen start weights alone
have not seen them. Tip-Adapter (arXiv 2207.09519) with its authors' alpha 1 and beta 5.5, nothing
searched; Tip-Adapter-F tunes its keys. The thin lines are zero-shot over the same findings.
"""

IMAGE_TEXT = """
R@K is the share of queries with a true answer among the best K. Candidates are captions that say what is
there (a finding, or that all is normal; captions that only deny are true of nearly everything) and are known
to be true or false of the image; an image has several true ones. Chance is a random order of the same
candidates.
"""

ACROSS = """
An image asks for images of another modality in its group (`m3bind/data/groups.toml`). R@10 is the relevant
part of the best ten. Means over groups and ordered pairs of modalities, each counting once; the interval
draws patients of queries and gallery. Centred: each modality's mean, taken on `calib`, is taken off in every
system alike.
"""

CALIBRATION = """
Platt's sigmoid fitted on `calib`, looked at on `val` (torch, single examples; the bundle's own calibration is
measured by `m3bind-export` and told in its card). Expected calibration error over bins of equal count, 25 at
least in each; perfect: what perfect probabilities would show, by chance, on as many.
"""

ABLATION = """
Written by `{command}`, from the same pretrained towers. At most {bind} steps of binding and {distil} of
distilling, so compare rows with each other, not with the tables above. Macro zero-shot AUC; across
modalities: centred, each other modality. Rank 0 trains projections alone; a student's size is its layers.
"""


def prose(text: str, **facts: object) -> list[str]:
    """Lines of one of the above, with an empty one behind."""
    return [*text.strip().format(**facts).splitlines(), ""]
