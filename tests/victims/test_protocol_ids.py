from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poisonsets.manifests.compose import ByCount
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.model import Add, InPlace, Slots, Trial, Unconstrained
from poisonsets.victims.protocols import Protocol, parse, suite, suites

ALL = [protocol for name in suites() for protocol in suite(name)]
fractions = st.integers(0, 20_000).map(lambda n: f"{n // 1000}.{n % 1000:03d}")


@pytest.mark.parametrize("protocol", ALL, ids=lambda p: p.id)
def test_the_standard_protocols_have_short_ids(protocol: Protocol) -> None:
    assert protocol.id == f"{protocol.suite}/{protocol.network}"
    assert parse(protocol.id) == protocol


@pytest.mark.parametrize("protocol", ALL, ids=lambda p: p.id)
def test_the_standard_settings_are_the_benchmarks(protocol: Protocol) -> None:
    assert (protocol.epochs, protocol.batch, protocol.learning_rate, protocol.drops) == (40, 128, "0.01", (30,))
    assert (protocol.factor, protocol.momentum, protocol.weight_decay) == ("0.1", "0.9", "0.0002")
    assert (protocol.pad, protocol.width, protocol.composition) == (4, "1", "by-count")


def test_the_suites_differ_in_size_and_mirror_images() -> None:
    assert [(p.network, p.size, p.flip) for p in suite("digits-transfer")] == [("convnet", 500, False)]
    assert [(p.size, p.flip) for p in suite("cifar10-transfer")] == [(2500, True)] * 2
    assert {p.network for p in suite("cifar10-transfer")} == {"resnet18", "convnet"}


@given(
    st.sampled_from(ALL),
    st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.integers(1, 500),
            "batch": st.integers(1, 500),
            "pad": st.integers(0, 8),
            "flip": st.booleans(),
            "drops": st.sets(st.integers(0, 99), max_size=3).map(lambda s: tuple(sorted(s))),
            "learning_rate": fractions,
            "weight_decay": fractions,
            "size": st.integers(1, 9999),
        },
    ),
)
def test_an_id_says_every_setting(protocol: Protocol, changes: dict[str, object]) -> None:
    changed = replace(protocol, **changes)
    assert parse(changed.id) == changed
    assert (changed.id == protocol.id) == (changed == protocol)


def test_one_protocol_has_one_id() -> None:
    ids = {
        parse(f"cifar10-transfer/resnet18@{text}").id
        for text in ("width=0.25,epochs=20", "epochs=20,width=0.250", "epochs=20,width=0.25,batch=128")
    }
    assert ids == {"cifar10-transfer/resnet18@epochs=20,width=0.25"}


def test_the_rule_follows_the_composition() -> None:
    trial = Trial(
        trial=0,
        source_classes=(0,),
        adversarial_label=1,
        labels="clean",
        constraint=Unconstrained(),
        composition=Add(),
        slots=Slots(bases=(0,), labels=(1,)),
        pixels="0" * 64,
    )
    assert parse("digits-transfer/convnet").rule(trial) == ByCount(500)
    assert parse("digits-transfer/convnet@size=50").rule(trial) == ByCount(50)
    assert parse("digits-transfer/convnet@composition=trial").rule(trial) == Add()
    assert parse("digits-transfer/convnet@composition=in-place").rule(trial) == InPlace()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("digit-transfer/convnet", "Did you mean digits-transfer/convnet"),
        ("cifar10-transfer/resnet", "Did you mean cifar10-transfer/resnet18"),
        ("digits-transfer/convnet@epoch=3", "Did you mean epochs"),
        ("digits-transfer/convnet@composition=inplace", "Did you mean in-place"),
        ("digits-transfer/convnet@epochs=three", "epochs=40"),
        ("digits-transfer/convnet@epochs=0", "wanted 1 to"),
        ("digits-transfer/convnet@flip=maybe", "flip=true"),
        ("digits-transfer/convnet@drops=3+x", "drops="),
        ("digits-transfer/convnet@learning_rate=-1", "plain decimal"),
        ("digits-transfer/convnet@epochs=3,epochs=4", "twice"),
        ("digits-transfer/convnet@composition=in-place,size=9", "by-count"),
        ("digits-transfer/convnet@version=2", "setting"),
        ("digits-transfer/convnet@", "setting"),
        ("", "protocol"),
    ],
)
def test_what_has_no_meaning_is_refused_with_a_hint(text: str, answer: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert answer in str(caught.value)


def test_an_unknown_suite_is_refused_with_a_hint() -> None:
    with pytest.raises(UsageError, match="Did you mean digits-transfer"):
        suite("digit-transfer")
