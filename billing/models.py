"""The tables of schema billing as SQLAlchemy sees them. The source is sql/0001_billing.sql; a test compares the two."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from herotill.quantities import Money

_TIME = DateTime(timezone=True)


class Base(DeclarativeBase):
    """All models live in schema billing."""

    metadata = MetaData(schema="billing")
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: _TIME,
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        list[date]: ARRAY(Date),
    }


def _key() -> Mapped[int]:
    return mapped_column(BigInteger, Identity(always=True), primary_key=True)


def _reference(target: str, unique: bool | None = None) -> Mapped[Any]:
    return mapped_column(BigInteger, ForeignKey(f"billing.{target}"), unique=unique)


class Plan(Base):
    """What is sold. `removed_at` takes it off the shelf and keeps it for the books."""

    __tablename__ = "plan"
    plan_id: Mapped[int] = _key()
    name: Mapped[str]
    price_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    kinds: Mapped[list[str]]
    quota_octets: Mapped[int | None] = mapped_column(BigInteger)
    quota_seconds: Mapped[int | None] = mapped_column(BigInteger)
    seconds_after_purchase: Mapped[int | None] = mapped_column(BigInteger)
    seconds_after_first_use: Mapped[int | None] = mapped_column(BigInteger)
    seconds_after_last_use: Mapped[int | None] = mapped_column(BigInteger)
    valid_until: Mapped[datetime | None]
    ends_with_cycle: Mapped[bool] = mapped_column(default=False, server_default="false")
    counting: Mapped[str] = mapped_column(default="sum", server_default="sum")
    priority: Mapped[int] = mapped_column(Integer, default=100, server_default="100")
    policy: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    refill_expiry: Mapped[str] = mapped_column(default="latest", server_default="latest")
    refill_rates: Mapped[str] = mapped_column(default="keep", server_default="keep")
    refill_counts_overuse: Mapped[bool] = mapped_column(default=False, server_default="false")
    rolls_over: Mapped[bool] = mapped_column(default=False, server_default="false")
    topup_plan: Mapped[str | None]
    topups_max: Mapped[int | None]
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class CustomerGroup(Base):
    """A hostel, a building, a reseller's clients; with its allocation for verified prepaid members (rule R17)."""

    __tablename__ = "customer_group"
    group_id: Mapped[int] = _key()
    name: Mapped[str] = mapped_column(unique=True)
    time_zone: Mapped[str] = mapped_column(default="UTC", server_default="UTC")
    policy: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    allocation_period: Mapped[str | None]
    allocation_term_starts: Mapped[list[date]] = mapped_column(default=list, server_default="{}")
    allocation_octets: Mapped[int | None] = mapped_column(BigInteger)
    allocation_seconds: Mapped[int | None] = mapped_column(BigInteger)
    allocation_valid_seconds: Mapped[int | None] = mapped_column(BigInteger)
    allocation_rolls_over: Mapped[bool] = mapped_column(default=False, server_default="false")
    allocation_counting: Mapped[str] = mapped_column(default="sum", server_default="sum")
    created_at: Mapped[datetime]
    region_id: Mapped[int | None] = mapped_column(SmallInteger, ForeignKey("billing.region.region_id"))


class Region(Base):
    """A RADIUS database apart from the books; none where there is one database (sync_daemon/returning)."""

    __tablename__ = "region"
    region_id: Mapped[int] = mapped_column(SmallInteger, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    database_id: Mapped[UUID] = mapped_column(unique=True)
    carried_change: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    returned_until: Mapped[datetime | None]


class ErasureOrder(Base):
    """Names a region's RADIUS database has still to forget (billing/erasure.py, rule R36)."""

    __tablename__ = "erasure_order"
    erasure_order_id: Mapped[int] = _key()
    region_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("billing.region.region_id"))
    names: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    ordered_at: Mapped[datetime]


class Customer(Base):
    """A person or company in the books."""

    __tablename__ = "customer"
    customer_id: Mapped[int] = _key()
    account_number: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    phone: Mapped[str | None]
    email: Mapped[str | None]
    group_id: Mapped[int | None] = _reference("customer_group.group_id")
    joined_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    language: Mapped[str | None]
    verified_by: Mapped[str | None]
    verified_reason: Mapped[str | None]
    erased_at: Mapped[datetime | None]
    group: Mapped[CustomerGroup | None] = relationship()


