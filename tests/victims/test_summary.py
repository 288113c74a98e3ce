from __future__ import annotations

from typing import Any

import pytest

from poisonsets.manifests import canonical
from poisonsets.manifests.errors import UsageError
from poisonsets.victims.results import Row, TargetRow, job_key
from poisonsets.victims.statistics import mcnemar_exact, wilson
from poisonsets.victims.summary import summarise


def row(trial: int, *, seed: int = 0, success: bool = True, control: bool | None = False, **changes: Any) -> Row:
    identity = {
        "content_digest": "c" * 64,
        "trial": trial,
        "protocol": "digits-transfer/convnet",
        "protocol_version": 1,
        "extractor": "e" * 64,
        "victim_seed": seed,
    } | {key: value for key, value in changes.items() if key in ("content_digest", "protocol", "extractor")}
    rest = {"threat_level": "white-box"} | {k: v for k, v in changes.items() if k not in identity}
    return Row(
        job=job_key(**identity),
        **identity,
        network="convnet",
        width="1",
        targets=(TargetRow(label=2, adversarial_label=3, predicted_poisoned=3, predicted_control=None),),
        success=success,
        control=control,
        training_images=500,
        clean_correct=90,
        clean_images=100,
        control_correct=None if control is None else 91,
        seconds="0.100",
        device="cpu",
        peak_memory_bytes=1,
        **rest,
    )


def test_rates_stand_beside_their_controls() -> None:
    rows = [row(i, success=i < 7, control=i in (0, 9)) for i in range(10)]
    (summary,) = summarise(rows)
    assert (summary.poisoned.successes, summary.poisoned.n) == (7, 10)
    assert summary.poisoned.interval == wilson(7, 10)
    assert summary.control is not None
    assert summary.control.interval == wilson(2, 10)
    # Trials 1-6 succeed only when poisoned, trial 9 only when clean.
    assert summary.mcnemar_p == mcnemar_exact(6, 1)
    assert (summary.clean, summary.control_clean) == ((900, 1000), (910, 1000))


def test_a_missing_control_is_left_out_and_not_counted_as_failure() -> None:
    (summary,) = summarise([row(0), row(1, control=None), row(2, control=True)])
    assert summary.control is not None
    assert (summary.control.successes, summary.control.n) == (1, 2)
    assert summary.poisoned.n == 3
    assert summary.control_clean == (182, 200)


def test_victims_of_one_trial_are_not_counted_as_independent() -> None:
    rows = [row(trial, seed=seed, success=trial < 5) for trial in range(10) for seed in range(8)]
    (summary,) = summarise(rows)
    low, high = summary.poisoned.interval
    narrow = wilson(40, 80)
    assert (summary.poisoned.successes, summary.poisoned.n) == (40, 80)
    assert high - low > 1.5 * (narrow.high - narrow.low)
    assert summary.mcnemar_p is None


def test_each_pair_of_protocol_and_extractor_has_its_own_summary() -> None:
    rows = [row(0, extractor=x * 64, protocol=p) for p in ("one", "two") for x in "ab"]
    assert [(s.protocol, s.extractor[0]) for s in summarise(rows)] == [
        ("one", "a"),
        ("one", "b"),
        ("two", "a"),
        ("two", "b"),
    ]
    assert summarise([]) == ()


def test_threat_levels_are_all_named() -> None:
    (summary,) = summarise([row(0), row(1, threat_level="black-box"), row(2)])
    assert summary.threat_levels == ("black-box", "white-box")


def test_a_record_is_canonical_json() -> None:
    (summary,) = summarise([row(0), row(1, control=None)])
    assert canonical.loads(canonical.dumps(summary.record()), "summary") == summary.record()


def test_rows_of_two_sets_make_no_rate() -> None:
    with pytest.raises(UsageError, match="2 poison sets"):
        summarise([row(0), row(1, content_digest="d" * 64)])
