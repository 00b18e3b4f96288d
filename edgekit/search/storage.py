"""What trials came to, on disk as Optuna's journal: a line each, so that no end of a search loses what ran before."""

from __future__ import annotations

import dataclasses
import fcntl
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import optuna
from optuna.distributions import IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState, create_trial

from edgekit.artifact.atomic import cannot_write, check_room
from edgekit.compress.rules import Tuning
from edgekit.errors import DataError, UsageError
from edgekit.search.limits import Limits, Outcome, Result, document_of, result_of
from edgekit.search.space import Point, Space, compression_of, key_of, words
from edgekit.search.trial import Job

optuna.logging.set_verbosity(optuna.logging.ERROR)
ALONE = "sensitivity"  # the study of single changes, which also says what the file is of
NO_JOURNAL = (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError)
"""What reading something else as a journal comes to."""
FIRST = b'{"op_code":0,"worker_id":'  # how a journal begins
ELSEWHERE = "name another file with --storage"


@dataclass(frozen=True)
class Asked:
    """A point of a space that is to be tried, on fewer windows where it is `quick`, and trained where it says so."""

    space: Space
    point: Point
    quick: bool = False
    tuning: Tuning = field(default_factory=Tuning)

    @property
    def job(self) -> Job:
        """What a worker does for it."""
        return Job(dataclasses.replace(compression_of(self.space, self.point), tuning=self.tuning), self.quick)

    @property
    def words(self) -> str:
        """The point, and how it is trained."""
        trained = f"trained for {self.tuning.epochs} epochs: " if self.tuning.epochs else ""
        return trained + words(self.space, self.point)


class _NoLock(JournalFileOpenLock):
    """The whole file is locked for as long as it is open."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Storage:
    """The results of trials by their jobs, of one problem; UsageError for a file of another, or that is in use.

    A last line that was cut short is taken off. DataError for a file that is no journal of a search, which stays as it
    is.
    """

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        check_room(path)
        self.path = path
        self._file = _locked(path)
        try:
            _mend(self._file, path)
            self._storage = JournalStorage(JournalFileBackend(str(path), _NoLock(str(path))))
            self._studies = {study.study_name: study for study in self._open()}
            self._check(identity)
            self._results = {
                trial.user_attrs["job"]: result_of(json.loads(trial.user_attrs["result"]))
                for study in self._studies.values()
                for trial in study.trials
            }
        except (DataError, *NO_JOURNAL) as error:
            self._file.close()
            raise _no_storage(path) from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Storage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._results)

    def known(self, job: Job) -> Result | None:
        """What a job came to, None where it never ended."""
        return self._results.get(_key(job))

    def record(self, study: str, asked: Asked, result: Result, limits: Limits) -> None:
        """Keep what a point came to, in the study of that name."""
        if study not in self._studies:
            self._studies[study] = optuna.create_study(
                storage=self._storage, study_name=study, directions=["minimize", "minimize"]
            )
        params, distributions = parameters(asked.space, asked.point)
        found = isinstance(result, Outcome)
        self._studies[study].add_trial(
            create_trial(
                state=TrialState.COMPLETE if found else TrialState.FAIL,
                values=values(result, limits) if isinstance(result, Outcome) else None,
                constraints=limits.shares(result) if isinstance(result, Outcome) else None,
                params=params,
                distributions=distributions,
                user_attrs={
                    "job": _key(asked.job),
                    "words": asked.words,
                    "result": json.dumps(document_of(result)),
                },
            )
        )
        self._results[_key(asked.job)] = result

    def _open(self) -> Sequence[optuna.Study]:
        names = optuna.study.get_all_study_names(self._storage)
        return [optuna.load_study(study_name=name, storage=self._storage) for name in names]

    def _check(self, identity: Mapping[str, str]) -> None:
        if ALONE not in self._studies:
            self._studies[ALONE] = optuna.create_study(
                storage=self._storage, study_name=ALONE, directions=["minimize", "minimize"]
            )
        alone = self._studies[ALONE]
        if not alone.user_attrs and not any(study.trials for study in self._studies.values()):
            alone.set_user_attr("problem", dict(identity))  # a line of its own: the search may have ended before it
            return
        before = alone.user_attrs["problem"]
        if other := [name for name in identity if before.get(name) != identity[name]]:
            cause = f"is of a search with another {' and another '.join(other)}"
            raise UsageError(str(self.path), cause, f"{ELSEWHERE}, or delete this one")


def parameters(space: Space, point: Point) -> tuple[dict[str, int], dict[str, Any]]:
    """A point as parameters of Optuna, with what each may be."""
    varied = [choice for choice in space if len(choice.options) > 1]
    distributions = {choice.name: IntDistribution(0, len(choice.options) - 1) for choice in varied}
    return {name: point.get(name, 0) for name in distributions}, distributions


def values(outcome: Outcome, limits: Limits) -> list[float]:
    """What is to be small: the drop, where the promise allows less that does not count, and the size."""
    return [max(outcome.drop, 0.0), float(limits.size(outcome))]


def _key(job: Job) -> str:
    return ("quick " if job.quick else "") + key_of(job.compression)


def _locked(path: Path) -> IO[bytes]:
    if path.exists() and not path.is_file():
        raise DataError(str(path), "is no regular file", ELSEWHERE)
    try:
        file = path.open("a+b")
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UsageError(str(path), "is in use by another search", f"wait for it, or {ELSEWHERE}") from None
    return file


def _mend(file: IO[bytes], path: Path) -> None:
    """Take off a last line that was cut short as it was written, where all before it is a journal of ours."""
    file.seek(0)
    data = file.read()
    end = data.rfind(b"\n") + 1
    lines = [json.loads(line) for line in data[:end].splitlines()]
    begins = lines[0]["op_code"] == 0 and lines[0]["study_name"] == ALONE if lines else data.startswith(FIRST)
    if data and not (begins and all("op_code" in line for line in lines)):
        raise _no_storage(path)
    if end < len(data):
        file.truncate(end)


def _no_storage(path: Path) -> DataError:
    return DataError(str(path), "is not the storage of a search", ELSEWHERE)
