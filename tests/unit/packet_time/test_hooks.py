"""The hooks: whatever happens, FreeRADIUS gets a code from 0 to 8, and an answer only for what is journalled."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2.extensions
import pytest

from herotill.dialect import use_dialects
from herotill.journal import Record, decode_lines
from herotill.nas import NasDirectory
from rlm_herotill.attributes import MESSAGE_AUTHENTICATOR, SECTION, SOURCE
from tests.unit.packet_time.fakes import FakeJournal, FakeStore, student

CODES = ["REJECT", "FAIL", "OK", "HANDLED", "INVALID", "USERLOCK", "NOTFOUND", "NOOP", "UPDATED"]
REQUEST = (("User-Name", "student-1"), (SOURCE, "192.0.2.1"))
ACCOUNTING = (("Acct-Status-Type", "Start"), ("User-Name", "student-1"), (SOURCE, "192.0.2.1"))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """FreeRADIUS's radiusd module with a sound configuration; what was logged to it."""
    lines: list[str] = []
    radiusd = ModuleType("radiusd")
    names = {f"RLM_MODULE_{name}": code for code, name in enumerate(CODES)}
    config = {
        "dsn": "host=/nonexistent",
        "journal_directory": str(tmp_path / "journal"),
        "node": "test",
        "class_secret": "ab" * 32,
        "freeradius_version": "3.2.8",
    }
    radiusd.__dict__.update(
        names, L_ERR=4, config=config, radlog=lambda _level, message: lines.append(message)
    )
    monkeypatch.setitem(sys.modules, "radiusd", radiusd)
    return lines


@pytest.fixture
def hooks(logged: list[str]) -> Iterator[Any]:
    sys.modules.pop("rlm_herotill.hooks", None)
    module = importlib.import_module("rlm_herotill.hooks")
    yield module
    module.detach()
    sys.modules.pop("rlm_herotill.hooks", None)
    # In FreeRADIUS the whole process is ours; here other tests have connections too.
    psycopg2.extensions.set_wait_callback(None)


