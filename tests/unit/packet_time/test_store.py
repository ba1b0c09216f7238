"""What a node knows of an account before the database does, and what it still knows while the database is away."""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2.errors
import pytest

from herotill.class_token import ClassToken, sign_class
from herotill.snapshot import AccountSnapshot, AccountStatus
from rlm_herotill.database import Unavailable
from rlm_herotill.settings import PacketTimeSettings
from rlm_herotill.store import SnapshotStore
from tests.unit.packet_time.fakes import student
from tests.unit.packet_time.test_memory import document
from tests.unit.rules.build import NOW, session

SECRET = bytes(range(32))
RECEIVED_AT_US = int(NOW.timestamp() * 1_000_000)


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    settings = PacketTimeSettings("", tmp_path, "node-1", SECRET)
    remembering = SnapshotStore(settings, print)
    fields: Any = remembering
    fields._database = SimpleNamespace(is_listening=True)
    fields._memory.keep("student-1", student())
    return remembering


def note_interim(store: SnapshotStore, offset: int, octets: int, owner: str = "student-1") -> None:
    value = sign_class(SECRET, ClassToken("login-1", owner))
    pairs = [
        ("Acct-Status-Type", "Interim-Update"),
        ("User-Name", "student-1"),
        ("Acct-Session-Id", f"session of {owner}"),
        ("Acct-Session-Time", "60"),
        ("Acct-Output-Octets", str(octets)),
        ("Class", "0x" + value.encode().hex()),
    ]
    store.note_accounting(("1.journal", offset), RECEIVED_AT_US, "192.0.2.1", pairs)


def seen(store: SnapshotStore) -> AccountSnapshot:
    snapshot, from_memory = store.account("student-1", NOW)
    assert from_memory
    assert snapshot is not None
    return snapshot


def test_what_is_journalled_and_not_metered_is_laid_over(store: SnapshotStore) -> None:
    note_interim(store, 100, 1000)
    note_interim(store, 200, 5000)
    assert seen(store).grants[0].used_octets == 5000
    assert [session.login_id for session in seen(store).sessions] == ["login-1"]


def test_usage_of_the_account_its_class_names_is_not_laid_over_the_one_its_user_name_names(
    store: SnapshotStore,
) -> None:
    note_interim(store, 100, 1000, owner="somebody else")
    assert seen(store).grants[0].used_octets == 0
    assert seen(store).sessions == ()


# -- freshness: `hears` is the database's thread


