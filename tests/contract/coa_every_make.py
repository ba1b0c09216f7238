"""Everything the shipped dialects can ask of a NAS: each way to name a session, and all that a CoA may change at once."""

from collections.abc import Iterator

from herotill.dialect import Dialect, as_attributes, dialects, render_live
from herotill.reply import Reply
from sync_daemon.coa.packets import Action, AttributeValue
from sync_daemon.coa.profiles import ways_to_name

SESSION: dict[str, AttributeValue] = {
    "User-Name": "student-1",
    "Acct-Session-Id": "8100001a",
    "Acct-Multi-Session-Id": "8100001a-1",
    "Calling-Station-Id": "AA-BB-CC-DD-EE-FF",
    "Called-Station-Id": "hotspot-1",
    "Framed-IP-Address": "10.5.50.2",
    "Framed-IPv6-Prefix": "2001:db8:5::/64",
    "NAS-IP-Address": "192.0.2.1",
    "NAS-Identifier": "switch-1",
    "NAS-Port-Id": "1/1/5",
    "Service-Type": "Framed-User",
}
EVERYTHING = Reply(
    session_timeout_seconds=3600,
    idle_timeout_seconds=600,
    interim_interval_seconds=900,
    limit_total_octets=(5 << 32) + 7,
    limit_input_octets=(1 << 32) + 7,
    limit_output_octets=(4 << 32) + 7,
    download_bits_per_second=2_000_000,
    upload_bits_per_second=1_000_000,
    address_pool="restricted",
    address_list="throttled",
    download_burst_bits_per_second=4_000_000,
    upload_burst_bits_per_second=2_000_000,
    burst_seconds=30,
    redirect_url="https://example.com/pay",
)


def every_request() -> Iterator[tuple[Dialect, Action, dict[str, AttributeValue]]]:
    """Yield every request there is: whose dialect, what is asked, with which attributes."""
    for dialect in dialects().values():
        changes = as_attributes(render_live(dialect, EVERYTHING))
        for action in Action:
            for way in ways_to_name(dialect.nas_types[0], SESSION, action):
                said = changes if action is Action.COA else {}
                yield dialect, action, {**way.attributes, **said}
