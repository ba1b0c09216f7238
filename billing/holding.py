"""Locks taken in one order by everybody, so that nobody waits for somebody who waits for him.

Vouchers by number, then their accounts by number, then what RADIUS has of these by name, as the meter takes it; grants and
login limits come after. Whoever changes one voucher or account with a single statement need not ask here.
"""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.orm import Session

_HOLD_VOUCHERS = text("""
    SELECT voucher_id FROM billing.voucher WHERE voucher_id = ANY(:voucher_ids) ORDER BY voucher_id FOR NO KEY UPDATE
""")
_ACCOUNTS_OF = text("""
    SELECT username FROM billing.account JOIN billing.voucher USING (account_id)
    WHERE voucher_id = ANY(:voucher_ids) AND status <> 'closed'
    UNION
    SELECT username FROM billing.account JOIN billing.refill_redemption USING (account_id)
    WHERE voucher_id = ANY(:voucher_ids) AND status <> 'closed'
""")
_HOLD_ACCOUNTS = text("""
    SELECT account_id FROM billing.account WHERE username = ANY(:usernames) AND status <> 'closed'
    ORDER BY account_id FOR NO KEY UPDATE
""")
_HOLD_MANAGED = text("""
    SELECT username FROM radius.managed_account WHERE username = ANY(:usernames) ORDER BY username FOR NO KEY UPDATE
""")


def hold_vouchers(session: Session, voucher_ids: Iterable[int]) -> None:
    """Hold these vouchers, and the accounts they are the login of or have refilled, to the end of the transaction."""
    held = {"voucher_ids": list(voucher_ids)}
    session.execute(_HOLD_VOUCHERS, held)
    hold_accounts(session, session.execute(_ACCOUNTS_OF, held).scalars())


def hold_accounts(session: Session, usernames: Iterable[str]) -> None:
    """Hold these accounts in the books and in RADIUS to the end of the transaction."""
    held = {"usernames": list(usernames)}
    if held["usernames"]:
        session.execute(_HOLD_ACCOUNTS, held)
        session.execute(_HOLD_MANAGED, held)