class Account(Base):
    """What logs in: a user name and a secret. The secret is never part of its representation."""

    __tablename__ = "account"
    account_id: Mapped[int] = _key()
    username: Mapped[str]
    secret: Mapped[str]
    kind: Mapped[str]
    customer_id: Mapped[int | None] = _reference("customer.customer_id")
    status: Mapped[str] = mapped_column(default="active", server_default="active")
    suspended_reason: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    cycle_day: Mapped[int | None] = mapped_column(SmallInteger)
    plan_policy: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    policy: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    retires_at: Mapped[datetime | None]
    must_reset_secret: Mapped[bool] = mapped_column(default=False, server_default="false")
    customer: Mapped[Customer | None] = relationship()


class VoucherBatch(Base):
    """N codes made at once, with the plan as it was then (rule R12)."""

    __tablename__ = "voucher_batch"
    batch_id: Mapped[int] = _key()
    type: Mapped[str]
    sell: Mapped[str]
    plan_id: Mapped[int] = _reference("plan.plan_id")
    plan_name: Mapped[str]
    plan_terms: Mapped[dict[str, Any]]
    price_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    code_count: Mapped[int]
    code_length: Mapped[int]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    list_price_minor: Mapped[int | None] = mapped_column(BigInteger)
    alphabet: Mapped[str] = mapped_column(default="clear", server_default="clear")
    prefix: Mapped[str | None]
    codes_expire_at: Mapped[datetime | None]
    codes_expired: Mapped[bool] = mapped_column(default=False, server_default="false")
    key_fingerprint: Mapped[str | None]
    free_logins_max: Mapped[int | None]
    free_pause_seconds: Mapped[int | None] = mapped_column(BigInteger)
    usage_unit: Mapped[str | None]
    usage_unit_size: Mapped[int | None] = mapped_column(BigInteger)
    usage_unit_price_minor: Mapped[int | None] = mapped_column(BigInteger)
    usage_interval: Mapped[str | None]
    usage_time_zone: Mapped[str | None]

    @property
    def price(self) -> Money:
        """What each code costs, after the discount."""
        return Money(self.price_minor, self.currency)


class Voucher(Base):
    """A code and where it is in its life (rule R8). A refill has a hash instead of a code, and no account."""

    __tablename__ = "voucher"
    voucher_id: Mapped[int] = _key()
    batch_id: Mapped[int] = _reference("voucher_batch.batch_id")
    code: Mapped[str | None] = mapped_column(unique=True)
    account_id: Mapped[int | None] = _reference("account.account_id", unique=True)
    state: Mapped[str] = mapped_column(default="generated", server_default="generated")
    changed_at: Mapped[datetime]
    changed_by: Mapped[str]
    changed_reason: Mapped[str]
    number: Mapped[int]
    code_hash: Mapped[bytes | None] = mapped_column(unique=True)
    sealed_code: Mapped[bytes | None] = mapped_column()
    print_count: Mapped[int] = mapped_column(default=0, server_default="0")
    printed_at: Mapped[datetime | None]
    batch: Mapped[VoucherBatch] = relationship()
    account: Mapped[Account | None] = relationship()

    __table_args__ = (UniqueConstraint("batch_id", "number"),)

    @property
    def serial(self) -> str:
        """The number on the card, which says nothing of the code."""
        return f"{self.batch_id}-{self.number}"


class VoucherEvent(Base):
    """One step of a voucher's life; written by the database."""

    __tablename__ = "voucher_event"
    voucher_event_id: Mapped[int] = _key()
    voucher_id: Mapped[int] = _reference("voucher.voucher_id")
    from_state: Mapped[str | None]
    to_state: Mapped[str]
    occurred_at: Mapped[datetime]
    actor: Mapped[str]
    reason: Mapped[str]


class RefillRedemption(Base):
    """Whose account a refill went to, at most once (rule R8)."""

    __tablename__ = "refill_redemption"
    voucher_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("billing.voucher.voucher_id"), primary_key=True, autoincrement=False
    )
    account_id: Mapped[int] = _reference("account.account_id")
    redeemed_at: Mapped[datetime]
    redeemed_by: Mapped[str]


class RefillFailure(Base):
    """A code that was not taken, once for each who had a part in the try (rule R10)."""

    __tablename__ = "refill_failure"
    refill_failure_id: Mapped[int] = _key()
    party: Mapped[str]
    name: Mapped[str]
    failed_at: Mapped[datetime]


class UsageAccount(Base):
    """How far a usage-based account has been billed (rule R7)."""

    __tablename__ = "usage_account"
    voucher_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("billing.voucher.voucher_id"), primary_key=True, autoincrement=False
    )
    started_at: Mapped[datetime | None]
    intervals_ended: Mapped[int] = mapped_column(default=0, server_default="0")
    units_billed: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    billed_until: Mapped[datetime | None]
    next_bill_at: Mapped[datetime | None]


