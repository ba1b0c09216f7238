"""Plans: what is sold. Editing one changes what will be sold, never what was (rule R12)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from billing.checks import check_name, escape_like
from billing.models import BillingCycle, BillingProfile, Plan, Purchase, VoucherBatch
from billing.terms import PlanTerms
from herotill.errors import InvalidValue
from herotill.snapshot import AccountKind


def add(session: Session, *, name: str, terms: PlanTerms, now: datetime) -> Plan:
    """Put a new plan on the shelf. Raises InvalidValue for a name that is taken."""
    check_name("name", name)
    _check_free(session, name)
    _check_topup_plan(session, terms)
    plan = Plan(name=name, created_at=now, **terms.to_columns())
    session.add(plan)
    session.flush()
    return plan


def get(session: Session, name: str) -> Plan:
    """Return the plan on the shelf that has this name. Raises InvalidValue."""
    found = _on_shelf(session, name)
    if found is None:
        raise InvalidValue("plan", name, "there is no such plan; `herotill plan list` shows them")
    return found


def listing(session: Session, *, search: str = "", limit: int = 100) -> list[Plan]:
    """Return the plans on the shelf by name."""
    query = select(Plan).where(Plan.removed_at.is_(None), Plan.name.ilike(escape_like(search)))
    return list(session.scalars(query.order_by(func.lower(Plan.name)).limit(limit)))


def edit(session: Session, *, name: str, changes: Mapping[str, Any]) -> Plan:
    """Change fields of PlanTerms, or `name`, for what will be sold from now on."""
    plan = get(session, name)
    changes = dict(changes)
    new_name = changes.pop("name", plan.name)
    terms = replace(PlanTerms.of(plan), **changes)
    if new_name.lower() != plan.name.lower():
        check_name("name", new_name)
        _check_free(session, new_name)
    _check_topup_plan(session, terms)
    for column, value in ({"name": new_name} | terms.to_columns()).items():
        setattr(plan, column, value)
    session.flush()
    return plan


def remove(session: Session, *, name: str, now: datetime) -> Plan:
    """Take a plan off the shelf. What was sold of it lives on; a plan that never was sold is deleted."""
    plan = get(session, name)
    if was_sold(session, plan):
        plan.removed_at = now
    else:
        session.delete(plan)
    session.flush()
    return plan


def was_sold(session: Session, plan: Plan) -> bool:
    """Tell whether a purchase, a batch, a billing profile or a cycle names the plan."""
    sold = exists().where(Purchase.plan_id == plan.plan_id)
    printed = exists().where(VoucherBatch.plan_id == plan.plan_id)
    recurs = exists().where(BillingProfile.plan_id == plan.plan_id)
    recurred = exists().where(BillingCycle.plan_id == plan.plan_id)
    return bool(session.scalar(select(sold | printed | recurs | recurred)))


def _on_shelf(session: Session, name: str) -> Plan | None:
    query = select(Plan).where(func.lower(Plan.name) == name.lower(), Plan.removed_at.is_(None))
    return session.scalars(query).one_or_none()


def _check_free(session: Session, name: str) -> None:
    if _on_shelf(session, name) is not None:
        raise InvalidValue("name", name, "another plan has this name")


def _check_topup_plan(session: Session, terms: PlanTerms) -> None:
    if terms.topup_plan is None:
        return
    if AccountKind.MONTHLY not in PlanTerms.of(get(session, terms.topup_plan)).kinds:
        raise InvalidValue("topup_plan", terms.topup_plan, "it is a plan sold to monthly accounts")
