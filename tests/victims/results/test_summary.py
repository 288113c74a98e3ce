from __future__ import annotations

from typing import Any

import pytest
from standin import job_identity

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import canonical_json
from poisonsets.victims.results.job import JobIdentity
from poisonsets.victims.results.row import Row, TargetRow
from poisonsets.victims.results.statistics import mcnemar_exact, wilson, wilson_of_mean
from poisonsets.victims.results.summary import summarise


def row(trial: int, *, seed: int = 0, success: bool = True, control: bool | None = False, **changes: Any) -> Row:
    """A row with a control of its own, unless `control_rows` says which one it shares."""
    named = {key: value for key, value in changes.items() if key in JobIdentity.model_fields}
    own = None if control is None else f"{trial:064x}"
    sources = {"source_images": 0, "source_poisoned": 0, "source_control": None if control is None else 0}
    rest = {"threat_level": "white-box", "control_rows": own, **sources} | {
        k: v for k, v in changes.items() if k not in named
    }
    return Row(
        **job_identity(trial=trial, victim_seed=seed, **named).fields(),
        network="convnet",
        width="1",
        targets=(
            TargetRow(
                label=2,
                adversarial_label=3,
                predicted_poisoned=2 + success,
                predicted_control=None if control is None else 2 + control,
            ),
        ),
        success=success,
        control=control,
        training_images=500,
        poisons=50,
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
    assert canonical_json.loads(canonical_json.dumps(summary.record()), "summary") == summary.record()


def test_rows_of_two_sets_make_no_rate() -> None:
    with pytest.raises(UsageError, match="2 poison sets"):
        summarise([row(0), row(1, content_digest="d" * 64)])


def test_a_job_counts_once() -> None:
    with pytest.raises(UsageError, match="two rows of trial 1"):
        summarise([row(0), row(1), row(1)])


def test_victims_of_other_classes_make_no_rate() -> None:
    with pytest.raises(UsageError, match="different classes"):
        summarise([row(0), row(1, victim_classes=(0, 1, 3))])


@pytest.mark.parametrize(("successes", "mean"), [(0, 0.0), (1, 0.25), (4, 1.0)])
def test_equal_trials_are_no_certainty(successes: int, mean: float) -> None:
    rows = [row(trial, seed=seed, success=seed < successes) for trial in range(6) for seed in range(4)]
    (summary,) = summarise(rows)
    rate = summary.poisoned
    assert rate.interval == wilson_of_mean(mean, 6)
    assert rate.interval.high - rate.interval.low > 0.3
    assert summary.record()["poisoned"]["interval_method"] == "wilson over trials"


def test_the_interval_says_how_it_was_found() -> None:
    one = [row(trial, success=trial < 2) for trial in range(4)]
    several = [row(trial, seed=seed, success=trial < 2) for trial in range(4) for seed in (0, 1)]
    for rows, wanted in ((one, "wilson over trials"), (several, "bootstrap over trials")):
        (summary,) = summarise(rows)
        assert summary.record()["poisoned"]["interval_method"] == wanted


def test_small_p_values_keep_their_digits() -> None:
    (summary,) = summarise([row(trial) for trial in range(40)])
    assert float(summary.record()["mcnemar_p"]) == pytest.approx(2 * 0.5**40, rel=1e-5)


def test_pairs_that_share_a_control_have_no_p_value() -> None:
    rows = [row(trial, control_rows=f"{trial // 2:064x}") for trial in range(10)]
    (summary,) = summarise(rows)
    assert (summary.distinct_controls, summary.mcnemar_p) == (5, None)
    assert summary.record()["distinct_controls"] == 5
    (apart,) = summarise([row(trial) for trial in range(10)])
    assert apart.distinct_controls == 10
    assert apart.mcnemar_p is not None


def test_images_of_source_classes_are_counted_over_trials() -> None:
    counts = [(40, 4), (10, 0), (25, 2)]
    rows = [row(i, source_images=50, source_poisoned=p, source_control=c) for i, (p, c) in enumerate(counts)]
    (summary,) = summarise(rows)
    assert summary.sources is not None
    assert summary.control_sources is not None
    assert (summary.sources.successes, summary.sources.n) == (75, 150)
    assert (summary.control_sources.successes, summary.control_sources.n) == (6, 150)
    assert summary.sources.interval_method == "bootstrap over trials"
    low, high = summary.sources.interval
    assert 0.2 <= low < 0.5 < high <= 0.81
    (alone,) = summarise(rows[:1])
    assert alone.sources is not None
    assert (alone.sources.interval, alone.sources.interval_method) == (wilson(40, 50), "wilson over images")
    (none,) = summarise([row(0)])
    assert none.sources is none.control_sources is None


@pytest.mark.parametrize("changes", [{"source_poisoned": 6}, {"source_control": 6}, {"source_control": None}])
def test_a_row_with_impossible_source_counts_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        row(0, **{"source_images": 5, "source_poisoned": 5, "source_control": 5, **changes})
