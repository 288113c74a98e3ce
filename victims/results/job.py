"""A job's name, and that of its row and trajectory."""

import hashlib
from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.records.fields import Index, Label, Sha256, Strict, Text
from poisonsets.manifests.records.trial import Trial


class JobIdentity(Strict):
    """The seven values that name a job.

    Attributes:
        content_digest: of the poison set.
        trial: its number.
        victim_classes: the classes victims know, in the order of their outputs.
        protocol: its id, with overrides.
        protocol_version: its version.
        extractor: digest of the weights that training starts from; None from scratch.
        victim_seed: which of several victims.
    """

    content_digest: Sha256
    trial: Index
    victim_classes: tuple[Label, ...]
    protocol: Text
    protocol_version: Index
    extractor: Sha256 | None
    victim_seed: Index

    @property
    def key(self) -> str:
        """The sha256 of the seven, in their order; names the job's files."""
        values = self.model_dump(mode="json", include=set(JobIdentity.model_fields))
        return hashlib.sha256(canonical_json.dumps(["job/3", *values.values()])).hexdigest()

    def fields(self) -> dict[str, Any]:
        """The fields of a `JobRecord` of this job."""
        return {"job": self.key, **dict(self)}


class JobRecord(JobIdentity):
    """A record under `job`, the key of its job; a ValidationError where that is not the key of its fields."""

    job: Sha256

    @model_validator(mode="after")
    def _of_its_job(self) -> Self:
        if self.job != self.key:
            raise ValueError(f"job is {self.job[:12]}, its fields are those of job {self.key[:12]}")
        return self


def base_digest(splits: Mapping[str, str]) -> str:
    """The sha256 that names a base by the digests of its splits."""
    return hashlib.sha256(canonical_json.dumps(["base/1", dict(splits)])).hexdigest()


def task_digest(trial: Trial) -> str:
    """The sha256 of what a trial asks of a victim: its targets, source classes and adversarial label.

    Trials of two sets on one base with equal ones can be compared in pairs; poisons, bases and budgets may differ.
    """
    targets = [target.model_dump(mode="json") for target in trial.targets]
    asked = ["task/1", targets, list(trial.source_classes), trial.adversarial_label]
    return hashlib.sha256(canonical_json.dumps(asked)).hexdigest()
