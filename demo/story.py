"""The story: prepaid students, a pool that runs out, a minute that is sold, a ticket, an unpaid bill, a stranger."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from demo.report import Report
from demo.stage import NAS_SECRET, Stage
from nas_simulator.credentials import Method
from nas_simulator.dynamic_authorization import DynamicRequest
from nas_simulator.faults import TWICE
from nas_simulator.makes import CHILLISPOT, GENERIC, MIKROTIK, Make
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Accepted, LoginOutcome, Rejected
from nas_simulator.session import Session
from nas_simulator.settings import DynamicAuthorizationSettings, NasSettings

GIB = 1 << 30
PASSWORDS = {"student-1": "otter-canoe-42", "monthly-1": "maple-drum-77", "disabled-1": "cobalt-fig-19"}
SETTLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Cast:
    """The NASes on the stage: a MikroTik, a CoovaChilli, and one that speaks plain RFC over IPv6."""

    mikrotik: SimulatedNas
    chilli: SimulatedNas
    ipv6: SimulatedNas


def nas_settings(stage: Stage, make: Make, address: str, coa_port: int) -> NasSettings:
    """Return the settings of one simulated NAS."""
    return NasSettings(
        secret=NAS_SECRET.encode(),
        server="::1" if ":" in address else "127.0.0.1",
        authentication_port=stage.auth_port,
        accounting_port=stage.acct_port,
        make=make,
        name=f"demo-{make.name}",
        source_address=address,
        dynamic_authorization=DynamicAuthorizationSettings(
            port=coa_port, require_message_authenticator=True, require_event_timestamp=True
        ),
        require_message_authenticator=True,
    )


def set_up(stage: Stage, report: Report) -> str:
    """Do what an operator does on the first day; return the code of a ticket."""
    began = report.began()
    stage.herotill("init")
    for number, (name, address) in enumerate(
        (("mikrotik", "127.0.0.1"), ("coovachilli", "127.0.0.2"), ("other", "::1"))
    ):
        stage.add_nas(f"demo-{name}", address, name, stage.coa_ports[number])
    report.step(began, "herotill init, herotill nas add (3 times)", "database, schema and NASes are there")
    began = report.began()
    stage.start_freeradius()
    stage.start_daemon()
    report.step(began, "herotill freeradius private, herotill serve", "FreeRADIUS and the daemon are running")
    return _sell_the_first_things(stage, report)


def _sell_the_first_things(stage: Stage, report: Report) -> str:
    began = report.began()
    stage.herotill(
        "group", "add", "hostel-a", "--allocation", "2GiB", "--period", "month", "--max-sessions", "2"
    )
    _add_customer(stage, "student-1", "prepaid", "--group", "hostel-a")
    _add_customer(stage, "monthly-1", "monthly", "--suspended-pool", "unpaid-bills")
    _add_customer(stage, "disabled-1", "prepaid")
    stage.herotill("plan", "add", "six-gib", "--quota", "6GiB", "--price", "6USD", "--max-sessions", "2")
    stage.herotill(
        "plan",
        "add",
        "minute",
        "--quota",
        "1GiB",
        "--price",
        "1USD",
        "--valid-for",
        "1m",
        "--max-sessions",
        "2",
    )
    stage.herotill(
        "plan", "add", "hour", "--price", "0.50USD", "--valid-after-first-use", "1h", "--kind", "hotspot"
    )
    stage.herotill("sell", "six-gib", "--to", "student-1")
    tickets = stage.herotill_json(
        "voucher", "generate", "--type", "ticket", "--count", "5", "--plan", "hour", "--sell", "first-use"
    )
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    stage.herotill("account", "bill", "monthly-1", "25USD", "--due", yesterday)
    stage.herotill("account", "suspend", "monthly-1", "--reason", "unpaid-bill", "--yes")
    stage.herotill("account", "disable", "disabled-1", "--yes")
    report.step(began, "herotill group, customer, plan, sell, voucher, account", "the books are filled")
    listed = stage.herotill_json("voucher", "list", "--batch", str(tickets["batch"]))
    return str(listed[0]["code"])


def _add_customer(stage: Stage, username: str, kind: str, *options: str) -> None:
    stage.herotill(
        "customer", "add", "--name", username, "--user", username, "--kind", kind, "--verified",
        "--password-file", "-", *options, stdin=PASSWORDS[username] + "\n",
    )  # fmt: skip


async def play(stage: Stage, report: Report, ticket: str) -> None:
    """Play the whole story. Raises UnexpectedOutcome where a step differs from what it should be."""
    ports = stage.coa_ports
    async with (
        SimulatedNas(nas_settings(stage, MIKROTIK, "127.0.0.1", ports[0])) as mikrotik,
        SimulatedNas(nas_settings(stage, CHILLISPOT, "127.0.0.2", ports[1])) as chilli,
        SimulatedNas(nas_settings(stage, GENERIC, "::1", ports[2])) as ipv6,
    ):
        cast = Cast(mikrotik, chilli, ipv6)
        await the_shared_pool(stage, report, cast)
        minute, sold_at = await the_minute_begins(stage, report, cast)
        await the_ticket(stage, report, cast, ticket)
        await the_others(report, cast)
        await the_minute_ends(report, cast, minute, sold_at)
        await the_numbers(stage, report, cast)


async def the_shared_pool(stage: Stage, report: Report, cast: Cast) -> None:
    """Two devices share 2 GiB of pre-allocation and 6 GiB bought; the pool runs out while both are online."""
    began = report.began()
    phone_login, laptop_login = await asyncio.gather(
        cast.mikrotik.login(
            "student-1", PASSWORDS["student-1"], device="phone", method=Method.CHAP, delivery=TWICE
        ),
        cast.chilli.login("student-1", PASSWORDS["student-1"], device="laptop", method=Method.MSCHAPV2),
    )
    phone, laptop = _accepted(report, phone_login), _accepted(report, laptop_login)
    limits = f"limit {phone.limits.total_octets} octets each"
    report.step(
        began,
        "student-1 logs in: phone (CHAP, sent twice) and laptop (MS-CHAPv2)",
        "Access-Accept, twice",
        limits,
    )
    report.require(
        phone.limits.total_octets == laptop.limits.total_octets == 8 * GIB, "2 GiB given and 6 GiB bought"
    )
    grants = stage.herotill_json("explain", "student-1")["grants"]
    given = [grant for grant in grants if grant["source"] == "allocation"]
    report.require(len(given) == 1, f"the allocation is granted once, not {len(given)} times")
    await _refuse(report, cast.ipv6, "student-1", "tablet", "Too many devices")
    await _use(report, phone, "the phone", 4 * GIB + 123_456_789, GIB // 2)
    await _use(report, laptop, "the laptop", 54_321, 3 * GIB)
    await _run_out(report, cast, phone, laptop)
    await _refuse(report, cast.mikrotik, "student-1", "phone", "used up")


async def _use(report: Report, session: Session, who: str, input_octets: int, output_octets: int) -> None:
    began = report.began()
    await session.use(input_octets=input_octets, output_octets=output_octets, seconds=600)
    interim = await session.interim()
    report.require(interim.answered, f"the interim of {who} is answered")
    figures = f"{session.used.input_octets} up, {session.used.output_octets} down"
    report.step(began, f"{who} is used and sends an interim", "Accounting-Response", figures)


async def _run_out(report: Report, cast: Cast, phone: Session, laptop: Session) -> None:
    """The last octets: the interim that exhausts the pool, and how soon the Disconnect-Requests leave."""
    began = report.began()
    # The NAS would stop at its limit; here the pool is emptied by two, which neither NAS can see.
    await phone.use(output_octets=GIB // 2, seconds=60)
    exhausting_at = time.monotonic()
    await phone.interim()
    requests = await asyncio.gather(
        cast.mikrotik.wait_for_disconnect(phone, SETTLE_SECONDS),
        cast.chilli.wait_for_disconnect(laptop, SETTLE_SECONDS),
    )
    reaction_ms = [_ms_since(exhausting_at, request) for request in requests]
    report.measured["interim_to_disconnect_ms"] = max(reaction_ms)
    figures = f"on the wire after {min(reaction_ms):.1f} and {max(reaction_ms):.1f} ms"
    report.step(
        began, "the phone's interim empties the pool", "Disconnect-Request to both, Disconnect-ACK", figures
    )
    began = report.began()
    stops = await asyncio.gather(phone.wait_until_stopped(), laptop.wait_until_stopped())
    report.require(all(stop.answered for stop in stops), "both Stops are answered")
    report.step(
        began, "both NASes send their Stops", "Accounting-Response, twice", f"cause {phone.terminate_cause}"
    )


def _ms_since(moment: float, request: DynamicRequest) -> float:
    return round((request.received_monotonic - moment) * 1000, 1)


async def the_minute_begins(stage: Stage, report: Report, cast: Cast) -> tuple[Session, float]:
    """The operator sells 1 GiB for one minute; the login is accepted at once."""
    began = report.began()
    sale = await asyncio.to_thread(stage.herotill_json, "sell", "minute", "--to", "student-1")
    sold_at = datetime.fromisoformat(sale["purchased_at"]).timestamp()
    report.step(
        began,
        "herotill sell minute --to student-1",
        "1 GiB for one minute",
        "projected in the same transaction",
    )
    began = report.began()
    session = _accepted(
        report, await cast.mikrotik.login("student-1", PASSWORDS["student-1"], device="phone")
    )
    report.step(
        began,
        "student-1 logs in again (PAP)",
        "Access-Accept",
        f"Session-Timeout {session.limits.session_timeout_seconds}",
    )
    report.require(
        (session.limits.session_timeout_seconds or 0) <= 60, "the session may last a minute at most"
    )
    await session.use(input_octets=1_000_000, output_octets=20_000_000, seconds=1)
    return session, sold_at


async def the_ticket(stage: Stage, report: Report, cast: Cast, ticket: str) -> None:
    """A ticket that is sold on first use; a wrong password starts nothing."""
    began = report.began()
    outcome = await cast.chilli.login(ticket, "not-the-code", device="guest")
    report.require(isinstance(outcome, Rejected), "a wrong password is refused")
    before = await asyncio.to_thread(stage.herotill_json, "voucher", "show", ticket)
    report.step(
        began, "a ticket with a wrong password", "Access-Reject", f"the ticket is still {before['state']}"
    )
    report.require(before["state"] == "generated", "a wrong password starts nothing")
    began = report.began()
    session = _accepted(report, await cast.chilli.login(ticket, ticket, device="guest"))
    report.step(
        began,
        "the ticket itself",
        "Access-Accept",
        f"Session-Timeout {session.limits.session_timeout_seconds}",
    )
    began = report.began()
    after = await _until_in_use(stage, ticket)
    report.require(after["state"] == "in_use", f"the ticket is in use, not {after['state']}")
    report.step(began, "herotill voucher show", "sold on first use", "its clock has started")
    await session.stop()


async def _until_in_use(stage: Stage, ticket: str) -> dict[str, str]:
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        shown: dict[str, str] = await asyncio.to_thread(stage.herotill_json, "voucher", "show", ticket)
        if shown["state"] == "in_use" or time.monotonic() > deadline:
            return shown


async def the_others(report: Report, cast: Cast) -> None:
    """An unpaid bill, a stranger, a disabled account."""
    began = report.began()
    session = _accepted(report, await cast.ipv6.login("monthly-1", PASSWORDS["monthly-1"], device="router"))
    report.require(
        session.limits.address_pool == "unpaid-bills", "a suspended monthly customer gets the suspended pool"
    )
    report.step(
        began, "monthly-1 has not paid and connects (IPv6 NAS)", "Access-Accept", "Framed-Pool unpaid-bills"
    )
    await _refuse(report, cast.ipv6, "nobody", "burglar", "wrong", "x")
    await _refuse(report, cast.ipv6, "disabled-1", "laptop", "disabled")
    await session.stop()


async def the_minute_ends(report: Report, cast: Cast, session: Session, sold_at: float) -> None:
    """The session is ended when what was bought expires."""
    began = report.began()
    request = await cast.mikrotik.wait_for_disconnect(session, 75.0)
    await session.wait_until_stopped()
    late_ms = round((request.received_at.timestamp() - sold_at - 60) * 1000, 1)
    report.measured["expiry_to_disconnect_ms"] = late_ms
    report.step(
        began,
        "the minute is over",
        "Disconnect-Request, Disconnect-ACK, Stop",
        f"{late_ms} ms after the expiry",
    )
    report.require(0 <= late_ms < 1000, "the session ends with the second it expires in")
    await _refuse(report, cast.mikrotik, "student-1", "phone", "expired")


async def the_numbers(stage: Stage, report: Report, cast: Cast) -> None:
    """What was metered equals what the NASes counted, octet for octet."""
    began = report.began()
    counted = cast.mikrotik.totals()["student-1"] + cast.chilli.totals()["student-1"]
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        told = await asyncio.to_thread(stage.herotill_json, "explain", "student-1")
        metered = (told["input_octets"], told["output_octets"])
        if metered == (counted.input_octets, counted.output_octets) or time.monotonic() > deadline:
            break
    report.require(
        metered == (counted.input_octets, counted.output_octets),
        f"metered {metered}, counted {(counted.input_octets, counted.output_octets)}",
    )
    report.explanation = await asyncio.to_thread(stage.herotill, "explain", "student-1")
    report.measured["metered_octets"] = sum(metered)
    report.measured["counted_octets"] = counted.total_octets
    report.step(
        began, "herotill explain student-1", "equal, octet for octet", f"{metered[0]} up, {metered[1]} down"
    )


async def _refuse(
    report: Report, nas: SimulatedNas, username: str, device: str, because: str, password: str | None = None
) -> None:
    began = report.began()
    outcome = await nas.login(username, password or PASSWORDS[username], device=device)
    reason = outcome.reason if isinstance(outcome, Rejected) else "accepted"
    report.step(began, f"{username} tries on the {device}", "Access-Reject", reason)
    report.require(isinstance(outcome, Rejected) and because in reason, f"{username} is refused: {because}")


def _accepted(report: Report, outcome: LoginOutcome) -> Session:
    if isinstance(outcome, Accepted):
        return outcome.session
    reason = outcome.reason if isinstance(outcome, Rejected) else "no answer"
    report.require(False, f"a login is accepted, not refused: {reason}")
    raise AssertionError
