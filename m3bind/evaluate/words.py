"""The prose of the report, between its tables."""

from __future__ import annotations

HEAD = """
Written by `{command}`: weights trained by commit {commit}, measured by commit {measured_by} on {measured}
({processor:.0f} minutes of the processor). The tables behind this page: [DETAILS.md]({details}); every
figure: `evaluation.json` beside the weights. Not a medical device.

Every figure is of the held-out split (`val`), which no training saw, but for targets marked "not this
checkpoint": those are of other towers, trained for each fold of a cross-validation. In brackets stands a 95 %
interval:
{bootstrap:,} bootstrap samples (few-shot, calibration and cross-modal {fewer}, image-text {texts}) that draw
whole patients, or groups of near-duplicates where a set names no patients. Where groups are few ({fewest}:
{groups}) such an interval is too narrow. A finding is measured where it has {positives} positives. An AUC
counts pairs within one data set only. M3Bind: the bound image towers with the one distilled text encoder;
bound, not distilled: with their own text towers; unbound towers: as pretraining left them.
"""

TARGETS = """
The probe is supervised: logistic regression on frozen start weights (see Zero-shot). For several classes the
figure is the mean over classes, each against all others, and positives are those of all classes.
"""

NOT_THIS = """
Not this checkpoint: towers of the same settings, each trained without the fold it is measured on
(`{source}`). What this one does on that data set's few examples of `val` stands in the card, by data set.
"""

KEPT = """
**1. Zero-shot skill is kept**: the macro AUC of the distilled model does not lie below the 95 % interval of
the unbound tower's. The difference is paired: both systems under the same bootstrap samples.
"""

GAINED = """
**2. Retrieval across modalities appears**: at least twice the unbound towers', and clear of chance. A plain
mAP cannot double where chance alone is near .5 (the most possible ratio stands beside); the part above
chance, which is 0 for a random order and 1 for a perfect one, is the fair measure. Clear of chance: the lower
end of the 95 % interval of the figure less the chance of the same bootstrap sample lies above 0. Where the
unbound towers are at or below chance there is no ratio, and any figure above 0 counts as twice. Gain is
paired. Centred, pairs and all others: see Across modalities; uncentred: [DETAILS.md]({details}).
"""

ZERO_SHOT = """
A finding's score is the cosine to its prompts for less that to its prompts against; nothing is fitted to it
after training. Zero-shot here means prompted without a classifier, not unseen: the towers were trained on
images with the labels of these very findings, and the prompts stand among their captions. Random projections:
the weights that training starts from (ImageNet, MiniLM), projected at random. Random weights: all of them,
so that only the shape of the networks, the preprocessing and the fixed arithmetic of an ECG tower remain.
Either may fall on either side of .5. The supervised probe: logistic regression on the whole training part, of
pictures by EfficientNet-Lite0 as it came from ImageNet at 224 x 224 pixels, of signals, which have no start
weights, by 1,000 random kernels (ROCKET, arXiv 1910.13051).

Macro AUC, the mean over findings:
"""

BY_DATASET = """
M3Bind by data set (findings with {positives} positives in that set):
"""

FEW_SHOT = """
k examples with and k without a finding, mean of {draws} draws; macro AUC over findings that have 16 of
either. The examples are of the training part, on which the towers themselves were trained with all its
labels: a curve tells how few shots a trained space needs, not how few labels. The frozen start weights alone
have not seen them. Tip-Adapter (arXiv 2207.09519) with its authors' alpha 1 and beta 5.5, nothing searched;
Tip-Adapter-F tunes its keys. The interval is over patients of val, not over draws.
"""

IMAGE_TEXT = """
R@K is the share of queries with a true answer among the best K. Candidates are captions that say what is
there (a finding, or that all is normal; captions that only deny are true of nearly everything) and are known
to be true or false of the image; an image has several true ones. Chance is a random order of the same
candidates. Intervals draw patients where images ask, and statements (captions that say the same) where
captions do.
"""

ACROSS = """
An image asks for images of another modality in its group (`m3bind/data/groups.toml`, or normality). R@10 is
the relevant part of the best ten. Means over groups and ordered pairs of modalities, each counting once; the
interval draws patients of queries and gallery. Centred: each modality's mean, taken on `calib`, is taken off
in every system alike. What is asked for is what was trained, on other images: stages 1 and 2 show {shared}
sentences of these very groups ("no abnormality", "cancer") with the images of every modality; the unbound
towers have not seen them. It is no proof of retrieval by anything else that modalities share. Distilling
moves texts only: M3Bind and the bound towers retrieve alike between images.
"""

CALIBRATION = """
Platt's sigmoid fitted on `calib`, looked at on `val` (torch, single examples). Expected calibration error
over bins of equal count, 25 at least in each; the target is {target} per finding. By chance: what perfect
probabilities would show on as many examples, at most in 97.5 of 100 cases. The bundle's own calibration and
thresholds are made and measured by `m3bind-export`, and told in its MODEL_CARD.md.
"""

OPERATING = """
The sensitivity that each threshold of the bundle aims at, what it keeps of it on `val`, and by how much it
misses: [Thresholds]({card}#thresholds) of the card. An AUC above tells nothing of it.
"""

SPACE = """
Form is modality, colour is group. The nearest point of the picture is of the same modality for {shares}. Near
1.000 modalities stay islands, and no image lies beside those of another; retrieval across modalities asks
only for the order of the other modalities' images.
"""

THRESHOLDS = """
Thresholds for a sensitivity of {aimed} on `calib` (the probability there, with its interval over groups of
`calib`), and what they keep of it on `val`. The bundle states a sensitivity for each kind of finding instead
(`export/operating.toml`).
"""

ABLATION = """
Written by `{command}`, from the same pretrained towers, with one setting changed. At most {bind} steps of
binding and {distil} of distilling, so compare rows with each other, not with the tables above. Macro
zero-shot AUC by modality; kept: not below the interval of the unbound towers; across modalities: centred,
each other modality, above chance as above; 200 bootstrap samples. Rank 0 trains projections alone. All
students are distilled from the binding of the recipe's row; distilling moves texts only, so retrieval across
modalities is the binding's. Seconds of the processor, of each stage with its measuring.
"""

LIMITS = """
Images of other hospitals are not here, so the targets that ask for them (pneumonia .95, CT .96, retinopathy
.75, atrial fibrillation .95) are not measured by anything on this page. {reports}{duplicates}
"""

DETAILS = """
The tables behind [EVALUATION.md](../EVALUATION.md), which tells how they were made and what words mean.
"""

ACCURACY = """
Accuracy, balanced accuracy, mean over findings, where a score above 0 counts as present (no threshold is
fitted, so a score whose zero lies elsewhere is called wrong however well it ranks):
"""


def prose(text: str, **facts: object) -> list[str]:
    """Lines of one of the above, with an empty one behind."""
    return [*text.strip().format(**facts).splitlines(), ""]
