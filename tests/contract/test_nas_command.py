from pathlib import Path

import pytest

from sync_daemon import database
from tests.conftest import RunHerotill


def _count(url: str) -> int:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM radius.nas")
        (count,) = cursor.fetchone() or (0,)
        return int(count)


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
        assert run_herotill("nas", "remove", "tower-1").exit_code == 0
        listener.poll()
        assert len(listener.notifies) == 2
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
    assert run_herotill("nas", "remove", "two").exit_code == 1
    assert _count(database_url) == 1
