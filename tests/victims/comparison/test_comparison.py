"""Rows in one table: exact figures, one table whatever the order, formats that agree, names that cannot do harm."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest
from standin import job_identity

from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import canonical_json
from poisonsets.victims.comparison.entries import By, defence_of
from poisonsets.victims.comparison.formats import written
from poisonsets.victims.comparison.ranking import Comparison, compare_rows
from poisonsets.victims.comparison.results_files import read_results
from poisonsets.victims.results.job import JobIdentity, base_digest
from poisonsets.victims.results.row import Row, TargetRow
from poisonsets.victims.results.statistics import holm, wilson

BASE = base_digest({"train": "a" * 64, "test": "b" * 64})


def row(of: str, trial: int, success: bool, **changes: Any) -> Row:
    identity: dict[str, Any] = {"content_digest": canonical_json.checksum({"set": of}), "trial": trial}
    identity |= {key: changes.pop(key) for key in list(changes) if key in JobIdentity.model_fields}
    said: dict[str, Any] = {
        "network": "convnet",
        "width": "1",
        "success": success,
        "control": False,
        "source_images": 0,
        "source_poisoned": 0,
        "source_control": 0,
        "control_rows": f"{trial:064x}",
        "training_images": 500,
        "poisons": 50,
        "clean_correct": 90,
        "clean_images": 100,
        "control_correct": 91,
        "seconds": "0.250",
        "threat_level": "black-box",
        "device": "cpu",
        "peak_memory_bytes": 1,
        "set_name": f"{of}-set",
        "attack": of,
        "epsilon": 8,
        "base_digest": BASE,
        "task": f"{trial + 1:064x}",
    }
    targets = (TargetRow(label=2, adversarial_label=3, predicted_poisoned=2 + success, predicted_control=2),)
    return Row(**job_identity(**identity).fields(), targets=targets, **(said | changes))


def rows_of(of: str, outcomes: str, **changes: Any) -> list[Row]:
    return [row(of, trial, outcome == "1", **changes) for trial, outcome in enumerate(outcomes)]


THREE = [*rows_of("one", "1" * 12), *rows_of("two", "1" + "0" * 11), *rows_of("three", "0" * 4 + "1" * 8)]


def test_ranks_intervals_and_paired_tests_are_exact() -> None:
    (group,) = compare_rows(THREE).groups
    assert [(entry.attack, entry.success.successes) for entry in group.entries] == [
        ("one", 12),
        ("three", 8),
        ("two", 1),
    ]
    assert group.ranks == (1, 2, 3)
    assert group.entries[1].success.interval == wilson(8, 12)
    assert [(pair.only_first, pair.only_second) for pair in group.pairs] == [(4, 0), (11, 0), (8, 1)]
    p = [binomtest(b, b + c, 0.5).pvalue for b, c in ((4, 0), (11, 0), (8, 1))]
    assert [pair.p for pair in group.pairs] == pytest.approx(p)
    # Holm by hand: the smallest of three times 3, the next times 2, the last as it is.
    assert [pair.adjusted for pair in group.pairs] == pytest.approx([p[0], 3 * p[1], 2 * p[2]])
    assert group.verdict[0].startswith("one (one-set) succeeds more than two (two-set)")
    assert group.verdict[1:] == ("n too small to tell in 2 of 3 pairs",)


def test_holm_never_lets_a_larger_p_overtake_a_smaller_one() -> None:
    assert holm([0.04, 0.03, 0.02]) == pytest.approx((0.06, 0.06, 0.06))
    assert holm([0.9, 0.01]) == pytest.approx((0.9, 0.02))
    assert holm([0.8, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


@pytest.mark.parametrize(("n", "can"), [(5, False), (6, True)])
def test_too_few_trials_are_said_to_be_too_few(n: int, can: bool) -> None:
    (group,) = compare_rows([*rows_of("one", "1" * n), *rows_of("two", "0" * n)]).groups
    assert ("n too small to tell" in group.verdict[0]) is not can
    if not can:
        assert "at least 6 trials" in group.verdict[0]


def test_nothing_that_differs_is_said_too() -> None:
    (group,) = compare_rows([*rows_of("one", "1" * 20), *rows_of("two", "1" * 19 + "0")]).groups
    assert group.verdict == ("n too small to tell: none of 1 pairs differs (smallest p after Holm's correction 1)",)


@pytest.mark.parametrize("by", ["attack", "defence", "protocol", "suite"])
def test_the_order_of_rows_does_not_change_the_table(by: By) -> None:
    networks = [*THREE, *rows_of("one", "01" * 6, protocol="digits-transfer/vgg11"), *rows_of("two", "10" * 3)]
    networks = list({one.job: one for one in networks}.values())
    first = written(compare_rows(networks, by), "json")
    for seed in range(5):
        random.Random(seed).shuffle(networks)
        assert written(compare_rows(networks, by), "json") == first


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon": 16},
        {"base_digest": "c" * 64},
        {"protocol": "digits-transfer/vgg11"},
        {"poisons": 5},
        {"task": "d" * 64},
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_ranked_apart(changes: dict[str, Any]) -> None:
    assert len(compare_rows([*rows_of("one", "1"), *rows_of("two", "1")]).groups) == 1
    assert len(compare_rows([*rows_of("one", "1"), *rows_of("two", "1", **changes)]).groups) == 2


def test_protocols_asked_for_by_name_are_not_ranked_together() -> None:
    other = "digits-transfer/vgg11"
    rows = [*rows_of("one", "1"), *rows_of("two", "1", protocol=other)]
    with pytest.raises(UsageError, match="--by protocol"):
        compare_rows(rows, "attack", (rows[0].protocol, other))
    (group,) = compare_rows(rows, "attack", (other,)).groups
    assert [entry.attack for entry in group.entries] == ["two"]
    with pytest.raises(UsageError, match="no protocol of these rows"):
        compare_rows(rows, "attack", ("nosuch/one",))


def test_a_protocol_id_says_its_defences() -> None:
    joined = "cifar10-transfer/resnet18@lr_milestones=20+30,width=0.25"
    assert defence_of(row("one", 0, True, protocol=joined)) == (joined, "none")
    chain = row("one", 0, True, protocol=f"{joined}+deep-knn@k=50+jpeg@quality=75")
    assert defence_of(chain) == (joined, "deep-knn@k=50+jpeg@quality=75")
    own = row("one", 0, True, protocol="own/mine", victim="mine")
    assert defence_of(own) == ("own", "mine")


def test_by_defence_the_lowest_success_comes_first() -> None:
    plain = rows_of("one", "1" * 8, protocol="digits-transfer/convnet")
    defended = rows_of("one", "0" * 8, protocol="digits-transfer/convnet+deep-knn@k=5")
    (group,) = compare_rows([*plain, *defended], "defence").groups
    assert [entry.defence for entry in group.entries] == ["deep-knn@k=5", "none"]
    assert "none succeeds more than deep-knn@k=5 (p 0.00781" in group.verdict[0]


def test_a_suite_is_the_mean_over_its_networks_on_whole_trials() -> None:
    one = rows_of("one", "1100", protocol="digits-scratch/convnet")
    two = rows_of("one", "101", protocol="digits-scratch/vgg11")
    (group,) = compare_rows([*one, *two], "suite").groups
    (entry,) = group.entries
    assert entry.protocol == "digits-scratch"
    assert (entry.success.successes, entry.success.n, entry.left_out) == (4, 6, 1)
    assert list(entry.trials.values()) == [1.0, 0.5, 0.5]
    assert entry.success.interval_method == "bootstrap over trials"


HOSTILE = ["=cmd|'/c calc'!A1", "<script>alert(1)</script>", r"\input{/etc/passwd} & $x_1$", "a|b `c` [d](e)\n\x1b[31m"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_do_no_harm_in_any_format(name: str) -> None:
    found = compare_rows([row("one", 0, True, attack=name, set_name=name)])
    page, text, tex = (written(found, style) for style in ("html", "md", "tex"))
    assert "<script" not in page
    assert "<script" not in text
    assert "\x1b" not in page + text + tex
    (line,) = (one for one in text.splitlines() if one.startswith("| 1 |"))
    assert len(re.findall(r"(?<!\\)\|", line)) == 14
    assert not re.search(r"\\input\b", tex)
    assert len([line for line in tex.splitlines() if re.search(r"(?<!\\)&", line)]) == 2
    for cells in csv.reader(io.StringIO(written(found, "csv"))):
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def figures(found: Comparison) -> list[tuple[str, ...]]:
    """Rates of each entry as the tables write them, from the fields of the CSV."""
    lines = csv.DictReader(io.StringIO(written(found, "csv")))
    return [
        (
            f"{one['success']} of {one['success_n']}, {100 * int(one['success']) / int(one['success_n']):.1f} %",
            f"[{100 * float(one['success_low']):.1f}, {100 * float(one['success_high']):.1f}]",
        )
        for one in lines
    ]


def test_formats_agree_in_their_numbers() -> None:
    found = compare_rows(THREE)
    assert len(figures(found)) == 3
    unescaped = {style: re.sub(r"\\(.)", r"\1", written(found, style)) for style in ("table", "md", "tex", "html")}  # type: ignore[arg-type]
    for rate, interval in figures(found):
        for style, text in unescaped.items():
            assert f"{rate} {interval}" in text, style
    document = json.loads(written(found, "json"))
    assert [one["success"] for one in document["groups"][0]["entries"]] == [12, 8, 1]


def store_rows(folder: Path, rows: list[Row]) -> Path:
    (folder / "rows").mkdir(parents=True)
    (folder / "settings.json").write_bytes(canonical_json.dumps({"base": {"train": "a" * 64, "test": "b" * 64}}))
    for one in rows:
        path = folder / "rows" / f"{one.job}.json"
        path.write_bytes(canonical_json.checksummed(one.model_dump(mode="json")))
    return folder


def test_rows_come_from_folders_files_and_documents_once(tmp_path: Path) -> None:
    folder = store_rows(tmp_path / "all" / "one", rows_of("one", "10", base_digest=None))
    two = store_rows(tmp_path / "all" / "two", rows_of("two", "11"))
    document = tmp_path / "score.json"
    document.write_text(
        json.dumps({"rows": [one.model_dump(mode="json") for one in rows_of("two", "11", seconds="9")]})
    )
    wanted = read_results([folder, two])
    assert len(wanted) == 4
    assert {one.base_digest for one in wanted} == {BASE}
    assert read_results([tmp_path / "all"]) == wanted
    several = [document, tmp_path / "all", *(two / "rows").iterdir()]
    assert len(read_results(several)) == 4
    assert read_results(several) == read_results(several[::-1])


def test_rows_of_older_versions_are_read_and_ranked_apart(tmp_path: Path) -> None:
    old = rows_of("one", "1", set_name=None, attack=None, epsilon=None, base_digest=None, task=None)
    folder = store_rows(tmp_path / "r", old)
    path = folder / "rows" / f"{old[0].job}.json"
    kept = {key: value for key, value in old[0].model_dump(mode="json").items() if value is not None}
    path.write_bytes(canonical_json.checksummed({**kept, "extractor": old[0].extractor, "input": None}))
    groups = compare_rows([*read_results([folder]), *rows_of("two", "1")]).groups
    assert sorted(group.entries[0].attack for group in groups) == ["two", "unknown"]


def test_what_is_no_result_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no results folder"):
        read_results([tmp_path])
    with pytest.raises(MissingError, match="no such file"):
        read_results([tmp_path / "nosuch"])
    broken = tmp_path / "broken.json"
    broken.write_text('{"rows": [{"job": 1}]}')
    with pytest.raises(DamagedError, match=r"broken.json: row 0: not a result row"):
        read_results([broken])
    folder = store_rows(tmp_path / "r", rows_of("one", "1"))
    document = tmp_path / "other.json"
    document.write_text(json.dumps([one.model_dump(mode="json") for one in rows_of("one", "0")]))
    with pytest.raises(UsageError, match="differ in targets"):
        read_results([folder, document])
    (path,) = (folder / "rows").iterdir()
    path.write_text(path.read_text().replace('"poisons":50', '"poisons":51'))
    with pytest.raises(DamagedError, match="checksum"):
        read_results([folder])