class UsageBill(Base):
    """What one bill of a usage-based account is for."""

    __tablename__ = "usage_bill"
    usage_bill_id: Mapped[int] = _key()
    voucher_id: Mapped[int] = _reference("voucher.voucher_id")
    invoice_id: Mapped[int] = _reference("invoice.invoice_id", unique=True)
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    units: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (UniqueConstraint("voucher_id", "ended_at"),)


class Purchase(Base):
    """What was sold, once per key, with the plan as it was (rules R8, R12)."""

    __tablename__ = "purchase"
    purchase_id: Mapped[int] = _key()
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    # A refill is sold before anybody knows whose account it will fill; every other purchase has one.
    account_id: Mapped[int | None] = _reference("account.account_id")
    voucher_id: Mapped[int | None] = _reference("voucher.voucher_id", unique=True)
    plan_id: Mapped[int] = _reference("plan.plan_id")
    plan_name: Mapped[str]
    plan_terms: Mapped[dict[str, Any]]
    price_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    purchased_at: Mapped[datetime]
    sold_by: Mapped[str]
    reseller_id: Mapped[int | None] = _reference("reseller.reseller_id")
    account: Mapped[Account] = relationship()

    @property
    def price(self) -> Money:
        """What was paid."""
        return Money(self.price_minor, self.currency)


class Invoice(Base):
    """A bill; suspension for not paying needs one whose date has passed (rule R24)."""

    __tablename__ = "invoice"
    invoice_id: Mapped[int] = _key()
    account_id: Mapped[int] = _reference("account.account_id")
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    issued_at: Mapped[datetime]
    due_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    description: Mapped[str] = mapped_column(default="", server_default="")
    cycle_began_on: Mapped[date | None]
    voided_at: Mapped[datetime | None]
    voided_by: Mapped[str | None]
    void_reason: Mapped[str | None]
    account: Mapped[Account] = relationship()

    @property
    def amount(self) -> Money:
        """What is to be paid."""
        return Money(self.amount_minor, self.currency)

    @property
    def is_open(self) -> bool:
        """Whether it is still to be paid."""
        return self.paid_at is None and self.voided_at is None


class BillingProfile(Base):
    """How an account is billed: daily (rule R23) or monthly (rule R24), with the plan that recurs."""

    __tablename__ = "billing_profile"
    account_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("billing.account.account_id"), primary_key=True, autoincrement=False
    )
    profile: Mapped[str]
    plan_id: Mapped[int | None] = _reference("plan.plan_id")
    automatic_bill: Mapped[bool] = mapped_column(default=True, server_default="true")
    automatic_suspend: Mapped[bool] = mapped_column(default=True, server_default="true")
    automatic_topup: Mapped[bool] = mapped_column(default=True, server_default="true")
    payment_terms_days: Mapped[int] = mapped_column(SmallInteger, default=7, server_default="7")
    cycle_length: Mapped[str] = mapped_column(default="month", server_default="month")
    opened_on: Mapped[date]
    anchor_on: Mapped[date]
    time_zone: Mapped[str]
    next_cycle_on: Mapped[date | None]
    next_cycle_at: Mapped[datetime | None]
    paused: Mapped[bool] = mapped_column(default=False, server_default="false")
    plan: Mapped[Plan | None] = relationship()


class BillingCycle(Base):
    """A cycle that was opened, with the plan as it was then, and its bill."""

    __tablename__ = "billing_cycle"
    account_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("billing.account.account_id"), primary_key=True, autoincrement=False
    )
    began_on: Mapped[date] = mapped_column(primary_key=True)
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    grant_ends_at: Mapped[datetime]
    plan_id: Mapped[int] = _reference("plan.plan_id")
    plan_name: Mapped[str]
    rolls_over: Mapped[bool]
    topup_plan: Mapped[str | None]
    topups_max: Mapped[int | None]
    invoice_id: Mapped[int | None] = _reference("invoice.invoice_id", unique=True)


class CycleTopup(Base):
    """A top-up a cycle gave itself (rule R18)."""

    __tablename__ = "cycle_topup"
    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    began_on: Mapped[date] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    purchase_id: Mapped[int] = _reference("purchase.purchase_id", unique=True)

    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "began_on"], ["billing.billing_cycle.account_id", "billing.billing_cycle.began_on"]
        ),
    )


class LedgerTransaction(Base):
    """One balanced set of postings, once per external key (rule R25)."""

    __tablename__ = "ledger_transaction"
    transaction_id: Mapped[int] = _key()
    external_key: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str]
    occurred_at: Mapped[datetime]
    recorded_by: Mapped[str]
    reverses_id: Mapped[int | None] = _reference("ledger_transaction.transaction_id", unique=True)


