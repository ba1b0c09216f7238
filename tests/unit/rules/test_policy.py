"""A policy that no NAS could obey is refused with the field's name; what is stored is read back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.errors import InvalidValue
from herotill.policy import MAX_BITS_PER_SECOND, Ending, ServicePolicy, Sharing

rates = st.none() | st.integers(1, MAX_BITS_PER_SECOND)
names = st.none() | st.sampled_from(["a", "pool of homes", "п" * 100])
policies = st.builds(
    ServicePolicy,
    sharing=st.sampled_from(Sharing),
    slice_octets=st.integers(1, 2**62),
    max_sessions=st.none() | st.integers(1, 10_000),
    download_bits_per_second=rates,
    at_quota=st.just(Ending.THROTTLE),
    at_expiry=st.sampled_from(Ending),
    throttled_download_bits_per_second=st.integers(1, 5),
    throttled_upload_bits_per_second=st.integers(1, 5),
    address_pool=names,
    restricted_pool=st.just("walled"),
    address_list=names,
    interim_interval_seconds=st.integers(60, 86_400),
)


@given(policies)
def test_r12_a_policy_is_kept_as_it_was_sold(policy: ServicePolicy) -> None:
    assert ServicePolicy.from_mapping(policy.to_mapping()) == policy


@pytest.mark.parametrize(
    ("field", "value", "needs"),
    [
        ("slice_octets", 0, {}),
        ("slice_octets", 2**62 + 1, {}),
        ("max_sessions", 0, {}),
        ("max_sessions", True, {}),
        ("max_sessions", 1.0, {}),
        ("interim_interval_seconds", 59, {}),
        ("interim_interval_seconds", 86_401, {}),
        ("idle_timeout_seconds", 2**32, {}),
        ("download_bits_per_second", 0, {}),
        ("upload_bits_per_second", MAX_BITS_PER_SECOND + 1, {}),
        ("address_pool", "", {}),
        ("address_pool", "p" * 254, {}),
        ("address_pool", "a\nb", {}),
        ("address_pool", "a\udc80", {}),
        ("address_pool", 5, {}),
        ("address_list", "l" * 248, {}),
        ("at_quota", "pool", {}),
        ("at_quota", "explode", {}),
        ("at_expiry", "throttle", {"throttled_download_bits_per_second": 1}),
        ("sharing", "none", {}),
        ("colour", "red", {}),
    ],
)
def test_what_no_nas_could_obey_is_refused_by_name(field: str, value: Any, needs: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue) as refusal:
        ServicePolicy.from_mapping({field: value} | needs)
    assert refusal.value.field == field


@pytest.mark.parametrize("text", ["phone", "02:00:00:00:00", "02:00:00:00:00:01,", ","])
def test_r6_what_is_no_device_cannot_be_bound(text: str) -> None:
    with pytest.raises(InvalidValue):
        ServicePolicy(bound_devices=text)
