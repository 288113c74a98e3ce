from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from forge import bare_trial
from hypothesis import assume, given
from hypothesis import strategies as st

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.compose import ByCount
from poisonsets.manifests.records.trial import Add, InPlace
from poisonsets.victims.networks.shape import Shape
from poisonsets.victims.protocols import Protocol, follows_extractor, of_network, parse, suite, suites

ALL = [protocol for name in suites() for protocol in suite(name)]
fractions = st.integers(0, 20_000).map(lambda n: f"{n // 1000}.{n % 1000:03d}")


@pytest.mark.parametrize("protocol", ALL, ids=lambda p: p.id)
def test_the_standard_protocols_have_short_ids(protocol: Protocol) -> None:
    assert protocol.id == f"{protocol.suite}/{protocol.network}"
    assert parse(protocol.id) == protocol


@given(
    st.sampled_from(ALL),
    st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.integers(1, 500),
            "batch": st.integers(1, 500),
            "pad": st.integers(0, 8),
            "flip": st.booleans(),
            "flip_target": st.booleans(),
            "keep": st.sampled_from(["1", "0.5", "0.25"]),
            "optimiser": st.sampled_from(["sgd", "adam", "adamw"]),
            "training": st.sampled_from(["frozen", "end-to-end", "scratch"]),
            "normalise": st.sampled_from(["own", "none", "cifar10"]),
            "augment": st.sampled_from(["crop", "sub-pixel", "none"]),
            "nesterov": st.booleans(),
            "head": st.sampled_from(["fresh", "kept"]),
            "lr_milestones": st.sets(st.integers(0, 99), max_size=3).map(lambda s: tuple(sorted(s))),
            "learning_rate": fractions,
            "weight_decay": fractions,
            "size": st.integers(1, 9999),
        },
    ),
)
def test_an_id_says_every_setting(protocol: Protocol, changes: dict[str, object]) -> None:
    if protocol.composition != "by-count":
        changes.pop("size", None)
    try:
        changed = replace(protocol, **changes)
    except UsageError:  # settings that do not go together have no id
        assume(condition=False)
    assert parse(changed.id) == changed
    assert (changed.id == protocol.id) == (changed == protocol)


def test_any_network_goes_with_any_suite() -> None:
    protocol = parse("cifar10-transfer/efficientnet-lite0@input=96,epochs=20")
    assert protocol.id == "cifar10-transfer/timm:tf_efficientnet_lite0@epochs=20,input=96"
    assert parse(protocol.id) == protocol
    assert protocol.shape == Shape("timm:tf_efficientnet_lite0", "1", 96)
    listed = parse("cifar10-transfer/resnet18")
    assert replace(protocol, network="resnet18", input=None, epochs=40) == listed
    assert of_network("cifar10-transfer", Shape("vgg16", "0.25", 64)).id == "cifar10-transfer/vgg16@input=64,width=0.25"


@pytest.mark.parametrize("name", sorted({member.suite for member in ALL} - {"toxic-table2"}))
def test_a_suite_has_one_choice_of_settings_for_other_networks(name: str) -> None:
    protocol = parse(f"{name}/alexnet-fc")
    assert [replace(member, network="alexnet-fc") == protocol for member in suite(name)] == [True] * len(suite(name))


def test_which_suites_fit_any_base() -> None:
    for name in ("transfer", "finetune", "scratch"):
        for member in suite(name):
            assert (member.size, member.composition, member.flip, member.flip_target) == (None, "trial", False, False)
            assert member.normalise == "own"
    assert [name for name in suites() if follows_extractor(name)] == ["finetune", "transfer"]


def test_one_protocol_has_one_id() -> None:
    ids = {
        parse(f"cifar10-transfer/resnet18@{text}").id
        for text in ("width=0.25,epochs=20", "epochs=20,width=0.250", "epochs=20,width=0.25,batch=128")
    }
    assert ids == {"cifar10-transfer/resnet18@epochs=20,width=0.25"}