class FakeDatabase:
    """The database of one account; what happens while it is asked is up to the test."""

    def __init__(self) -> None:
        self.is_listening = True
        self.is_away = False
        self.documents = {"student-1": document("student-1")}
        self.asked = 0
        self.meanwhile: list[Any] = []

    def execute(self, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        if self.is_away:
            raise Unavailable("it is away")
        self.asked += 1
        found = self.documents.get(parameters[0])
        for happens in self.meanwhile:
            happens()
        return (
            [(found, None)]
            if len(parameters) == 1
            else [(None if found is None else json.loads(found), None)]
        )


@pytest.fixture
def database(store: SnapshotStore) -> FakeDatabase:
    fields: Any = store
    fields._database = FakeDatabase()
    found: FakeDatabase = fields._database
    return found


def hears(store: SnapshotStore, channel: str, payload: Any) -> None:
    store._notified(f"herotill_{channel}", json.dumps(payload) if payload != "" else "", no_statement)


def no_statement(*_arguments: Any) -> list[tuple[Any, ...]]:
    raise AssertionError("nothing is to be asked")


def metered(offset: int, node: str = "node-1") -> dict[str, Any]:
    return {"node": node, "segment": "1.journal", "offset": offset, "accounts": ["student-1"]}


def test_what_a_restart_ended_is_known_without_asking_and_an_account_that_was_metered_is_read_at_leisure(
    store: SnapshotStore,
) -> None:
    store._memory.keep("student-1", student(sessions=(session("a"), session("b", nas_address="192.0.2.9"))))
    restarted = {"192.0.2.1": (NOW + timedelta(seconds=1)).isoformat()}
    hears(store, "usage", metered(0, "node-2") | {"accounts": [], "restarts": restarted})
    assert [one.nas_address for one in seen(store).sessions] == ["192.0.2.9"]
    asked: list[Any] = []

    def answers(_statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        asked.append(parameters[-1])
        return [(name, document(name), None) for name in parameters[-1]]

    hears(store, "usage", metered(0, "node-2"))
    assert store._idle(answers) is False
    hears(store, "usage", metered(0, "node-2"))
    # Not again at once: a busy day must not become a second one for the database.
    assert store._idle(answers) is True
    assert asked == [["student-1"]]


CHANGES = [("account", ["student-1"]), ("account", ""), ("usage", metered(0, "node-2"))]


@pytest.mark.parametrize(("channel", "payload"), CHANGES)
def test_a_change_that_was_heard_makes_the_next_login_ask_the_database(
    store: SnapshotStore, database: FakeDatabase, channel: str, payload: Any
) -> None:
    assert store.account("student-1", NOW)[1]
    hears(store, channel, payload)
    assert not store.account("student-1", NOW)[1]
    assert store.account("student-1", NOW)[1]


@pytest.mark.parametrize(("channel", "payload"), CHANGES)
def test_a_snapshot_that_changed_while_it_was_read_is_used_once_and_not_kept(
    store: SnapshotStore, database: FakeDatabase, channel: str, payload: Any
) -> None:
    hears(store, "account", ["student-1"])
    database.meanwhile = [lambda: hears(store, channel, payload)]
    assert not store.account("student-1", NOW)[1]
    assert not store.account("student-1", NOW)[1]
    assert database.asked == 2


def test_a_change_of_another_account_costs_this_one_nothing(
    store: SnapshotStore, database: FakeDatabase
) -> None:
    hears(store, "account", ["student-2"])
    assert store.account("student-1", NOW)[1]


def test_memory_accepts_nobody_while_changes_are_not_heard(
    store: SnapshotStore, database: FakeDatabase
) -> None:
    database.is_listening = False
    assert not store.account("student-1", NOW)[1]


@pytest.mark.parametrize("channel", ["account", "usage"])
@pytest.mark.parametrize("payload", ["{", '{"accounts": 1}', "[[]]", "7"])
def test_a_notification_nobody_understands_may_have_changed_anything(
    store: SnapshotStore, database: FakeDatabase, channel: str, payload: str
) -> None:
    store._notified(f"herotill_{channel}", payload, no_statement)
    assert not store.account("student-1", NOW)[1]


def test_what_changed_while_nobody_listened_is_unknown(store: SnapshotStore, database: FakeDatabase) -> None:
    store._connected(lambda *_arguments: [])
    assert not store.account("student-1", NOW)[1]


def test_r34_what_was_known_last_outlives_what_is_only_metered(
    store: SnapshotStore, database: FakeDatabase
) -> None:
    """Every interim of an account outdates it: whoever is online would be a stranger in an outage."""
    hears(store, "usage", metered(0, "node-2"))
    store._connected(lambda *_arguments: [])
    database.is_away = True
    with pytest.raises(Unavailable):
        store.account("student-1", NOW)
    assert store.remembered("student-1", NOW) == student()


def test_r34_what_the_books_changed_is_not_remembered_as_it_was(
    store: SnapshotStore, database: FakeDatabase
) -> None:
    hears(store, "account", ["student-1"])
    assert store.remembered("student-1", NOW) is None


def test_r34_what_the_books_changed_is_read_at_once_for_an_outage_that_follows(
    store: SnapshotStore, database: FakeDatabase
) -> None:
    note_interim(store, 100, 1000)
    note_interim(store, 200, 5000)
    hears(store, "account", ["student-1", "nobody we know"])
    asked: list[Any] = []

    def execute(_statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        node, segments, names = parameters
        assert (node, segments) == ("node-1", ["1.journal"])
        asked.extend(names)
        return [(name, document(name, "disabled"), {"1.journal": 100}) for name in names]

    store._idle(execute)
    assert asked == ["student-1"]
    known = store.remembered("student-1", NOW)
    assert known is not None
    assert known.status is AccountStatus.DISABLED
    fields: Any = store
    assert [record[0][1] for record in fields._unmetered["student-1"]] == [200]


def test_a_database_too_slow_to_load_ahead_is_not_taken_for_lost(
    store: SnapshotStore, database: FakeDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_slow(*_arguments: Any) -> list[tuple[Any, ...]]:
        raise psycopg2.errors.QueryCanceled

    hears(store, "account", ["student-1"])
    assert not store._idle(too_slow)
    assert "too slow" in capsys.readouterr().out
    assert not store._idle(no_statement)


def test_an_account_that_is_gone_is_not_remembered(store: SnapshotStore, database: FakeDatabase) -> None:
    database.documents.clear()
    assert store.reload("student-1", NOW) is None
    assert store.remembered("student-1", NOW) is None


def test_what_is_metered_is_laid_over_no_more(store: SnapshotStore) -> None:
    note_interim(store, 100, 1000)
    note_interim(store, 200, 5000)
    fields: Any = store
    hears(store, "usage", metered(100))
    assert [record[0] for record in fields._unmetered["student-1"]] == [("1.journal", 200)]
    hears(store, "usage", metered(200))
    assert (fields._unmetered, fields._unmetered_count) == ({}, 0)


def test_what_is_metered_between_taking_a_snapshot_and_laying_over_is_not_lost(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_interim(store, 100, 1000)
    fresh = store._memory.fresh

    def taken_just_before_the_meter_is_heard(username: str) -> AccountSnapshot | None:
        snapshot = fresh(username)
        hears(store, "usage", metered(100))
        return snapshot

    monkeypatch.setattr(store._memory, "fresh", taken_just_before_the_meter_is_heard)
    snapshot = seen(store)
    assert snapshot.grants[0].used_octets == 1000
    assert [session.login_id for session in snapshot.sessions] == ["login-1"]


def test_r34_a_session_whose_stop_was_metered_before_the_outage_is_over(
    store: SnapshotStore, database: FakeDatabase
) -> None:
    fields: Any = store
    online = (session("a"), session("b", "tv"))
    fields._memory.keep("student-1", student(sessions=online))
    stop = [("Acct-Status-Type", "Stop"), ("User-Name", "student-1"), ("Acct-Session-Id", "a")]
    store.note_accounting(("1.journal", 100), RECEIVED_AT_US, "192.0.2.1", stop)
    hears(store, "usage", metered(100))
    known = store.remembered("student-1", NOW)
    assert known is not None
    assert [one.acct_unique_id for one in known.sessions] == ["b"]
