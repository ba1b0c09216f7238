"""What a reseller sees of the books: a session that was confined finds its own customers and nothing of anybody else.

The use cases check whom a reseller serves; this is the second fence, which holds for every query they will ever make
through the models. A model that is not named here is not seen at all.
"""

from typing import Any

from sqlalchemy import ColumnElement, Table, event, false, or_, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from billing import models
from billing.models import Base
from billing.resellers import Seller

_SEEN_BY_ALL: tuple[type[Base], ...] = (models.Plan,)


def confine(session: Session, seller: Seller) -> None:
    """Let this session read only what is the reseller's own."""
    fences = [
        with_loader_criteria(entity, criterion, include_aliases=True)
        for entity, criterion in _criteria(seller.reseller_id).items()
    ]

    @event.listens_for(session, "do_orm_execute")
    def fence(state: ORMExecuteState) -> None:
        if state.is_select and not state.is_column_load:
            state.statement = state.statement.options(*fences)


def _criteria(reseller_id: int) -> dict[type[Base], ColumnElement[bool]]:
    """Say for every model which rows are the reseller's. Tables, not models: what is asked here is not fenced itself."""
    groups = _table(models.ResellerGroup)
    own_groups = select(groups.c.group_id).where(groups.c.reseller_id == reseller_id)
    customers, accounts = _table(models.Customer), _table(models.Account)
    own_customers = select(customers.c.customer_id).where(customers.c.group_id.in_(own_groups))
    own_accounts = select(accounts.c.account_id).where(accounts.c.customer_id.in_(own_customers))
    postings = _table(models.LedgerPosting)
    own_entries = select(postings.c.transaction_id).where(
        or_(postings.c.reseller_id == reseller_id, postings.c.customer_id.in_(own_customers))
    )
    criteria: dict[type[Base], Any] = {
        entity: false() for entity in _entities() if entity not in _SEEN_BY_ALL
    }
    criteria[models.CustomerGroup] = models.CustomerGroup.group_id.in_(own_groups)
    criteria[models.ResellerGroup] = models.ResellerGroup.reseller_id == reseller_id
    criteria[models.Reseller] = models.Reseller.reseller_id == reseller_id
    criteria[models.LedgerTransaction] = models.LedgerTransaction.transaction_id.in_(own_entries)
    criteria[models.LedgerPosting] = or_(
        models.LedgerPosting.reseller_id == reseller_id, models.LedgerPosting.customer_id.in_(own_customers)
    )
    for of_customer in (models.Customer, models.CreditLine, models.Payment, models.PaymentRequest):
        criteria[of_customer] = of_customer.customer_id.in_(own_customers)
    for of_account in (models.Account, models.Purchase, models.Invoice, models.BillingProfile):
        criteria[of_account] = of_account.account_id.in_(own_accounts)
    return criteria


def _entities() -> list[type[Base]]:
    return [mapper.class_ for mapper in Base.registry.mappers]


def _table(entity: type[Base]) -> Table:
    table = entity.__table__
    if not isinstance(table, Table):
        raise TypeError(f"{entity.__name__} has no table of its own")
    return table