def test_no_augmentation_has_one_spelling() -> None:
    ids = {parse(f"cifar10-transfer/resnet18@{text}").id for text in ("augment=none", "pad=0,flip=false")}
    assert ids == {"cifar10-transfer/resnet18@augment=none"}
    assert parse("cifar10-finetune/vgg11@augment=crop,pad=4").id == "cifar10-finetune/vgg11@augment=crop,pad=4"


def test_which_protocols_train_heads_alone_and_many_at_a_time() -> None:
    assert parse("cifar10-transfer/resnet18@keep=0.5").batched
    for text in ("optimiser=adam", "nesterov=true", "training=end-to-end", "training=scratch"):
        assert not parse(f"cifar10-transfer/resnet18@{text}").batched


def test_the_target_is_mirrored_where_the_protocol_says() -> None:
    images = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    assert np.array_equal(
        parse("cifar10-finetune/vgg11@flip_target=true").test_view(images), images[:, :, [3, 2, 1, 0]]
    )
    assert np.array_equal(parse("cifar10-finetune/vgg11").test_view(images), images)


def test_the_rule_follows_the_composition() -> None:
    trial = bare_trial((0,), (1,), Add())
    assert parse("digits-transfer/convnet").rule(trial) == ByCount(500)
    assert parse("digits-transfer/convnet@size=50").rule(trial) == ByCount(50)
    assert parse("digits-transfer/convnet@composition=trial").rule(trial) == Add()
    assert parse("digits-transfer/convnet@composition=in-place").rule(trial) == InPlace()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("digit-transfer/convnet", "Did you mean digits-transfer?"),
        ("cifar10-transfer/resnet", "Did you mean resnet"),
        ("digits-transfer/convnet@epoch=3", "Did you mean epochs"),
        ("digits-transfer/convnet@composition=inplace", "Did you mean in-place"),
        ("digits-transfer/convnet@epochs=three", "epochs=40"),
        ("digits-transfer/convnet@epochs=0", "wanted 1 to"),
        ("digits-transfer/convnet@flip=maybe", "flip=true"),
        ("digits-transfer/convnet@lr_milestones=3+x", "lr_milestones="),
        ("digits-transfer/convnet@learning_rate=-1", "plain decimal"),
        ("digits-transfer/convnet@epochs=3,epochs=4", "twice"),
        ("digits-transfer/convnet@composition=in-place,size=9", "by-count"),
        ("digits-transfer/convnet@version=2", "setting"),
        ("digits-transfer/convnet@training=finetune", "training"),
        ("digits-transfer/convnet@augment=sub-pixel", "frozen"),
        ("digits-transfer/convnet@augment=none,pad=4", "augment"),
        ("digits-transfer/convnet@augment=crop,pad=0", "pad=4"),
        ("digits-transfer/convnet@normalise=cifar10", "extractor"),
        ("digits-transfer/convnet@head=kept", "end-to-end"),
        ("digits-transfer/convnet@keep=0", "above 0"),
        ("digits-transfer/convnet@keep=1.5", "at most 1"),
        ("digits-transfer/convnet@momentum=1", "below 1"),
        ("digits-transfer/convnet@nesterov=true,optimiser=adam", "sgd"),
        ("digits-transfer/convnet@nesterov=true,momentum=0", "above 0"),
        ("digits-transfer/convnet@", "Write key=value"),
        ("", "no suite is called ''"),
        ("digits-transfer", "Write for instance digits-transfer/convnet"),
        ("digits-transfer/", "names no network"),
        ("digits-transfer/timm:resnet18/x", "no network of timm is called"),
        ("digits-transfer/timm:resnet18@main", "Write key=value"),
        ("digits-transfer/timm:resnet18@input=0", "1 to 1024 pixels"),
        ("digits-transfer/timm:resnet18@input=+96", "Write for example input=96"),
        ("digits-transfer/timm:resnet18@input=2000", "1 to 1024 pixels"),
        ("toxic-table2/vgg11", "Did you mean toxic-table2/resnet18"),
    ],
)
def test_what_has_no_meaning_is_refused_with_a_hint(text: str, answer: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert answer in str(caught.value)


def test_an_unknown_suite_is_refused_with_a_hint() -> None:
    with pytest.raises(UsageError, match="Did you mean digits-transfer"):
        suite("digit-transfer")
