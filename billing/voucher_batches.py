"""Making codes: N at once, set by set, all or nothing (rules R7, R8).

A ticket's code is the login of a hotspot account; user, usage-based and free accounts have a name with a running number
and a password. A refill is no login. Sold on first use: it can be used at once, and its first use sells it. Sold later:
nobody can use it before the operator sells it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import customers, plans
from billing.codes import random_texts
from billing.models import Plan, VoucherBatch
from billing.new_batches import (
    MAX_NUMBER,
    CodeType,
    NewBatch,
    Progress,
    SellWhen,
    check_batch,
    check_plan,
    no_progress,
)
from billing.projection import project_accounts
from billing.sealed_codes import CodeKeys
from billing.terms import PlanTerms
from billing.vouchers import Sold, offer, sell_all
from herotill.errors import InvalidValue, Refused

CHUNK = 10_000

# Two who make codes at once take turns, so that neither takes a name the other is about to take.
_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtext('herotill voucher generate'))")
_TAKEN = text("""
    SELECT lower(username) FROM billing.account WHERE lower(username) = ANY(:lowered) AND status <> 'closed'
    UNION SELECT lower(code) FROM billing.voucher WHERE code = ANY(:codes)
""")
_TAKEN_HASHES = text("SELECT code_hash FROM billing.voucher WHERE code_hash = ANY(:hashes)")
# Closed accounts too: a running number is not given twice.
_LAST_NUMBER = text("""
    SELECT max(substring(username FROM length(:prefix) + 1)::numeric)
    FROM billing.account
    WHERE starts_with(lower(username), lower(:prefix)) AND substring(username FROM length(:prefix) + 1) ~ '^[0-9]{1,12}$'
""")
_ADD_LOGINS = text("""
    WITH made AS (
        INSERT INTO billing.account (username, secret, kind, customer_id, status, created_at)
        SELECT name, secret, 'hotspot', :customer_id, :status, :now
        FROM unnest(CAST(:names AS text[]), CAST(:secrets AS text[])) WITH ORDINALITY AS login (name, secret, position)
        ORDER BY position
        RETURNING account_id, username)
    INSERT INTO billing.voucher (batch_id, number, code, account_id, changed_at, changed_by, changed_reason)
    SELECT :batch_id, :stored + row_number() OVER (ORDER BY account_id), username, account_id, :now, :actor, 'generated'
    FROM made ORDER BY account_id
    RETURNING voucher_id, code
""")
_ADD_REFILLS = text("""
    INSERT INTO billing.voucher (batch_id, number, code_hash, sealed_code, changed_at, changed_by, changed_reason)
    SELECT :batch_id, :stored + position, code_hash, sealed, :now, :actor, 'generated'
    FROM unnest(CAST(:hashes AS bytea[]), CAST(:sealed AS bytea[])) WITH ORDINALITY AS code (code_hash, sealed, position)
    ORDER BY position
    RETURNING voucher_id
""")
_ADD_LOGIN_LIMITS = text("""
    INSERT INTO radius.login_limit (username, voucher_id, logins_max, pause_seconds)
    SELECT username, voucher_id, :logins_max, :pause_seconds
    FROM unnest(CAST(:usernames AS text[]), CAST(:voucher_ids AS bigint[])) AS free (username, voucher_id)
""")
_ADD_USAGE_ACCOUNTS = text("""
    INSERT INTO billing.usage_account (voucher_id) SELECT unnest(CAST(:voucher_ids AS bigint[]))
