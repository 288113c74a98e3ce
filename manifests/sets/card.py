"""The dataset card of a poison set; by its front matter Hugging Face's `load_dataset(FOLDER)` finds the shards."""

from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.trial import Constraint, Linf, Unconstrained


def card(manifest: Manifest) -> str:
    """The Markdown of `README.md`, written from the manifest alone: equal sets have equal cards."""
    poisons = sum(len(trial.slots.labels) for trial in manifest.trials)
    first = manifest.trials[0]
    budget = "; ".join(dict.fromkeys(_budget(trial.constraint) for trial in manifest.trials))
    return f"""---
pretty_name: "{manifest.name} (poisoned data)"
tags: [webdataset, data-poisoning, adversarial-machine-learning, research]
task_categories: [image-classification]
size_categories: [{_size_category(poisons)}]
configs:
- config_name: default
  data_files:
  - split: train
    path: poisons/*.tar
---

# {manifest.name}: a poison set

**{manifest.notice}**

| | |
|---|---|
| format | {manifest.format} |
| content digest | `{manifest.content_digest}` |
| attack | {manifest.attack.name} (version {manifest.attack.version}) |
| base dataset | {manifest.base.name}, training split `{manifest.base.splits["train"].digest[:16]}...` |
| trials, poisons | {len(manifest.trials)}, {poisons} |
| constraint | {budget}; labels: {first.labels} |
| composition | {first.composition.rule} |
| written by | {manifest.tool.name} {manifest.tool.version} |

`manifest.json` is the set's contract: targets, bases, labels, budget, settings and hashes. Check it before use:

    poisonsets verify .

## What it is for

Measuring defences against targeted data poisoning of image classifiers. Each trial is one independent attack: a
victim that trains on its poisons shall give the trial's target the adversarial label. The set is an overlay: it holds
the poisons, the base dataset is pinned by digests of its pixels and is not part of the set. The licence of the base
dataset applies to the images.

## Reading the shards without this tool

    import webdataset as wds
    data = wds.WebDataset("poisons/trial-00000-000.tar", shardshuffle=False)
    for sample in data.decode("rgb8", pre=[], post=[]):
        sample["__key__"], sample["cls"], sample["png"]   # "TTTTT-SSSSSSSS" (trial, slot), label, uint8 [H, W, 3]
"""


def _budget(constraint: Constraint) -> str:
    if isinstance(constraint, Unconstrained):
        return "no pixel constraint"
    if isinstance(constraint, Linf):
        text = f"l-infinity, {constraint.levels} of 255 levels"
    else:
        text = f"l2, sum of squared levels at most {constraint.squared_levels}"
    return f"{text} (the trigger's pixels are exempt)" if constraint.exempt_trigger else text


def _size_category(poisons: int) -> str:
    names = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
    return next((name for limit, name in names.items() if poisons < limit), "1M<n<10M")
