"""Sessions as the meter writes them."""

from datetime import datetime

from tests.contract.billing.conftest import Ask


def begin_session(ask: Ask, at: datetime, calling: str, number: int = 1, username: str = "ann") -> None:
    """Write the row of a session that has just begun."""
    ask(
        """INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id,
                                       calling_station_id, framed_ip_address, started_at, last_report_at)
           VALUES (:id, :id, :username, '192.0.2.1', :id, :calling, '10.9.8.7', :at, :at)""",
        id=f"unique-{number}",
        username=username,
        calling=calling,
        at=at,
    )