""")


@dataclass(frozen=True, slots=True)
class _Making:
    """One batch under way."""

    wanted: NewBatch
    batch: VoucherBatch
    terms: PlanTerms
    now: datetime
    customer_id: int | None = None


def generate(
    session: Session,
    *,
    wanted: NewBatch,
    now: datetime,
    keys: CodeKeys | None = None,
    progress: Progress = no_progress,
) -> VoucherBatch:
    """Make a batch and, as it says, sell it or offer it for sale on first use; `keys` are for refills.

    `progress` is told how many codes came to be since it was told last.
    """
    check_batch(wanted, now)
    plan = plans.get(session, wanted.plan)
    terms = PlanTerms.of(plan)
    check_plan(wanted, plan.name, terms)
    session.execute(_TAKE_TURNS)
    batch = _add_batch(session, wanted, plan, now, keys)
    making = _Making(wanted, batch, terms, now, _customer_id(session, wanted))
    voucher_ids = []
    for stored in _store(session, making, keys):
        voucher_ids += stored
        progress(len(stored))
    if wanted.sell is SellWhen.NOW and wanted.type is not CodeType.FREE:
        sell_all(session, batch, voucher_ids, Sold(now, wanted.created_by, "sold with its batch"))
    session.expire_all()
    return batch


def _customer_id(session: Session, wanted: NewBatch) -> int | None:
    if wanted.usage is None or wanted.usage.customer is None:
        return None
    return customers.get(session, wanted.usage.customer).customer_id


def _add_batch(
    session: Session, wanted: NewBatch, plan: Plan, now: datetime, keys: CodeKeys | None
) -> VoucherBatch:
    terms = PlanTerms.of(plan)
    price = terms.price if wanted.discount is None else wanted.discount.price_of(terms.price)
    batch = VoucherBatch(
        type=str(wanted.type),
        sell=str(SellWhen.NOW if wanted.type is CodeType.FREE else wanted.sell),
        plan_id=plan.plan_id,
        plan_name=plan.name,
        plan_terms=terms.to_mapping(),
        price_minor=0 if wanted.type is CodeType.FREE else price.minor,
        list_price_minor=plan.price_minor,
        currency=plan.currency,
        code_count=wanted.count,
        code_length=wanted.code_length,
        alphabet=str(wanted.alphabet),
        prefix=wanted.name_prefix if wanted.type.is_named else None,
        codes_expire_at=wanted.codes_expire_at,
        created_at=now,
        created_by=wanted.created_by,
        **_columns_of_type(wanted, keys),
    )
    session.add(batch)
    session.flush()
    return batch


def _columns_of_type(wanted: NewBatch, keys: CodeKeys | None) -> Mapping[str, Any]:
    if wanted.type is CodeType.REFILL:
        return {"key_fingerprint": needed(keys).fingerprint}
    if wanted.free is not None:
        return {
            "free_logins_max": wanted.free.logins_max,
            "free_pause_seconds": wanted.free.pause_seconds,
        }
    if wanted.usage is not None:
        return {
            "usage_unit": str(wanted.usage.unit),
            "usage_unit_size": wanted.usage.unit_size,
            "usage_unit_price_minor": wanted.usage.unit_price.minor,
            "usage_interval": str(wanted.usage.interval),
            "usage_time_zone": wanted.usage.time_zone,
        }
    return {}


def needed(keys: CodeKeys | None) -> CodeKeys:
    """Return the keys. Raises Refused where the installation has none."""
    if keys is None:
        raise Refused("refills need the setting voucher_secret (`openssl rand -hex 32` makes one)", "R10")
    return keys


def _store(session: Session, making: _Making, keys: CodeKeys | None) -> Iterator[list[int]]:
    """Store chunk after chunk and yield the voucher ids of each."""
    if making.wanted.type is CodeType.REFILL:
        codes = list(_unused_refills(session, making.wanted, needed(keys)))
        for start in range(0, len(codes), CHUNK):
            yield _store_refills(session, making, codes[start : start + CHUNK], (needed(keys), start))
        return
    names = _names(session, making.wanted)
    passwords = _passwords(making.wanted, names)
    for start in range(0, len(names), CHUNK):
        end = start + CHUNK
        yield _store_logins(session, making, names[start:end], (passwords[start:end], start))


def _store_logins(
    session: Session, making: _Making, names: Sequence[str], rest: tuple[Sequence[str], int]
) -> list[int]:
    wanted = making.wanted
    is_free = wanted.type is CodeType.FREE
    is_stored = wanted.sell is SellWhen.LATER and not is_free
    values = _chunk_values(making, rest[1]) | {
        "names": list(names),
        "secrets": list(rest[0]),
        "status": "stored" if is_stored else "active",
        "customer_id": making.customer_id,
    }
    made = {row.voucher_id: row.code for row in session.execute(_ADD_LOGINS, values)}
    _add_rows_of_type(session, wanted, made)
    if not is_stored:
        offer(session, making.batch, made, making.now)
        project_accounts(session, list(made.values()))
    return list(made)


def _add_rows_of_type(session: Session, wanted: NewBatch, made: Mapping[int, str]) -> None:
    if wanted.usage is not None:
        session.execute(_ADD_USAGE_ACCOUNTS, {"voucher_ids": list(made)})
    if wanted.free is not None:
        limits = {"logins_max": wanted.free.logins_max, "pause_seconds": wanted.free.pause_seconds}
        holders = {"usernames": list(made.values()), "voucher_ids": list(made)}
        session.execute(_ADD_LOGIN_LIMITS, limits | holders)


def _store_refills(
    session: Session, making: _Making, codes: Sequence[str], rest: tuple[CodeKeys, int]
) -> list[int]:
    sealed = [rest[0].seal_code(code) for code in codes]
    columns = {"hashes": [each.code_hash for each in sealed], "sealed": [each.sealed for each in sealed]}
    return list(session.execute(_ADD_REFILLS, _chunk_values(making, rest[1]) | columns).scalars())


def _chunk_values(making: _Making, stored: int) -> dict[str, Any]:
    return {
        "batch_id": making.batch.batch_id,
        "stored": stored,
        "now": making.now,
        "actor": making.wanted.created_by,
    }


def _names(session: Session, wanted: NewBatch) -> list[str]:
    return _running_names(session, wanted) if wanted.type.is_named else _unused_codes(session, wanted)


def _running_names(session: Session, wanted: NewBatch) -> list[str]:
    prefix, start = wanted.name_prefix, wanted.start
    if start is None:
        start = _next_number(session, prefix)
    names = [f"{prefix}{start + index}" for index in range(wanted.count)]
    taken = _taken(session, names)
    if taken:
        first = next(name for name in names if name.lower() in taken)
        free = _next_number(session, prefix)
        raise InvalidValue("start", start, f"{first} is in use already; {free} and all after it are free")
    return names


def _next_number(session: Session, prefix: str) -> int:
    last = session.scalar(_LAST_NUMBER, {"prefix": prefix})
    number = 1 if last is None else int(last) + 1
    if number > MAX_NUMBER:
        raise InvalidValue("prefix", prefix, "its running numbers are used up; take another prefix")
    return number


def _taken(session: Session, names: Sequence[str]) -> set[str]:
    values = {"codes": list(names), "lowered": [name.lower() for name in names]}
    return set(session.execute(_TAKEN, values).scalars())


def _unused_codes(session: Session, wanted: NewBatch) -> list[str]:
    codes: dict[str, None] = {}
    while len(codes) < wanted.count:
        fresh = list(_fresh_codes(wanted, codes))
        taken = _taken(session, fresh)
        codes |= {code: None for code in fresh if code.lower() not in taken}
    return list(islice(codes, wanted.count))


def _unused_refills(session: Session, wanted: NewBatch, keys: CodeKeys) -> Iterator[str]:
    codes: dict[str, None] = {}
    while len(codes) < wanted.count:
        hashes = {keys.hash_of(code): code for code in _fresh_codes(wanted, codes)}
        taken = set(map(bytes, session.execute(_TAKEN_HASHES, {"hashes": list(hashes)}).scalars()))
        codes |= {code: None for code_hash, code in hashes.items() if code_hash not in taken}
    return islice(codes, wanted.count)


def _fresh_codes(wanted: NewBatch, known: Mapping[str, None]) -> Iterator[str]:
    made = dict.fromkeys(random_texts(wanted.alphabet, wanted.code_length, wanted.count - len(known)))
    return (code for code in made if code not in known)


def _passwords(wanted: NewBatch, names: Sequence[str]) -> Sequence[str]:
    if not wanted.type.is_named and wanted.password_length is None:
        return names
    length = wanted.code_length if wanted.type.is_named else (wanted.password_length or 0)
    return list(random_texts(wanted.alphabet, length, len(names)))
