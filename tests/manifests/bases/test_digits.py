"""The embedded base never changes: published sets depend on its digests, which are pinned here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from poisonsets.manifests.bases.build import build
from poisonsets.manifests.bases.cache import open_base
from poisonsets.manifests.bases.spec import parse_spec

TRAIN = "f152109011e7446706abaf364c7ab0b64127fa602e74f9d7327a156e01236332"
TEST = "9abfe5e908064bed50aca31b3c94cf6d0f50de6bf2ccfe1dd18c39019bde330d"


def test_both_splits_have_their_pinned_digests() -> None:
    base = build(parse_spec("digits"))
    assert (base.train.digest, base.test.digest) == (TRAIN, TEST)


def test_images_are_the_integer_rule_enlarged_four_times() -> None:
    base = build(parse_spec("digits"))
    levels = load_digits().images
    ours = np.concatenate([base.train.images, base.test.images])
    assert ours.shape == (len(levels), 32, 32, 3)
    assert (ours == ours[:, ::4, ::4].repeat(4, axis=1).repeat(4, axis=2)).all()
    assert (ours == ours[..., :1]).all()
    theirs = {tuple(int(v) * 255 // 16 for v in image.ravel()) for image in levels}
    assert {tuple(image[::4, ::4, 0].ravel().tolist()) for image in ours} == theirs


def test_each_class_has_sixty_test_images_and_poisons_have_enough_to_train_on() -> None:
    base = build(parse_spec("digits"))
    assert np.bincount(base.test.labels).tolist() == [60] * 10
    assert np.isin(base.train.labels, base.victim_classes).sum() >= 500
    assert set(base.victim_classes).isdisjoint(base.pretrain_classes)
    assert not base.mirror


def test_a_second_open_does_not_import_scikit_learn(tmp_path: Path) -> None:
    first = open_base("digits", cache=tmp_path)
    program = (
        "import sys; from pathlib import Path; from poisonsets.manifests.bases.cache import open_base;"
        "base = open_base('digits', cache=Path(sys.argv[1]));"
        "assert not {'sklearn', 'torch', 'scipy'} & set(sys.modules); sys.stdout.write(base.train.digest)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == first.train.digest