class LedgerPosting(Base):
    """One side of a ledger transaction; positive is credit."""

    __tablename__ = "ledger_posting"
    posting_id: Mapped[int] = _key()
    transaction_id: Mapped[int] = _reference("ledger_transaction.transaction_id")
    ledger_account: Mapped[str]
    customer_id: Mapped[int | None] = _reference("customer.customer_id")
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    reseller_id: Mapped[int | None] = _reference("reseller.reseller_id")


class Reseller(Base):
    """Sells to the customers of its own groups from a balance it holds with us (rule R28)."""

    __tablename__ = "reseller"
    reseller_id: Mapped[int] = _key()
    name: Mapped[str] = mapped_column(unique=True)
    currency: Mapped[str]
    commission_basis_points: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class ResellerGroup(Base):
    """Whose group it is."""

    __tablename__ = "reseller_group"
    group_id: Mapped[int] = mapped_column(
        BigInteger,
        ForeignKey("billing.customer_group.group_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    reseller_id: Mapped[int] = _reference("reseller.reseller_id")
    assigned_at: Mapped[datetime]


class CreditLine(Base):
    """How far below zero a customer's balance may go by buying, and for how long (rule R26)."""

    __tablename__ = "credit_line"
    customer_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("billing.customer.customer_id"), primary_key=True, autoincrement=False
    )
    limit_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    overdue_after_seconds: Mapped[int] = mapped_column(BigInteger)
    granted_at: Mapped[datetime]
    granted_by: Mapped[str]


class PaymentRequest(Base):
    """A payment we wait for; its reference comes back with the money (rule R27)."""

    __tablename__ = "payment_request"
    payment_request_id: Mapped[int] = _key()
    reference: Mapped[str] = mapped_column(unique=True)
    customer_id: Mapped[int] = _reference("customer.customer_id")
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    invoice_id: Mapped[int | None] = _reference("invoice.invoice_id")
    plan_name: Mapped[str | None]
    username: Mapped[str | None]
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    expires_at: Mapped[datetime]

    @property
    def amount(self) -> Money:
        """What is to be paid."""
        return Money(self.amount_minor, self.currency)


class Payment(Base):
    """Money that came in, once per key; `unmatched` while nobody knows whose it is (rule R27)."""

    __tablename__ = "payment"
    payment_id: Mapped[int] = _key()
    payment_key: Mapped[str] = mapped_column(unique=True)
    method: Mapped[str]
    gateway: Mapped[str | None]
    reseller_id: Mapped[int | None] = _reference("reseller.reseller_id")
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    reference: Mapped[str] = mapped_column(default="", server_default="")
    payer: Mapped[str] = mapped_column(default="", server_default="")
    state: Mapped[str]
    unmatched_reason: Mapped[str | None]
    customer_id: Mapped[int | None] = _reference("customer.customer_id")
    payment_request_id: Mapped[int | None] = _reference("payment_request.payment_request_id", unique=True)
    received_at: Mapped[datetime]
    recorded_by: Mapped[str]
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None]
    resolution: Mapped[str | None]
    plan_name: Mapped[str | None]
    username: Mapped[str | None]
    purchase_id: Mapped[int | None] = _reference("purchase.purchase_id", unique=True)
    activation_refused: Mapped[str | None]
    customer: Mapped[Customer | None] = relationship()

    @property
    def amount(self) -> Money:
        """What came in."""
        return Money(self.amount_minor, self.currency)


class Event(Base):
    """What happened that somebody outside must be told, once per key."""

    __tablename__ = "event"
    event_id: Mapped[int] = _key()
    event_key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    customer_id: Mapped[int | None] = _reference("customer.customer_id")
    payload: Mapped[dict[str, Any]]
    occurred_at: Mapped[datetime]
    dispatched_at: Mapped[datetime | None]


class EventDelivery(Base):
    """An event on its way to one sink."""

    __tablename__ = "event_delivery"
    event_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("billing.event.event_id"), primary_key=True)
    sink: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="pending", server_default="pending")
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    next_attempt_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    last_error: Mapped[str | None]


class MessageTemplate(Base):
    """What is said of a kind of event in one language, where the operator has words of their own."""

    __tablename__ = "message_template"
    kind: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    body: Mapped[str]
    changed_at: Mapped[datetime]
    changed_by: Mapped[str]


class ExpiryReminder(Base):
    """So long before its end the holder of a grant is reminded (rule R21)."""

    __tablename__ = "expiry_reminder"
    lead_seconds: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    reminded_until: Mapped[datetime]


