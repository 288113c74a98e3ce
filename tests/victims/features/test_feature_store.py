"""The file of clean features: whole or absent, right or refused, and made once."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import forked
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scored import timeless

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError, ViolationError
from poisonsets.manifests.files import array_file, store
from poisonsets.victims.features import store as feature_store
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.features.store import DTYPES, FeatureDtype, FeatureStore, shared_images
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.scoring.score import Score, score_set
from poisonsets.victims.trainers.linear_probe import trainer

CPU = torch.device("cpu")
IDS = np.array([2, 3, 7, 30])
BY_COUNT = parse("digits-transfer/convnet@size=40,epochs=6,lr_milestones=4,learning_rate=0.1,batch=8,width=0.25,pad=1")


def fresh(base: Base, extractor: Weights, precision: FeatureDtype = "fp16", pad: int = 1) -> FeatureCache:
    images = torch.from_numpy(base.train.images)
    return FeatureCache(folded(extractor.network), images, pad=pad, flip=True, dtype=DTYPES[precision])


def coarse(base: Base, extractor: Weights) -> FeatureCache:
    """As `fresh`, by passes in bf16."""
    images = torch.from_numpy(base.train.images)
    return FeatureCache(folded(extractor.network), images, pad=1, flip=True, dtype=torch.float16, precision="bf16")


def kept(folder: Path, base: Base, extractor: Weights) -> FeatureStore:
    return FeatureStore(folder, extractor.digest, base.train.digest)


def files(folder: Path, *, whole: bool = False) -> list[Path]:
    found = folder.rglob("[0-9a-f]" * 64 + "*.safetensors")
    return sorted(path for path in found if not whole or path not in parts(folder))


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.part-*"))


@pytest.fixture
def stored(tmp_path: Path, tiny_base: Base, extractor: Weights) -> Path:
    """A finished file."""
    kept(tmp_path, tiny_base, extractor).adopt(fresh(tiny_base, extractor), IDS, build=True)
    (path,) = files(tmp_path)
    return path


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_features_of_the_file_are_those_computed_on_demand(
    tmp_path: Path, tiny_base: Base, extractor: Weights, precision: FeatureDtype
) -> None:
    lazy = fresh(tiny_base, extractor, precision)
    for build in (True, False):
        cache = fresh(tiny_base, extractor, precision)
        assert kept(tmp_path, tiny_base, extractor).adopt(cache, IDS, build=build)
        computed = cache.forwards
        ids = torch.from_numpy(IDS).repeat_interleave(cache.views)
        views = torch.arange(cache.views).repeat(len(IDS))
        assert torch.equal(cache.get(ids, views), lazy.get(ids, views))
        assert cache.forwards == computed
        # The second time everything came from the file.
        assert (computed > 0) == build
        assert cache.adopted.dtype == DTYPES[precision]


def test_features_of_bf16_passes_are_near_those_of_float32(tiny_base: Base, extractor: Weights) -> None:
    ids, views = torch.from_numpy(IDS), torch.tensor([0, 3, 8, 17])
    found, wanted = coarse(tiny_base, extractor).get(ids, views), fresh(tiny_base, extractor).get(ids, views)
    assert found.dtype == torch.float32
    assert 1e-4 < float((found - wanted).norm() / wanted.norm()) < 0.03


def test_only_who_may_builds(tmp_path: Path, tiny_base: Base, extractor: Weights) -> None:
    cache = fresh(tiny_base, extractor)
    assert not kept(tmp_path, tiny_base, extractor).adopt(cache, IDS, build=False)
    assert not (tmp_path / "features").exists()
    assert len(cache.adopted) == 0


def test_whatever_changes_a_feature_has_a_file_of_its_own(tmp_path: Path, tiny_base: Base, extractor: Weights) -> None:
    here = kept(tmp_path, tiny_base, extractor)
    changes = [
        (here, fresh(tiny_base, extractor), IDS),
        (here, fresh(tiny_base, extractor, "fp32"), IDS),
        (here, fresh(tiny_base, extractor, pad=2), IDS),
        (here, coarse(tiny_base, extractor), IDS),
        (here, fresh(tiny_base, extractor), IDS[:3]),
        (here, fresh(tiny_base, extractor), IDS + 1),
        (replace(here, extractor="e" * 64), fresh(tiny_base, extractor), IDS),
        (replace(here, train="f" * 64), fresh(tiny_base, extractor), IDS),
    ]
    for features, cache, ids in changes:
        assert not features.adopt(cache, ids, build=False)
        features.adopt(cache, ids, build=True)
    assert len(files(tmp_path)) == len(changes)


def test_a_file_holds_little_more_than_its_features(stored: Path, extractor: Weights) -> None:
    beside = stored.stat().st_size - len(IDS) * 18 * extractor.network.feature_width * 2
    assert 0 < beside < 16 << 10
    # So that the benchmark's clean images at full width, 512 features, stay below the limit.
    assert 2500 * 162 * 512 * 2 + beside < 450 << 20


def test_shared_images_are_the_first_of_each_class(tiny_base: Base) -> None:
    by_count = shared_images(BY_COUNT, tiny_base)
    labels = tiny_base.train.labels
    assert by_count.tolist() == sorted([*np.flatnonzero(labels == 2)[:20], *np.flatnonzero(labels == 3)[:20]])
    assert shared_images(replace(BY_COUNT, size=10), tiny_base).tolist() == [2, 3, 6, 7, 10, 11, 14, 15, 18, 19]
    in_place = replace(BY_COUNT, size=None, composition="in-place")
    assert shared_images(in_place, tiny_base).tolist() == np.flatnonzero(labels >= 2).tolist()


class TestDamage:
    def refuse(self, path: Path, base: Base, extractor: Weights) -> None:
        with pytest.raises(DamagedError, match=rf"Remove .*{path.name}"):
            kept(path.parents[1], base, extractor).adopt(fresh(base, extractor), IDS, build=True)

    def test_bytes(self, stored: Path, tiny_base: Base, extractor: Weights) -> None:
        good = stored.read_bytes()
        data = bytearray(good)
        data[-100] ^= 1
        for bad in (b"", b"not safetensors", good[: len(good) // 2], bytes(data)):
            stored.write_bytes(bad)
            self.refuse(stored, tiny_base, extractor)

    def test_another_file_under_its_name(self, stored: Path, tiny_base: Base, extractor: Weights) -> None:
        kept(stored.parents[1], tiny_base, extractor).adopt(fresh(tiny_base, extractor), IDS + 1, build=True)
        (other,) = (path for path in files(stored.parent) if path != stored)
        other.replace(stored)
        self.refuse(stored, tiny_base, extractor)

    @pytest.mark.parametrize(
        "what", ["no record", "another record", "no data", "more", "shape", "dtype", "claims", "linked"]
    )
    def test_contents(self, stored: Path, tiny_base: Base, extractor: Weights, what: str) -> None:
        file = array_file.read(stored, lambda _: None, limit=1 << 20, remedy="")
        record, values = file.record, file.arrays["features"]
        if what == "no record":
            save_file({"features": values}, stored)
        elif what == "another record":
            array_file.write(stored, record | {"pad": 2}, file.arrays)
        elif what == "no data":
            array_file.write(stored, record, {})
        elif what == "more":
            array_file.write(stored, record, {**file.arrays, "more": values})
        elif what == "shape":
            array_file.write(stored, record, {"features": values[:-1]})
        elif what == "dtype":
            array_file.write(stored, record, {"features": values.astype(np.float32)})
        elif what == "claims":
            stored.write_bytes(stored.read_bytes()[: -values.nbytes])
        elif what == "linked":
            stored.symlink_to(stored.rename(stored.with_suffix(".aside")))
        self.refuse(stored, tiny_base, extractor)

    def test_once_removed_it_is_made_again(self, stored: Path, tiny_base: Base, extractor: Weights) -> None:
        good = stored.read_bytes()
        stored.unlink()
        kept(stored.parents[1], tiny_base, extractor).adopt(fresh(tiny_base, extractor), IDS, build=True)
        assert stored.read_bytes() == good


class TestBuilding:
    def test_a_build_that_fails_leaves_nothing(
        self, tmp_path: Path, tiny_base: Base, extractor: Weights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = fresh(tiny_base, extractor)
        for error in (KeyboardInterrupt, RuntimeError, ViolationError("too coarse")):
            with monkeypatch.context() as patch:
                patch.setattr(cache, "computed", lambda *_, error=error: (_ for _ in ()).throw(error))
                with pytest.raises(type(error) if isinstance(error, Exception) else error):
                    kept(tmp_path, tiny_base, extractor).adopt(cache, IDS, build=True)
            assert [path.suffix for path in (tmp_path / "features").iterdir()] == [".lock"]
        kept(tmp_path, tiny_base, extractor).adopt(cache, IDS, build=True)

    def test_what_a_killed_build_left_is_swept(self, stored: Path, tiny_base: Base, extractor: Weights) -> None:
        left = stored.with_name(f"{stored.name}.0123456789ab{store.TEMPORARY}")
        stored.rename(left)
        kept(stored.parents[1], tiny_base, extractor).adopt(fresh(tiny_base, extractor), IDS, build=True)
        assert stored.exists()
        assert not left.exists()

    def test_who_finds_the_lock_taken_waits_and_reads(self, stored: Path, tiny_base: Base, extractor: Weights) -> None:
        aside = stored.rename(stored.with_suffix(".aside"))
        cache = fresh(tiny_base, extractor)
        here = kept(stored.parents[1], tiny_base, extractor)
        second = threading.Thread(target=lambda: here.adopt(cache, IDS, build=True))
        with store.locked(stored.with_suffix(".lock")):
            second.start()
            time.sleep(0.3)
            assert second.is_alive()
            aside.rename(stored)
        second.join(20)
        assert len(cache.adopted)
        assert cache.forwards == 0

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path, tiny_base: Base, extractor: Weights) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(MissingError, match="file"):
            kept(tmp_path / "file", tiny_base, extractor).adopt(fresh(tiny_base, extractor), IDS, build=True)


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of one forward pass."""
    monkeypatch.setattr(feature_store, "_part_rows", lambda cache: cache.batch)


