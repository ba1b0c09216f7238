"""What a node remembers of accounts: fresh, outdated, or nothing; never more than it may."""

import json
from typing import Any

import pytest

from herotill.snapshot import AccountSnapshot, AccountStatus
from rlm_herotill import prewarming
from rlm_herotill.memory import STOPS_REMEMBERED, SnapshotMemory
from rlm_herotill.prewarming import SELECT_LIVE_ACCOUNTS, Journalled, Prewarming
from tests.unit.rules.build import NAS, account, session


def document(username: str, status: str = "active") -> str:
    """What radius.account_snapshot says of an account with nothing on it."""
    return json.dumps([["account", username, "prepaid", status, {}, None, None]])


def known(username: str, **changes: Any) -> AccountSnapshot:
    return account(username=username, **changes)


def loaded(memory: SnapshotMemory, *usernames: str) -> bool:
    memory.begin_page(usernames)
    return memory.keep_page([(name, document(name)) for name in usernames])


def test_what_is_outdated_is_known_last_and_not_fresh_until_it_is_read_again() -> None:
    memory = SnapshotMemory(10)
    memory.keep("anna", known("anna"))
    assert memory.fresh("anna") == known("anna")
    memory.outdate("anna")
    assert (memory.fresh("anna"), memory.last_known("anna")) == (None, known("anna"))
    memory.keep("anna", known("anna", group="new"))
    assert memory.fresh("anna") == known("anna", group="new")
    memory.outdate_all()
    assert (memory.fresh("anna"), memory.last_known("anna")) == (None, known("anna", group="new"))


def test_what_is_forgotten_is_not_known_last_either() -> None:
    memory = SnapshotMemory(10)
    memory.keep("anna", known("anna"))
    assert memory.forget("anna")
    assert not memory.forget("anna")
    assert memory.last_known("anna") is None


def test_what_was_kept_longest_goes_first_and_leaves_nothing_behind() -> None:
    memory = SnapshotMemory(2)
    for name in ("anna", "bob", "anna", "cy"):
        memory.keep(name, known(name))
    assert [memory.last_known(name) is not None for name in ("anna", "bob", "cy")] == [True, False, True]
    memory.outdate("anna")
    memory.keep("dan", known("dan"))
    memory.keep("anna", known("anna"))
    assert memory.fresh("anna") is not None


def test_a_memory_of_nothing_remembers_nothing() -> None:
    memory = SnapshotMemory(0)
    memory.keep("anna", known("anna"))
    assert not loaded(memory, "anna")
    assert memory.last_known("anna") is None


def test_r34_a_session_that_stopped_since_is_not_held_against_an_outdated_account() -> None:
    memory = SnapshotMemory(10)
    memory.keep("anna", known("anna", sessions=(session("a"), session("b"))))
    memory.note_stop("anna", (NAS, "b"))  # still fresh: what is laid over it says so
    memory.outdate("anna")
    memory.note_stop("anna", (NAS, "a"))
    memory.note_stop("bob", (NAS, "b"))
    last = memory.last_known("anna")
    assert last is not None
    assert [one.acct_unique_id for one in last.sessions] == ["b"]
    for number in range(STOPS_REMEMBERED):
        memory.note_stop("anna", (NAS, f"other {number}"))
    last = memory.last_known("anna")
    assert last is not None
    assert len(last.sessions) == 2


# -- loading many at once


def test_a_page_is_parsed_when_it_is_used_and_once() -> None:
    memory = SnapshotMemory(10)
    assert memory.begin_page(["anna"]) == ["anna"]
    assert memory.keep_page([("anna", document("anna"))])
    first = memory.fresh("anna")
    assert first == known("anna")
    assert memory.fresh("anna") is first


@pytest.mark.parametrize("change", ["outdate", "outdate_all", "forget"])
def test_a_page_never_overwrites_what_changed_while_it_was_read(change: str) -> None:
    memory = SnapshotMemory(10)
    memory.keep("anna", known("anna"))
    memory.outdate("anna")
    memory.begin_page(["anna"])
    getattr(memory, change)(*([] if change == "outdate_all" else ["anna"]))
    memory.keep_page([("anna", document("anna"))])
    assert memory.fresh("anna") is None


