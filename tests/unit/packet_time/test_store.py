"""What a node knows of an account before the database does."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from herotill.class_token import ClassToken, sign_class
from herotill.snapshot import AccountSnapshot
from rlm_herotill.settings import PacketTimeSettings
from rlm_herotill.store import SnapshotStore
from tests.unit.packet_time.fakes import student
from tests.unit.rules.build import NOW

SECRET = bytes(range(32))
RECEIVED_AT_US = int(NOW.timestamp() * 1_000_000)


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    settings = PacketTimeSettings("", tmp_path, "node-1", SECRET)
    remembering = SnapshotStore(settings, print)
    fields: Any = remembering
    fields._database = SimpleNamespace(is_listening=True)
    fields._snapshots["student-1"] = student()
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
