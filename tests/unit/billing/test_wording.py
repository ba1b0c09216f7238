"""The words that come with the program can be filled in with what their events say."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing.wording import WORDING
from herotill.messages import render_message

CUSTOMER = {"customer_name": "Student One", "account_number": "100016"}
SAID: dict[str, dict[str, Any]] = {
    "notice.usage": {"username": "student-1", "plan_name": "1g", "percent": 80, "remaining": "200 MiB"},
    "notice.expiry": {
        "username": "student-1",
        "plan_name": "1g",
        "expires_at": "2026-11-22T12:00:00+00:00",
        "remaining": "200 MiB",
    },
    "notice.low_balance": {"balance_minor": 4999, "currency": "KES", "mark_minor": 5000},
    "invoice.issued": {
        "invoice": 7,
        "user": "student-1",
        "amount_minor": 5000,
        "currency": "KES",
        "due_at": "2026-11-22T12:00:00+00:00",
    },
    "payment.received": {"payment": 7, "amount_minor": 5000, "currency": "KES", "method": "mpesa"},
    "verification.code": {"code": "12345678", "expires_at": "2026-11-22T12:00:00+00:00"},
    "password.reset": {
        "code": "12345678",
        "username": "student-1",
        "expires_at": "2026-11-22T12:00:00+00:00",
    },
    "topup": {"username": "student-1", "given": "2GB and 2h", "reason": "the mast was down"},
    "transfer.received": {"username": "student-2", "from_username": "student-1", "given_octets": 300 * 2**20},
}


@pytest.mark.parametrize("kind", WORDING)
def test_r21_words_fit_their_event(kind: str) -> None:
    message = render_message(WORDING[kind], SAID[kind] | CUSTOMER, ZoneInfo("Africa/Nairobi"))
    assert "{" not in message.subject + message.body
    assert message.body.endswith(".\n")


def test_r21_money_and_times_are_shown_as_people_write_them() -> None:
    zone = ZoneInfo("Africa/Nairobi")
    bill = render_message(WORDING["invoice.issued"], SAID["invoice.issued"] | CUSTOMER, zone)
    assert bill.subject == "Bill 7: 50.00 KES"
    assert "to be paid by 2026-11-22 15:00" in bill.body
    gift = render_message(WORDING["transfer.received"], SAID["transfer.received"], zone)
    assert gift.subject == "300 MiB were given to you"
