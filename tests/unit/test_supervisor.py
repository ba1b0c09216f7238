import importlib

import pytest

from herotill.errors import InvalidValue
from sync_daemon.supervisor import LONGEST_PAUSE_SECONDS, WORKERS, chosen_workers, pause_seconds


def test_pauses_double_up_to_a_limit() -> None:
    assert [pause_seconds(failures) for failures in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert pause_seconds(10_000) == LONGEST_PAUSE_SECONDS


def test_only_names_workers() -> None:
    assert chosen_workers(None) == tuple(WORKERS)
    assert chosen_workers("coa, meter,coa") == ("coa", "meter")


@pytest.mark.parametrize("only", ["", "coa,", "ceo"])
def test_what_is_no_worker_is_named(only: str) -> None:
    with pytest.raises(InvalidValue, match="only"):
        chosen_workers(only)


@pytest.mark.parametrize("module", WORKERS.values())
def test_every_worker_can_run(module: str) -> None:
    assert callable(importlib.import_module(module).run)