@pytest.mark.usefixtures("short_parts")
class TestParts:
    """Twelve images in 18 views are four parts of a forward pass, the last one short."""

    IDS = np.arange(12)

    def build(self, folder: Path, base: Base, extractor: Weights, ids: NDArray[np.int64] = IDS) -> FeatureCache:
        cache = fresh(base, extractor)
        assert kept(folder, base, extractor).adopt(cache, ids, build=True)
        return cache

    def stop(self, folder: Path, base: Base, extractor: Weights, done: int, ids: NDArray[np.int64] = IDS) -> list[Path]:
        """The parts that a build leaves which is stopped after some."""

        def progress(count: int, total: int) -> None:
            assert total == 4
            if count == done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            kept(folder, base, extractor).adopt(fresh(base, extractor), ids, build=True, progress=progress)
        return parts(folder)

    @pytest.mark.parametrize("done", range(5))
    def test_a_stopped_build_goes_on_to_the_same_bytes(
        self, tmp_path: Path, tiny_base: Base, extractor: Weights, done: int
    ) -> None:
        self.build(tmp_path / "whole", tiny_base, extractor)
        assert len(self.stop(tmp_path / "stopped", tiny_base, extractor, done)) == done
        assert not files(tmp_path / "stopped", whole=True)
        told: list[tuple[int, int]] = []
        cache = fresh(tiny_base, extractor)
        kept(tmp_path / "stopped", tiny_base, extractor).adopt(
            cache, self.IDS, build=True, progress=lambda *now: told.append(now)
        )
        assert told == [(i, 4) for i in range(5)]
        assert cache.forwards == (4 - done) * cache.batch
        (whole,), (found,) = files(tmp_path / "whole"), files(tmp_path / "stopped")
        assert (found.name, found.read_bytes()) == (whole.name, whole.read_bytes())

    @pytest.mark.parametrize("what", ["a bit", "cut", "empty", "another part", "another array", "link"])
    def test_a_part_that_is_not_what_was_written_is_made_anew(
        self, tmp_path: Path, tiny_base: Base, extractor: Weights, what: str
    ) -> None:
        (whole,) = (self.build(tmp_path / "whole", tiny_base, extractor), files(tmp_path / "whole"))[1]
        first, second, _ = self.stop(tmp_path / "stopped", tiny_base, extractor, 3)
        data = bytearray(first.read_bytes())
        if what == "a bit":
            data[-100] ^= 1
            first.write_bytes(data)
        elif what == "another part":
            shutil.copy(second, first)
        elif what == "another array":
            other = self.stop(tmp_path / "other", tiny_base, extractor, 1, self.IDS + 1)
            shutil.copy(other[0], first)
        elif what == "link":
            first.unlink()
            first.symlink_to(tmp_path / "nowhere")
        else:
            first.write_bytes(data[: len(data) // 2] if what == "cut" else b"")
        cache = self.build(tmp_path / "stopped", tiny_base, extractor)
        assert cache.forwards == 2 * cache.batch
        assert files(tmp_path / "stopped")[0].read_bytes() == whole.read_bytes()

    def test_parts_are_of_one_file_and_go_when_it_is_there(
        self, tmp_path: Path, tiny_base: Base, extractor: Weights
    ) -> None:
        others = self.stop(tmp_path, tiny_base, extractor, 2, self.IDS + 1)
        cache = self.build(tmp_path, tiny_base, extractor)
        assert cache.forwards == 4 * cache.batch
        assert parts(tmp_path) == others
        # A process that was killed between the two steps left the parts of a finished file.
        (whole,) = files(tmp_path, whole=True)
        own = whole.with_name(f"{whole.stem}.part-00003.safetensors")
        shutil.copy(others[0], own)
        assert self.build(tmp_path, tiny_base, extractor).forwards == 0
        assert parts(tmp_path) == others

    def test_features_that_the_precision_cannot_hold_leave_no_part(
        self, tmp_path: Path, tiny_base: Base, extractor: Weights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.stop(tmp_path, tiny_base, extractor, 2)

        def coarse(*_: Any) -> None:
            raise ViolationError("too coarse")

        monkeypatch.setattr(FeatureCache, "computed", coarse)
        with pytest.raises(ViolationError):
            self.build(tmp_path, tiny_base, extractor)
        assert [path.suffix for path in (tmp_path / "features").iterdir()] == [".lock"]

    def test_who_waited_for_a_killed_builder_goes_on_from_its_parts(
        self, tmp_path: Path, tiny_base: Base, extractor: Weights
    ) -> None:
        def build_three() -> None:
            kept(tmp_path, tiny_base, extractor).adopt(
                fresh(tiny_base, extractor),
                self.IDS,
                build=True,
                progress=lambda done, _: signal.pause() if done == 3 else None,
            )

        caches: list[FeatureCache] = []
        second = threading.Thread(target=lambda: caches.append(self.build(tmp_path, tiny_base, extractor)))
        with forked(build_three) as builder:
            while builder.is_alive() and sum(path.suffix == ".safetensors" for path in parts(tmp_path)) < 3:
                time.sleep(0.01)
            second.start()
            time.sleep(0.3)
            assert builder.is_alive()
            assert second.is_alive()
        second.join(20)
        (cache,) = caches
        assert cache.forwards == cache.batch
        self.build(tmp_path / "whole", tiny_base, extractor)
        (whole,) = files(tmp_path / "whole")
        (found,) = files(tmp_path / "features")
        assert (found.name, found.read_bytes()) == (whole.name, whole.read_bytes())
        assert not parts(tmp_path)


class TestScoring:
    def score(self, opened: Any, base: Base, extractor: Weights, **options: Any) -> Score:
        return score_set(opened, base, **{"protocols": [BY_COUNT], "extractors": [extractor], "device": CPU} | options)

    def opened(self, makers: Any, count: int, content: str = "c" * 64) -> Any:
        return makers.set_of(*(makers.trial(i) for i in range(count)), content=content)

    def test_it_is_made_from_four_trials_on_and_changes_no_row(
        self, tmp_path: Path, tiny_base: Base, makers: Any, extractor: Weights
    ) -> None:
        remembered = self.score(self.opened(makers, 5), tiny_base, extractor)
        self.score(self.opened(makers, 3), tiny_base, extractor, cache=tmp_path)
        assert not files(tmp_path)
        whole = self.score(self.opened(makers, 5), tiny_base, extractor, cache=tmp_path)
        assert len(files(tmp_path)) == 1
        assert timeless(whole) == timeless(remembered)

    @pytest.mark.usefixtures("short_parts")
    def test_it_is_told_how_far_the_file_is(
        self, tmp_path: Path, tiny_base: Base, makers: Any, extractor: Weights
    ) -> None:
        told: list[tuple[int, int]] = []
        for _ in range(2):
            self.score(
                self.opened(makers, 4), tiny_base, extractor, cache=tmp_path, sharing=lambda *now: told.append(now)
            )
        # 40 images in 9 views, once: the second time the file is there.
        assert told == [(done, 6) for done in range(7)]

    def test_trials_that_draw_alike_are_one(
        self, tmp_path: Path, tiny_base: Base, makers: Any, extractor: Weights
    ) -> None:
        in_place = replace(BY_COUNT, size=None, composition="in-place")
        self.score(self.opened(makers, 5), tiny_base, extractor, protocols=[in_place], cache=tmp_path)
        assert not files(tmp_path)
        self.score(
            self.opened(makers, 1), tiny_base, extractor, protocols=[in_place], cache=tmp_path, victim_seeds=range(4)
        )
        assert len(files(tmp_path)) == 1

    def test_another_set_of_the_base_finds_it(
        self, tmp_path: Path, tiny_base: Base, makers: Any, extractor: Weights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.score(self.opened(makers, 4), tiny_base, extractor, cache=tmp_path)
        (path,) = files(tmp_path)
        written = path.stat().st_mtime_ns
        computed: list[int] = []
        inner = FeatureCache.computed

        def counted(cache: FeatureCache, keys: torch.Tensor) -> torch.Tensor:
            if len(cache.images) == len(tiny_base.train.labels):
                computed.append(len(keys))
            return inner(cache, keys)

        monkeypatch.setattr(FeatureCache, "computed", counted)
        self.score(self.opened(makers, 2, content="d" * 64), tiny_base, extractor, cache=tmp_path)
        assert computed == []
        assert path.stat().st_mtime_ns == written

    def test_rows_do_not_depend_on_the_block(
        self, tiny_base: Base, makers: Any, extractor: Weights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = self.opened(makers, 5)
        together = self.score(opened, tiny_base, extractor, victim_seeds=(0, 1))
        monkeypatch.setattr("poisonsets.victims.trainers.linear_probe.trainer.LinearProbeTrainer.block", 3)
        assert timeless(self.score(opened, tiny_base, extractor, victim_seeds=(0, 1))) == timeless(together)

    def test_a_stop_loses_one_block(
        self, tmp_path: Path, tiny_base: Base, makers: Any, extractor: Weights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("poisonsets.victims.trainers.linear_probe.trainer.LinearProbeTrainer.block", 2)
        trials = [makers.trial(i) for i in range(5)]
        broken = replace(trials[3], images=trials[3].images[:-1])
        opened = makers.set_of(*trials[:3], broken, trials[4])
        with pytest.raises(DamagedError, match="trial 3"):
            self.score(opened, tiny_base, extractor, results=tmp_path / "r")
        assert len(list((tmp_path / "r" / "rows").iterdir())) == 2
        resumed = self.score(makers.set_of(*trials), tiny_base, extractor, results=tmp_path / "r", resume=True)
        assert [row.trial for row in resumed.rows] == [0, 1, 2, 3, 4]

    def test_a_diverged_victim_keeps_the_other_rows_of_its_block(
        self, tmp_path: Path, tiny_base: Base, makers: Any, extractor: Weights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inner = trainer.train_heads

        def spoiled(*given: Any, **named: Any) -> list[torch.nn.Linear]:
            heads = inner(*given, **named)
            with torch.no_grad():
                heads[1].weight.fill_(float("nan"))
            return heads

        monkeypatch.setattr(trainer, "train_heads", spoiled)
        with pytest.raises(ViolationError, match=r"trial 1, .*: the victim diverged"):
            self.score(self.opened(makers, 3), tiny_base, extractor, results=tmp_path / "r")
        rows = [json.loads(path.read_bytes()) for path in (tmp_path / "r" / "rows").iterdir()]
        assert sorted(row["trial"] for row in rows) == [0, 2]

    def test_a_results_folder_is_of_one_precision(
        self, tmp_path: Path, tiny_base: Base, makers: Any, extractor: Weights
    ) -> None:
        opened = self.opened(makers, 1)
        self.score(opened, tiny_base, extractor, results=tmp_path / "r")
        with pytest.raises(MissingError, match=r"features is fp16, now fp32"):
            self.score(opened, tiny_base, extractor, results=tmp_path / "r", resume=True, features="fp32")
