"""Imports of customers from CSV (rule R4), on a real PostgreSQL."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import accounts, customers, groups, imports
from billing.accounts import Login
from billing.csv_columns import Field
from billing.customers import Person
from billing.import_report import ImportReport
from billing.imports import ImportOrder
from herotill.errors import InvalidValue
from herotill.snapshot import AccountKind
from tests.contract.billing.conftest import Ask, OpenBooks

ORDER = ImportOrder(group="hostel-a", region="KE")
GOOD = """Full Name,Login,Mobile No.,E-mail
Ann Otieno,ann,0712 000001,ann@example.org
Ben Kamau,ben,+254712000002,ben@example.org
Cora Mwangi,cora,0712000003,
"""

RunImport = Callable[..., ImportReport]


@pytest.fixture
def run(books: OpenBooks, now: datetime, tmp_path: Path) -> RunImport:
    """Import a text into hostel-a: run(text, skip_bad=True) -> the report."""
    with books() as session:
        groups.add(session, name="hostel-a", now=now)

    def import_text(content: str | bytes, report: io.StringIO | None = None, **options: Any) -> ImportReport:
        path = tmp_path / "customers.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with books() as session:
            order = replace(ORDER, **options)
            return imports.import_file(session, path, order=order, now=now, report=report)

    return import_text


def state_of(ask: Ask) -> list[dict[str, Any]]:
    return ask(
        """SELECT to_jsonb(c) AS customer, to_jsonb(a) AS account, to_jsonb(m) - 'updated_at' AS managed
           FROM billing.customer c LEFT JOIN billing.account a USING (customer_id)
           LEFT JOIN radius.managed_account m USING (username) ORDER BY c.customer_id, a.account_id"""
    )


def outcomes(report: ImportReport) -> dict[int, str]:
    return {row.line: row.outcome for row in report.rows}


def reasons(report: ImportReport) -> dict[int, tuple[str, str]]:
    return {row.line: (row.column, row.reason) for row in report.rows if row.reason}


def test_r4_imported_customers_are_unverified_members_with_a_password_nobody_knows(
    run: RunImport, ask: Ask
) -> None:
    report = run(GOOD)

    assert (report.applied, report.new, report.total, report.separator) == (True, 3, 3, ",")
    assert report.columns == {
        "Full Name": "name", "Login": "user", "Mobile No.": "phone", "E-mail": "email"
    }  # fmt: skip
    entered = ask(
        """SELECT name, phone, email, username, status, group_name, must_reset_secret, length(secret) AS secret_length
           FROM billing.customer JOIN billing.account USING (customer_id)
           JOIN radius.managed_account USING (username) ORDER BY name""".replace(
            "status", "managed_account.status"
        )
    )
    assert [tuple(row.values()) for row in entered] == [
        ("Ann Otieno", "+254712000001", "ann@example.org", "ann", "unverified", "hostel-a", True, 20),
        ("Ben Kamau", "+254712000002", "ben@example.org", "ben", "unverified", "hostel-a", True, 20),
        ("Cora Mwangi", "+254712000003", None, "cora", "unverified", "hostel-a", True, 20),
    ]
    secrets = ask("SELECT count(DISTINCT secret) AS number FROM billing.account")
    assert secrets == [{"number": 3}]


def test_r4_a_dry_run_says_what_would_happen_and_writes_nothing(run: RunImport, ask: Ask) -> None:
    report = run(GOOD, dry_run=True)

    assert (report.applied, report.new) == (False, 3)
    assert outcomes(report) == {2: "new", 3: "new", 4: "new"}
    assert state_of(ask) == []


def test_r4_the_same_file_twice_changes_nothing(run: RunImport, ask: Ask) -> None:
    run(GOOD)
    before = state_of(ask)

    again = run(GOOD)

    assert (again.applied, again.new, again.unchanged, again.refused) == (True, 0, 3, 0)
    assert state_of(ask) == before


def test_r4_the_same_file_changes_nothing_whatever_became_of_its_customers(
    run: RunImport, books: OpenBooks, ask: Ask, now: datetime
) -> None:
    run(GOOD)
    with books() as session:
        customers.edit(session, reference="ann", changes={"phone": "+254712999999", "group": None})
        customers.remove(session, reference="ben", now=now)
    before = state_of(ask)

    assert run(GOOD).unchanged == 3

    assert state_of(ask) == before


def test_r4_a_customer_who_is_in_the_books_just_so_is_unchanged(
    run: RunImport, books: OpenBooks, now: datetime
) -> None:
    with books() as session:
        person = Person("Ann Otieno", "+254712000001", "ann@example.org")
        ann = customers.add(session, person=person, group="hostel-a", now=now)
        accounts.add(session, login=Login("ann", "secret-1"), customer=ann, now=now)

    assert outcomes(run(GOOD)) == {2: "unchanged", 3: "new", 4: "new"}


BAD = """name;user;phone;email
Ann;ann;0712000001;ann@example.org
;empty-name;0712000002;
Carl;carl smith;O712 000 003;not an address
Dora;;;
Eve;eve;0712000005;eve@example.org;superfluous
Fay;ann;0712 000 001;Ann@Example.org
Piet;piet1;0712000007;piet1@example.org
Piet;pietl;0712000008;pietI@example.org
"""


def test_r4_every_refusal_names_line_column_and_reason(run: RunImport) -> None:
    report = run(BAD)

    assert (report.applied, report.new, report.refused) == (False, 2, 6)
    told = reasons(report)
    assert told[3] == ("name", "it is empty")
    assert told[4][0] == "email, phone, user"
    for part in ("'carl smith'", "without blanks", "perhaps +254712000003 is meant", "like name@example.org"):
        assert part in told[4][1]
    assert told[5] == ("", "neither user name, phone nor e-mail: nothing tells this person from others")
    assert told[6] == ("", "5 cells where the head has 4")
    assert told[7] == (
        "email, phone, user",
        "+254712000001 is in line 2 already; Ann@Example.org is in line 2 already; ann is in line 2 already",
    )
    assert told[9] == (
        "email, user",
        "pietI@example.org looks like piet1@example.org in line 8; pietl looks like piet1 in line 8",
    )


def test_r4_nothing_is_written_when_a_row_is_bad(run: RunImport, ask: Ask) -> None:
    run(BAD)
    assert state_of(ask) == []


def test_r4_bad_rows_can_be_skipped_corrected_and_fed_back(run: RunImport, ask: Ask) -> None:
    saved = io.StringIO()

    report = run(BAD, skip_bad=True, report=saved)

    assert (report.applied, report.new, report.refused) == (True, 2, 6)
    assert [row["customer"]["name"] for row in state_of(ask)] == ["Ann", "Piet"]
    rows = list(csv.DictReader(io.StringIO(saved.getvalue()), delimiter=";"))
    assert [int(row["import line"]) for row in rows] == [3, 4, 5, 6, 7, 9]
    assert {row["import outcome"] for row in rows} == {"refused"}

    corrections = [
        {"name": "Bob"},
        {"user": "carl", "phone": "0712000003", "email": ""},
        {"user": "dora"},
        {"email": "eve@example.org"},
        {"user": "fay", "phone": "0712000006", "email": ""},
        {"user": "piet-junior", "email": "junior@example.org"},
    ]
    corrected = io.StringIO()
    writer = csv.DictWriter(corrected, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(row | change for row, change in zip(rows, corrections, strict=True))
    second = run(corrected.getvalue())
    assert (second.applied, second.new, second.refused, second.ignored) == (True, 6, 0, ()), second.rows


def test_r4_the_report_of_what_was_not_done_is_the_whole_of_it(run: RunImport) -> None:
    saved = io.StringIO()
    run(BAD, report=saved)
    outcomes_ = [
        row["import outcome"] for row in csv.DictReader(io.StringIO(saved.getvalue()), delimiter=";")
    ]
    assert (outcomes_.count("new"), outcomes_.count("refused")) == (2, 6)


def test_r4_rows_are_compared_with_the_books(run: RunImport, books: OpenBooks, now: datetime) -> None:
    with books() as session:
        person = Person("Ann", "+254712000001", "ann1@example.org")
        ann = customers.add(session, person=person, now=now)
        accounts.add(session, login=Login("ann-office", "secret-1"), customer=ann, now=now)
        accounts.add(session, login=Login("t1cket", "secret-1", AccountKind.HOTSPOT), now=now)
        number = ann.account_number

    report = run(
        "name,user,phone,email\n"
        "A,ANN-OFFICE,,\n"
        "B,,0712000001,\n"
        "C,,,ANN1@example.org\n"
        "D,ann-0ffice,,annl@example.org\n"
        "E,T1cket,,\n",
        skip_bad=True,
    )

    assert reasons(report) == {
        2: ("user", f"ANN-OFFICE is in use by customer {number}"),
        3: ("phone", f"customer {number} has +254712000001"),
        4: ("email", f"customer {number} has ANN1@example.org"),
        5: (
            "email, user",
            (
                "ann-0ffice looks like ANN-OFFICE in line 2; "
                f"ann-0ffice looks like ann-office of customer {number}; "
                "annl@example.org looks like ANN1@example.org in line 4; "
                f"annl@example.org looks like ann1@example.org of customer {number}"
            ),
        ),
        6: ("user", "T1cket is in use"),
    }


def test_r4_look_alikes_can_be_allowed_and_are_still_flagged(run: RunImport) -> None:
    content = "name,user\nOne,user1\nTwo,userl\nThree,USER1\n"

    report = run(content, allow_look_alikes=True, skip_bad=True)

    assert (report.new, report.refused, report.warnings) == (2, 1, 1)
    assert outcomes(report) == {2: "new", 3: "new", 4: "refused"}
    assert reasons(report)[3] == ("user", "userl looks like user1 in line 2")


@pytest.mark.parametrize(
    ("encoding", "separator", "expected"),
    [
        ("utf-8", ",", "utf-8"),
        ("utf-8-sig", ";", "utf-8-sig"),
        ("utf-16", "\t", "utf-16"),
        ("utf-16-le", ",", "utf-16-le"),
        ("utf-16-be", "|", "utf-16-be"),
        ("latin-1", ";", "cp1252"),
        ("cp1252", ",", "cp1252"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_r4_encodings_and_separators_are_detected(
    run: RunImport, ask: Ask, encoding: str, separator: str, expected: str, line_end: str
) -> None:
    rows = ["Prénom{0}Nom de famille{0}Utilisateur", "Zoë{0}Müller{0}zoe", 'José{0}"Núñez{0} hijo"{0}jose']
    content = line_end.join(rows).format(separator) + line_end

    report = run(content.encode(encoding))

    assert (report.encoding, report.separator) == (expected, separator)
    names = [row["customer"]["name"] for row in state_of(ask)]
    # A tab within a name is a blank.
    assert names == ["Zoë Müller", "José Núñez" + ("" if separator == "\t" else separator) + " hijo"]


def test_r4_columns_can_be_mapped_by_hand(run: RunImport, ask: Ask) -> None:
    content = "Bewohner,Kennung,Telefon,Handy,Passwort\nAnn,ann,0712000001,0712000002,hunter2\n"

    report = run(
        content, column_map={"bewohner": "name", "Kennung": "user", "Telefon": "ignore", "Handy": "phone"}
    )

    assert (report.new, report.ignored) == (1, ("Telefon", "Passwort"))
    [row] = state_of(ask)
    assert row["customer"]["phone"] == "+254712000002"
    assert "hunter2" not in str(row)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "it is empty"),
        (b"PK\x03\x04 and so on", {}, "save it as CSV"),
        (b"name,user\n", {}, "no rows"),
        (b"foo,bar\n1,2\n", {}, "none is the name"),
        (b"name,colour\n1,2\n", {}, "none is a user name, phone or e-mail"),
        (b"name,phone,mobile\nA,1,2\n", {}, "both could be the phone"),
        (b"name,user\nA,a\n", {"column_map": {"nom": "name"}}, "the file has the columns name, user"),
        (b"name,user\nA,a\n", {"column_map": {"name": "nickname"}}, "a column is one of"),
        (b"name,user\nA,a\n", {"encoding": "klingon"}, "it is a name like"),
        (b"name,user\n\xff\xffA,a\n", {"encoding": "utf-8"}, "say another with --encoding"),
        (b'name,user\nA,"a' + b"x" * 140_000, {}, "line 2"),
        (b"name,user\nA,a\n", {"group": "nowhere"}, "no such group"),
        (b"name,user\nA,a\n", {"region": "XX"}, "two capital letters"),
        (b"name,user\nA,a\n", {"kind": AccountKind.HOTSPOT}, "prepaid or monthly"),
    ],
)
def test_r4_a_file_that_makes_no_sense_is_refused_in_one_sentence(
    run: RunImport, ask: Ask, content: bytes, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        run(content, **options)
    assert state_of(ask) == []


def test_r4_user_names_can_be_made_of_phones_or_addresses(run: RunImport, ask: Ask) -> None:
    content = "name,phone,email\nAnn,0712000001,ann@example.org\nBen,,ben@example.org\n"

    run(content, user_from=Field.PHONE)

    users = [None if row["account"] is None else row["account"]["username"] for row in state_of(ask)]
    assert users == ["254712000001", None]


def test_r4_monthly_customers_get_their_cycle(run: RunImport, ask: Ask, now: datetime) -> None:
    run(GOOD, kind=AccountKind.MONTHLY)
    assert {row["account"]["cycle_day"] for row in state_of(ask)} == {now.day}


def test_r4_blank_lines_short_rows_and_what_excel_adds_do_no_harm(run: RunImport, ask: Ask) -> None:
    report = run("sep=;\r\nname;user;phone\r\n\r\n  Ann  Otieno ;ann\r\n;;\r\nBen;ben;'0712000002\r\n")

    assert outcomes(report) == {4: "new", 6: "new"}
    assert [row["customer"]["name"] for row in state_of(ask)] == ["Ann Otieno", "Ben"]


def test_r4_what_is_no_text_for_a_database_is_refused_row_by_row(run: RunImport) -> None:
    report = run("name,user\nA\0nn,ann\nBen,b\\en\n\t,tab\n")
    assert set(outcomes(report).values()) == {"refused"}


_cells = st.text(alphabet=st.sampled_from("aAbl1I0O\u043e@.,;\"'\n\t\\éx+2 "), max_size=9)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(_cells, _cells, _cells, _cells), min_size=1, max_size=12))
def test_r4_importing_twice_is_importing_once(
    run: RunImport, ask: Ask, rows: list[tuple[str, str, str, str]]
) -> None:
    content = io.StringIO()
    csv.writer(content).writerows([("name", "user", "phone", "email"), *rows])
    try:
        first = run(content.getvalue(), skip_bad=True)
    except InvalidValue:
        return  # it had no rows at all
    before = state_of(ask)

    second = run(content.getvalue(), skip_bad=True)

    assert state_of(ask) == before
    assert second.new == 0
    assert second.total == first.total
