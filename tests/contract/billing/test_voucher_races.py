"""A code is sold at most once, whoever sells, ends or uses it at the same time on eight connections."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import access_events, voucher_endings, vouchers
from billing.new_batches import CodeType, SellWhen
from billing.voucher_endings import VoucherEnd
from billing.vouchers import Sold
from herotill.errors import Refused
from tests.contract.billing.code_makers import add_plan, make
from tests.contract.billing.conftest import Ask, OpenBooks

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CODES = 3
wishes = st.tuples(
    st.sampled_from(["sell", "sell batch", "use", "void", "void batch"]), st.integers(0, CODES - 1)
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.lists(wishes, max_size=3), min_size=8, max_size=8), sell=st.sampled_from(SellWhen))
def test_r8_a_code_is_sold_at_most_once_under_any_interleaving(
    books: OpenBooks, ask: Ask, plan: list[list[tuple[str, int]]], sell: SellWhen
) -> None:
    # Given a batch of its own for each example, and eight connections that do with it what they like
    name = f"plan-{ask('SELECT count(*) FROM billing.plan')[0]['count']}"
    add_plan(books, NOW, name)
    batch_id, cards = make(books, NOW, CodeType.TICKET, CODES, plan=name, sell=sell)
    codes = [card.code for card in cards]
    failures: list[Exception] = []

    def work(own: list[tuple[str, int]]) -> None:
        for wish, index in own:
            try:
                _do(books, ask, wish, (batch_id, codes[index]))
            except Refused:
                pass
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(own,)) for own in plan]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    # Then what was sold was sold once, and the ledger has exactly that
    sold = ask(
        "SELECT voucher_id FROM billing.voucher_event JOIN billing.voucher USING (voucher_id)"
        " WHERE to_state = 'sold' AND batch_id = :batch",
        batch=batch_id,
    )
    purchases = ask("SELECT price_minor FROM billing.purchase WHERE plan_name = :name", name=name)
    assert len(sold) == len({row["voucher_id"] for row in sold}) == len(purchases)
    booked = ask(
        """SELECT coalesce(sum(amount_minor), 0)::bigint AS minor
           FROM billing.ledger_posting JOIN billing.ledger_transaction USING (transaction_id)
           WHERE ledger_account = 'sales' AND description LIKE '%of ' || :name || ', batch%'""",
        name=name,
    )
    assert booked == [{"minor": 2000 * len(purchases)}]


def _do(books: OpenBooks, ask: Ask, wish: str, target: tuple[int, str]) -> None:
    batch_id, code = target
    void = VoucherEnd("void", "desk", "race")

    def sell() -> None:
        with books() as session:
            vouchers.sell(session, code=code, now=NOW, sold_by="desk")

    def sell_batch() -> None:
        with books() as session:
            vouchers.sell_batch(session, vouchers.get_batch(session, batch_id), Sold(NOW, "desk", "sold"))

    def use() -> None:
        ask(
            """SELECT radius.start_first_use(username, entitlement_id, now()) FROM radius.entitlement
               WHERE username = :code AND ended_at IS NULL""",
            code=code,
        )
        with books() as session:
            access_events.book_access_events(session, NOW)

    def end() -> None:
        with books() as session:
            voucher_endings.end_these(session, [vouchers.get(session, code)], void, NOW)

    def end_batch() -> None:
        with books() as session:
            ids = voucher_endings.living_ids(session, batch_id)
            voucher_endings.end_vouchers(session, ids, void, NOW)

    deeds: dict[str, Callable[[], None]] = {
        "sell": sell,
        "sell batch": sell_batch,
        "use": use,
        "void": end,
        "void batch": end_batch,
    }
    deeds[wish]()
