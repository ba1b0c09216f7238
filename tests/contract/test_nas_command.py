import select
from pathlib import Path

import psycopg2.extensions
import pytest

from herotill.nas import SELECT_NASES, NasDirectory
from sync_daemon import database
from tests.conftest import RunHerotill


def _count(url: str) -> int:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM radius.nas")
        (count,) = cursor.fetchone() or (0,)
        return int(count)


def _hear(listener: psycopg2.extensions.connection, count: int) -> None:
    while len(listener.notifies) < count:
        assert select.select([listener], [], [], 5)[0], "nobody was told"
        listener.poll()
    assert len(listener.notifies) == count


def test_r33_a_nas_is_added_listed_and_removed_and_every_node_is_told(
    run_herotill: RunHerotill, database_url: str
) -> None:
    listener = database.connect(database_url, "test", autocommit=True)
    try:
        listener.cursor().execute("LISTEN herotill_nas")
        added = run_herotill(
            "nas", "add", "tower-1", "--address", "2001:DB8::0:7", "--type", "mikrotik", "--generate-secret"
        )
        assert added.exit_code == 0, added.output
        secret = added.output.strip().rsplit(" ", 1)[1]
        listed = run_herotill("nas", "list")
        assert "2001:db8::7" in listed.output
        assert secret not in listed.output
        assert run_herotill("nas", "remove", "tower-1", "--yes").exit_code == 0
        _hear(listener, 2)
    finally:
        listener.close()
    assert _count(database_url) == 0


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("bad name", "--address", "10.0.0.1", "--generate-secret"), "name"),
        (("n", "--address", "10.0.0.300", "--generate-secret"), "address"),
        (("n", "--address", "10.0.0.1/24", "--generate-secret"), "address"),
        (("n", "--address", "0.0.0.0/0", "--generate-secret"), "address"),
        (("n", "--address", "10.0.0.1", "--generate-secret", "--coa-port", "0"), "coa-port"),
        (("n", "--address", "10.0.0.1", "--generate-secret", "--multiplier", "-2"), "multiplier"),
        (("n", "--address", "10.0.0.1"), "secret"),
        (("n", "--address", "10.0.0.1", "--secret-file", "/nonexistent"), "secret-file"),
        (("n", "--address", "10.0.0.1", "--type", "toaster", "--generate-secret"), "--type"),
    ],
)
def test_impossible_values_exit_2_name_the_field_and_write_nothing(
    run_herotill: RunHerotill, database_url: str, arguments: tuple[str, ...], field: str
) -> None:
    refused = run_herotill("nas", "add", *arguments)
    assert refused.exit_code == 2
    assert field in refused.output
    assert _count(database_url) == 0


@pytest.mark.parametrize(
    "secret", ["hunter2", "x" * 129, "späce secret", " padded secret", "two\nlines here"]
)
def test_a_bad_secret_is_refused_and_not_repeated(
    run_herotill: RunHerotill, tmp_path: Path, secret: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(secret)
    refused = run_herotill("nas", "add", "n", "--address", "10.0.0.1", "--secret-file", str(file))
    assert refused.exit_code == 2
    assert secret not in refused.output


def test_names_and_addresses_are_unique(run_herotill: RunHerotill, database_url: str) -> None:
    arguments = ("--address", "10.0.0.1", "--generate-secret")
    assert run_herotill("nas", "add", "one", *arguments).exit_code == 0
    assert run_herotill("nas", "add", "two", *arguments).exit_code == 1
    assert run_herotill("nas", "add", "one", "--address", "10.0.0.2", "--generate-secret").exit_code == 1
    assert run_herotill("nas", "remove", "two", "--yes").exit_code == 1
    assert _count(database_url) == 1


def _row(url: str) -> tuple[object, ...]:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("""
            SELECT nasname, type, coa_port, multiplier_per_mille FROM radius.nas JOIN radius.nas_profile ON nas_id = id
        """)
        (row,) = cursor.fetchall()
    return tuple(row)


def test_r22_a_multiplier_is_set_with_a_nas_and_changed_later(
    run_herotill: RunHerotill, database_url: str
) -> None:
    added = run_herotill(
        "nas", "add", "lte", "--address", "10.0.0.1", "--generate-secret", "--multiplier", "2x"
    )
    assert added.exit_code == 0, added.output
    assert _row(database_url) == ("10.0.0.1", "other", 3799, 2000)
    assert "2x" in run_herotill("nas", "list").output
    changed = run_herotill("nas", "edit", "lte", "--multiplier", "0.5")
    assert changed.output == "changed lte: multiplier\n"
    assert _row(database_url) == ("10.0.0.1", "other", 3799, 500)
    assert run_herotill("nas", "edit", "lte", "--type", "cisco", "--coa-port", "1700").exit_code == 0
    assert _row(database_url) == ("10.0.0.1", "cisco", 1700, 500)


def test_r22_packet_time_may_read_the_multiplier(
    run_herotill: RunHerotill, packet_time_url: str, database_url: str
) -> None:
    run_herotill("nas", "add", "lte", "--address", "10.0.0.1", "--generate-secret", "--multiplier", "0x")
    for url in (packet_time_url, database_url):
        with database.transaction(url, "test") as connection, connection.cursor() as cursor:
            cursor.execute(SELECT_NASES)
            assert NasDirectory(cursor.fetchall()).multiplier_of("10.0.0.1") == 0


def test_a_nas_keeps_its_own_address_and_takes_nobodys(run_herotill: RunHerotill, database_url: str) -> None:
    run_herotill("nas", "add", "one", "--address", "10.0.0.1", "--generate-secret")
    assert run_herotill("nas", "edit", "one", "--address", "10.0.0.1").exit_code == 0
    run_herotill("nas", "add", "two", "--address", "10.0.0.2", "--generate-secret")
    taken = run_herotill("nas", "edit", "one", "--address", "10.0.0.2")
    assert (taken.exit_code, "two" in taken.output) == (1, True)
    assert run_herotill("nas", "edit", "three").exit_code == 1
    assert run_herotill("nas", "edit", "one", "--coa-port", "0").exit_code == 2
    assert _count(database_url) == 2