def test_a_page_never_overwrites_what_a_login_read_meanwhile() -> None:
    memory = SnapshotMemory(10)
    memory.begin_page(["anna"])
    newer = known("anna", status=AccountStatus.DISABLED)
    memory.keep("anna", newer)
    memory.keep_page([("anna", document("anna"))])
    assert memory.fresh("anna") == newer


def test_a_page_pushes_nothing_out_and_asks_for_nothing_that_is_fresh() -> None:
    memory = SnapshotMemory(2)
    memory.keep("anna", known("anna"))
    memory.keep("bob", known("bob"))
    memory.outdate("bob")
    assert memory.begin_page(["anna", "bob", "cy"]) == ["bob", "cy"]
    assert not memory.keep_page([("bob", document("bob")), ("cy", document("cy"))])
    assert [memory.fresh(name) is not None for name in ("anna", "bob", "cy")] == [True, True, False]


class Books:
    """The database as Prewarming asks it."""

    def __init__(self, *live: str, unknown: tuple[str, ...] = ()) -> None:
        self.live, self.unknown, self.asked = live, unknown, list[list[str]]()

    def execute(self, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        if statement == SELECT_LIVE_ACCOUNTS:
            return [(name,) for name in self.live[: parameters[0]]]
        node, segments, names = parameters
        self.asked.append(list(names))
        positions = dict.fromkeys(segments, 100) or None
        assert node == "node-1"
        return [(name, None if name in self.unknown else document(name), positions) for name in names]


def prewarmed(memory: SnapshotMemory, books: Books, limit: int = 10, **journalled: Any) -> None:
    known: dict[str, Any] = {"segments_of": lambda _names: [], "drop": lambda *_: None} | journalled
    warming = Prewarming(memory, limit, Journalled("node-1", **known))
    warming.begin()
    while warming.load_page(books.execute):
        pass


def test_accounts_with_live_sessions_and_outdated_ones_are_loaded_in_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prewarming, "PAGE_ACCOUNTS", 2)
    memory, books = SnapshotMemory(10), Books("anna", "bob")
    memory.keep("cy", known("cy"))
    memory.outdate("cy")
    prewarmed(memory, books)
    assert books.asked == [["anna", "bob"], ["cy"]]
    assert all(memory.fresh(name) for name in ("anna", "bob", "cy"))


def test_what_the_meter_had_applied_when_a_page_was_read_is_not_laid_over_it() -> None:
    memory, dropped = SnapshotMemory(10), list[tuple[str, str, int]]()
    prewarmed(
        memory,
        Books("anna", "bob"),
        segments_of=lambda names: ["1.journal"] if "anna" in names else [],
        drop=lambda *record: dropped.append(record),
    )
    assert dropped == [("anna", "1.journal", 100), ("bob", "1.journal", 100)]
    assert memory.fresh("anna") is not None


def test_an_account_that_is_gone_is_forgotten() -> None:
    memory = SnapshotMemory(10)
    memory.keep("anna", known("anna"))
    memory.outdate("anna")
    prewarmed(memory, Books(unknown=("anna",)))
    assert memory.last_known("anna") is None


def test_no_more_is_asked_for_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prewarming, "PAGE_ACCOUNTS", 1)
    memory, books = SnapshotMemory(2), Books(*"abcdef")
    prewarmed(memory, books, limit=2)
    assert books.asked == [["a"], ["b"]]
    prewarmed(SnapshotMemory(0), books, limit=0)
    assert len(books.asked) == 2


def test_a_page_that_fails_is_not_kept_and_changes_are_not_collected_for_ever() -> None:
    class Broken(Books):
        def execute(self, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
            if statement == SELECT_LIVE_ACCOUNTS:
                return super().execute(statement, parameters)
            raise OSError("the line is cut")

    memory = SnapshotMemory(10)
    with pytest.raises(OSError, match="cut"):
        prewarmed(memory, Broken("anna"))
    assert memory._changed_meanwhile is None
