import importlib
import multiprocessing
import time

import pytest

from herotill.errors import InvalidValue
from sync_daemon.supervision.roster import WORKERS, chosen_workers, longest_silence_seconds
from sync_daemon.supervision.worker_process import LONGEST_PAUSE_SECONDS, WorkerProcess, pause_seconds


def test_pauses_double_up_to_a_limit() -> None:
    assert [pause_seconds(failures) for failures in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert pause_seconds(10_000) == LONGEST_PAUSE_SECONDS


def test_only_names_workers() -> None:
    assert chosen_workers(None) == tuple(WORKERS)
    assert chosen_workers("coa, meter,coa") == ("coa", "meter")


def test_without_names_who_stays_away() -> None:
    assert set(chosen_workers(None, "meter")) == set(WORKERS) - {"meter"}
    with pytest.raises(InvalidValue, match="without"):
        chosen_workers("meter", "meter")


@pytest.mark.parametrize("only", ["", "coa,", "ceo"])
def test_what_is_no_worker_is_named(only: str) -> None:
    with pytest.raises(InvalidValue, match="only"):
        chosen_workers(only)


@pytest.mark.parametrize("module", WORKERS.values())
def test_every_worker_can_run(module: str) -> None:
    assert callable(importlib.import_module(module).run)


def test_workers_that_do_much_at_once_are_given_longer() -> None:
    assert longest_silence_seconds("coa", 120) == 120
    assert longest_silence_seconds("billing", 120) == 1200


@pytest.mark.parametrize(("killed_seconds_ago", "is_stuck"), [(None, False), (1, False), (60, True)])
def test_what_was_killed_and_does_not_go_is_stuck(killed_seconds_ago: int | None, is_stuck: bool) -> None:
    process = multiprocessing.get_context("spawn").Process()
    killed_at = None if killed_seconds_ago is None else time.monotonic() - killed_seconds_ago
    assert WorkerProcess("coa", process, killed_at=killed_at).is_stuck is is_stuck