@pytest.fixture
def node(hooks: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A running node whose store and journal are fakes."""
    assert hooks.instantiate(None) == 0
    store, journal = FakeStore(student()), FakeJournal()
    running = hooks._node
    for name, value in (
        ("start", lambda: None),
        ("stop", lambda: None),
        ("note_accounting", lambda *a: None),
    ):
        monkeypatch.setattr(store, name, value, raising=False)
    monkeypatch.setattr(journal, "close", lambda: None, raising=False)
    running.store, running.journal = store, journal
    running.desk._store, running.desk._journal = store, journal
    return running


def test_instantiate_touches_nothing_and_may_run_twice(hooks: Any, tmp_path: Path) -> None:
    """`freeradius -C` runs it before every start."""
    assert [hooks.instantiate(None), hooks.instantiate(None)] == [0, 0]
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_configuration_stops_the_start_and_is_named(hooks: Any, logged: list[str]) -> None:
    del sys.modules["radiusd"].config["node"]
    assert hooks.instantiate(None) == -1
    assert "node" in logged[0]


def test_before_instantiate_every_hook_fails_and_none_raises(hooks: Any) -> None:
    assert hooks.authorize(REQUEST) == (1, (MESSAGE_AUTHENTICATOR,), ())
    assert (hooks.post_auth(REQUEST), hooks.accounting(ACCOUNTING), hooks.detach()) == (1, 1, 0)


def test_an_ordinary_login_is_accepted_in_authorize_and_taken_back_in_post_auth(
    hooks: Any, node: Any
) -> None:
    code, reply, (_, mark) = hooks.authorize(REQUEST)
    assert code == 2
    # Unlang has put Message-Authenticator first; an ordinary login is decided here.
    assert reply[0][0] == "Class"
    code, reply, _ = hooks.post_auth((*REQUEST, (mark[0], mark[2]), (SECTION, "reject")))
    assert (code, [name for name, _, _ in reply]) == (8, ["Reply-Message"])


def test_an_unknown_user_is_notfound_so_that_others_may_follow(hooks: Any, node: Any) -> None:
    assert hooks.authorize((("User-Name", "nobody"),))[0] == 6


def test_r34_a_database_that_is_away_knows_nobody_and_that_is_said_once_a_second(
    hooks: Any, node: Any, logged: list[str]
) -> None:
    node.store.is_down = True
    assert [hooks.authorize(REQUEST)[0] for _ in range(5)] == [6] * 5
    assert len(logged) == 1


def test_r34_while_the_database_is_away_a_remembered_account_s_login_passes_both_hooks(
    hooks: Any, node: Any
) -> None:
    node.store.in_memory["student-1"] = node.store.accounts["student-1"]
    node.store.is_down = True
    code, _, (password, mark) = hooks.authorize(REQUEST)
    assert (code, password) == (2, ("Cleartext-Password", ":=", "secret"))
    code, reply, _ = hooks.post_auth((*REQUEST, (mark[0], mark[2])))
    assert code == 2
    assert ("Session-Timeout", ":=", "600") in reply


@pytest.mark.parametrize("pairs", [None, (), (("only a name",),), ((1, 2),), "junk", 5])
def test_no_request_however_odd_gets_a_code_that_kills_the_server(hooks: Any, node: Any, pairs: Any) -> None:
    for hook in (hooks.authorize, hooks.post_auth, hooks.accounting):
        result = hook(pairs)
        assert 0 <= (result if isinstance(result, int) else result[0]) <= 8


def test_r33_a_nas_is_found_for_dynamic_clients_and_its_secret_survives_freeradius(
    hooks: Any, node: Any, logged: list[str]
) -> None:
    node.store.nases = NasDirectory(
        [("192.0.2.1", "roof\\", "mikrotik", "s\\e"), ("2001:db8::/32", "six", "other", "s")]
    )
    code, _, config = hooks.authorize(((SECTION, "dynamic-client"), (SOURCE, "192.0.2.1")))
    assert code == 8
    values = {name: value for name, _, value in config}
    assert values["FreeRADIUS-Client-IP-Address"] == "192.0.2.1"
    assert (values["FreeRADIUS-Client-Secret"], values["FreeRADIUS-Client-Shortname"]) == (
        "s\\\\e",
        "roof\\\\",
    )
    _, _, config = hooks.authorize(((SECTION, "dynamic-client"), (SOURCE, "2001:db8::5")))
    assert ("FreeRADIUS-Client-IPv6-Address", ":=", "2001:db8::5") in config
    assert hooks.authorize(((SECTION, "dynamic-client"), (SOURCE, "203.0.113.1"))) == 6
    assert "203.0.113.1" in logged[0]


def test_accounting_is_answered_only_when_it_is_journalled(hooks: Any, node: Any) -> None:
    assert hooks.accounting(ACCOUNTING) == 2
    ((kind, _, nas_address, body),) = node.journal.records
    assert (kind, nas_address, body) == ("acct", "192.0.2.1", [list(pair) for pair in ACCOUNTING])
    node.journal.is_full = True
    assert hooks.accounting(ACCOUNTING) == 1


def test_what_is_journalled_is_on_the_disk_as_it_came(hooks: Any, logged: list[str], tmp_path: Path) -> None:
    """The database is away all the time: accounting does not care."""
    assert hooks.instantiate(None) == 0
    odd = (*ACCOUNTING, ("Called-Station-Id", 'a\n"\\\u2028b'))
    assert hooks.accounting(odd) == 2
    hooks.detach()
    (path,) = (tmp_path / "journal").glob("*.journal")
    (record,) = decode_lines(path.read_bytes(), 0)
    assert isinstance(record, Record)
    assert record.body == json.loads(json.dumps(odd))


def test_an_operator_s_dialect_is_spoken_and_a_wrong_one_stops_the_start(
    hooks: Any, logged: list[str], tmp_path: Path
) -> None:
    directory = tmp_path / "dialects"
    directory.mkdir()
    sys.modules["radiusd"].config["dialects_directory"] = str(directory)
    (directory / "wrong.toml").write_text("name = 7")
    try:
        assert hooks.instantiate(None) == -1
        assert "wrong.toml" in logged[0]
        (directory / "wrong.toml").unlink()
        assert hooks.instantiate(None) == 0
    finally:
        use_dialects(None)
