"""A small ISP for a test: what its operator sold, and a NAS that talks to its FreeRADIUS."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from billing import accounts, customers, groups, plans, sales
from billing.terms import PlanTerms
from herotill.policy import ServicePolicy
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from nas_simulator.exchange import Retransmission
from nas_simulator.makes import MIKROTIK, Make
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Accepted, LoginOutcome
from nas_simulator.settings import NasSettings
from sync_daemon.database import billing_engine, radius_url, transaction
from sync_daemon.explaining import Explanation, explain_account
from sync_daemon.settings import Settings
from tests.integration.conftest import NAS_SECRET
from tests.integration.freeradius import Freeradius

GIB = 1 << 30
PASSWORD = "correct horse"
DEADLINE_SECONDS = 15.0


@dataclass(frozen=True)
class Isp:
    """The books of a test installation."""

    settings: Settings

    @contextmanager
    def books(self) -> Iterator[Session]:
        engine = billing_engine(self.settings, "test")
        with Session(engine) as session, session.begin():
            yield session
        engine.dispose()

    def found_group(self, name: str, policy: dict[str, Any] | None = None, **allocation: Any) -> None:
        wanted = groups.Allocation(**allocation) if allocation else None
        with self.books() as books:
            groups.add(books, name=name, now=now(), allocation=wanted, policy=policy)

    def enrol(
        self,
        username: str,
        kind: AccountKind = AccountKind.PREPAID,
        *,
        group: str | None = None,
        verified: bool = True,
        policy: dict[str, Any] | None = None,
    ) -> None:
        with self.books() as books:
            customer = customers.add(books, person=customers.Person(username), now=now(), group=group)
            login = accounts.Login(username, PASSWORD, kind)
            accounts.add(books, login=login, now=now(), customer=customer, policy=policy)
            if verified:
                customers.verify(books, reference=username, now=now())

    def offer(self, name: str, policy: dict[str, Any] | None = None, **terms: Any) -> None:
        service = ServicePolicy.from_mapping(policy or {})
        with self.books() as books:
            plans.add(books, name=name, terms=PlanTerms(Money(0, "EUR"), policy=service, **terms), now=now())

    def sell(self, plan: str, username: str, key: str = "1") -> None:
        with self.books() as books:
            order = sales.Order(plan, username, f"{plan}:{username}:{key}", "test")
            sales.sell(books, order=order, now=now())

    def explain(self, username: str) -> Explanation:
        with self.radius() as cursor:
            return explain_account(cursor, username, now(), 100)

    @contextmanager
    def radius(self) -> Iterator[Any]:
        with transaction(radius_url(self.settings), "test") as connection, connection.cursor() as cursor:
            yield cursor

    def ask(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.radius() as cursor:
            cursor.execute(query, parameters)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def listen_for_coa_on(self, nas: SimulatedNas) -> None:
        """Enter the port of this NAS, which is another in every test."""
        with self.radius() as cursor:
            cursor.execute(
                "INSERT INTO radius.nas_profile (nas_id, coa_port) SELECT id, %s FROM radius.nas WHERE nasname = %s"
                " ON CONFLICT (nas_id) DO UPDATE SET coa_port = EXCLUDED.coa_port",
                (nas.dynamic_authorization_port, nas.address),
            )


def now() -> datetime:
    return datetime.now(UTC)


def nas_settings(server: Freeradius, make: Make = MIKROTIK, **others: Any) -> NasSettings:
    values: dict[str, Any] = {
        "secret": NAS_SECRET.encode(),
        "server": "127.0.0.1",
        "authentication_port": server.auth_port,
        "accounting_port": server.acct_port,
        "make": make,
        "source_address": "127.0.0.1",
        "retransmission": Retransmission(timeout_seconds=3, attempts=2),
        "require_message_authenticator": True,
    }
    return NasSettings(**(values | others))


async def until(condition: Callable[[], bool]) -> None:
    """Poll until it is so. Raises TimeoutError."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)


def accepted(outcome: LoginOutcome) -> Accepted:
    assert isinstance(outcome, Accepted), outcome
    return outcome