class LowBalanceMark(Base):
    """Below this balance a customer is reminded (rule R21)."""

    __tablename__ = "low_balance_mark"
    currency: Mapped[str] = mapped_column(primary_key=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)


class LowBalanceReminder(Base):
    """Who was reminded and has not paid in since."""

    __tablename__ = "low_balance_reminder"
    customer_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("billing.customer.customer_id"), primary_key=True
    )
    currency: Mapped[str] = mapped_column(primary_key=True)
    below_since: Mapped[datetime]


class BalanceChange(Base):
    """Whose balance changed since the schedule looked; written by the database."""

    __tablename__ = "balance_change"
    balance_change_id: Mapped[int] = _key()
    customer_id: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]


class TopUp(Base):
    """What an operator gave for nothing, once per key (rule R19)."""

    __tablename__ = "top_up"
    top_up_id: Mapped[int] = _key()
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    account_id: Mapped[int] = _reference("account.account_id")
    quota_octets: Mapped[int | None] = mapped_column(BigInteger)
    quota_seconds: Mapped[int | None] = mapped_column(BigInteger)
    valid_seconds: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str]
    topped_up_at: Mapped[datetime]
    topped_up_by: Mapped[str]
    account: Mapped[Account] = relationship()


class Transfer(Base):
    """Unused octets that went to another account, once per key (rule R20)."""

    __tablename__ = "transfer"
    transfer_id: Mapped[int] = _key()
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    from_account_id: Mapped[int] = _reference("account.account_id")
    to_account_id: Mapped[int] = _reference("account.account_id")
    octets: Mapped[int] = mapped_column(BigInteger)
    fee_minor: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    currency: Mapped[str]
    transferred_at: Mapped[datetime]
    transferred_by: Mapped[str]
    from_account: Mapped[Account] = relationship(foreign_keys=[from_account_id])
    to_account: Mapped[Account] = relationship(foreign_keys=[to_account_id])


class TransferPart(Base):
    """Which grant gave how much of a transfer."""

    __tablename__ = "transfer_part"
    transfer_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("billing.transfer.transfer_id"), primary_key=True
    )
    part: Mapped[int] = mapped_column(Integer, primary_key=True)
    from_grant_key: Mapped[str]
    octets: Mapped[int] = mapped_column(BigInteger)


class ImportedRow(Base):
    """A row of a file that was imported; the same row again changes nothing (rule R4)."""

    __tablename__ = "imported_row"
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = _reference("customer.customer_id")
    imported_at: Mapped[datetime]


class ContactCode(Base):
    """A code that went out by e-mail or SMS; who types it has read it there (rule R3)."""

    __tablename__ = "contact_code"
    contact_code_id: Mapped[int] = _key()
    customer_id: Mapped[int] = _reference("customer.customer_id")
    purpose: Mapped[str]
    account_id: Mapped[int | None] = _reference("account.account_id")
    channel: Mapped[str]
    address: Mapped[str]
    code_hash: Mapped[bytes]
    sent_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    failed_attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    ended_at: Mapped[datetime | None]
    ended_reason: Mapped[str | None]


class Granted(Base):
    """A grant's terms as our programs left them; triggers write it, reconcile holds RADIUS to it (rule R30)."""

    __tablename__ = "granted"
    external_key: Mapped[str] = mapped_column(primary_key=True)
    entitlement_id: Mapped[int] = mapped_column(BigInteger)
    username: Mapped[str]
    source: Mapped[str]
    plan_name: Mapped[str]
    priority: Mapped[int] = mapped_column(Integer)
    counting: Mapped[str]
    quota_octets: Mapped[int | None] = mapped_column(BigInteger)
    quota_seconds: Mapped[int | None] = mapped_column(BigInteger)
    policy: Mapped[dict[str, Any]]
    granted_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    seconds_after_first_use: Mapped[int | None] = mapped_column(BigInteger)
    seconds_after_last_use: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[datetime | None]
    ended_reason: Mapped[str | None]


class RadiusAttribute(Base):
    """An attribute of a user or group beyond those the books make; `herotill sync adopt` enters it (rule R30)."""

    __tablename__ = "radius_attribute"
    __table_args__ = (UniqueConstraint("relation", "name", "attribute", "op", "value"),)
    radius_attribute_id: Mapped[int] = _key()
    relation: Mapped[str]
    name: Mapped[str]
    attribute: Mapped[str]
    op: Mapped[str]
    value: Mapped[str]
    entered_at: Mapped[datetime]
    entered_by: Mapped[str]
