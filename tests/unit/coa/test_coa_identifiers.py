"""Identifiers rest after use (RFC 5176 §6.3)."""

from hypothesis import given
from hypothesis import strategies as st

from sync_daemon.coa.identifiers import IDENTIFIERS_PER_PORT, IdentifierPool

REST_SECONDS = 300.0


def test_there_are_256_and_then_none() -> None:
    pool = IdentifierPool(REST_SECONDS)
    assert [pool.claim(0.0) for _ in range(257)] == [*range(256), None]
    assert pool.next_free_at() is None


def test_an_identifier_is_free_again_exactly_when_it_has_rested() -> None:
    pool = IdentifierPool(REST_SECONDS)
    for _ in range(IDENTIFIERS_PER_PORT):
        pool.claim(0.0)
    pool.release(7, 10.0)
    assert pool.next_free_at() == 310.0
    assert pool.claim(309.9) is None
    assert pool.claim(310.0) == 7
    assert pool.claim(310.0) is None


def test_one_that_was_never_transmitted_needs_no_rest() -> None:
    pool = IdentifierPool(REST_SECONDS)
    for _ in range(IDENTIFIERS_PER_PORT):
        pool.claim(0.0)
    pool.release(1, 0.0)
    pool.give_back(2)
    assert pool.claim(0.0) == 2


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.booleans()), max_size=700))
def test_no_identifier_is_ever_given_out_within_its_rest(steps: list[tuple[float, bool]]) -> None:
    pool, now = IdentifierPool(REST_SECONDS), 0.0
    in_flight: list[int] = []
    released_at: dict[int, float] = {}
    for seconds, is_release in steps:
        now += seconds
        if is_release and in_flight:
            identifier = in_flight.pop(0)
            pool.release(identifier, now)
            released_at[identifier] = now
            continue
        claimed = pool.claim(now)
        if claimed is not None:
            assert claimed not in in_flight
            assert now - released_at.get(claimed, -REST_SECONDS) >= REST_SECONDS
            in_flight.append(claimed)
