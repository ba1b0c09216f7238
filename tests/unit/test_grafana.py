"""The dashboard asks for metrics that exist."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sync_daemon.journal_lag import JournalLag
from sync_daemon.metrics.counting import Counting
from sync_daemon.metrics.gathering import Picture, families
from sync_daemon.watching import BooksState, LiveCount, NasState, RadiusState, Waiting

DASHBOARD = Path(__file__).resolve().parents[2] / "docs/grafana.json"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
PICTURE = Picture(
    NOW,
    RadiusState(
        {}, {"a": NOW}, (NasState("n", "10.0.0.1", "other", "works", None),), {"10.0.0.1": 300}, 0, 0
    ),
    BooksState({"sms": Waiting(1, NOW)}, 0, 0, {"north": NOW}),
    {"10.0.0.1": LiveCount(1, NOW)},
    JournalLag(0, 0, None, 1),
)


def told() -> set[str]:
    """Name everything the worker tells."""
    registry = CollectorRegistry()
    Counting("node", registry)
    names = {family.name for family in families(PICTURE, 0.0)}
    for family in registry.collect():
        names |= {f"{family.name}_total"} if family.type == "counter" else {f"{family.name}_bucket"}
    return names


def asked() -> list[tuple[str, str]]:
    return [
        (panel["title"], name)
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
        for name in re.findall(r"herotill_\w+", target["expr"])
    ]


@pytest.mark.parametrize(("title", "name"), asked())
def test_every_panel_asks_for_a_metric_that_exists(title: str, name: str) -> None:
    assert name in told()


def test_no_two_panels_lie_over_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
