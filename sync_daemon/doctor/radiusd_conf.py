"""What a raddb's files say, judged: threads, BlastRADIUS (CVE-2024-3596), dictionary. Pure: texts in, findings out."""

import re
from collections.abc import Iterator, Mapping

from sync_daemon.doctor.findings import Finding, advice, good, unknown, wrong
from sync_daemon.freeradius_install_render import INCLUDE_DICTIONARY

Version = tuple[int, int, int]
MITIGATED_FROM = (3, 2, 5)
"""The first release that knows `require_message_authenticator` and `limit_proxy_state` in its section security."""
LEAST_MAX_REQUESTS = 131_072
_THREAD_ITEMS = ("start_servers", "max_servers", "max_spare_servers")
_CLIENTS = re.compile(r"FreeRADIUS-Client-Require-MA\s*:?=\s*(\w+)")


def parse_items(text: str) -> dict[str, str]:
    """Return `section.item` → value of a configuration file; comments and includes are passed over.

    Of an item that is said twice the first counts, as in FreeRADIUS.
    """
    items: dict[str, str] = {}
    path: list[str] = []
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        if line.endswith("{"):
            path.append(line[:-1].strip())
        elif line == "}":
            path = path[:-1]
        elif "=" in line:
            name, value = line.split("=", 1)
            items.setdefault(".".join([*path, name.strip()]), value.strip().strip('"'))
    return items


def judge_speed(text: str) -> Iterator[Finding]:
    """Compare the thread pool and max_requests with what freeradius_config/radiusd.conf advises, and why."""
    items = parse_items(text)
    others = {name: items.get(f"thread pool.{name}", "its default") for name in _THREAD_ITEMS}
    if all(value == "1" for value in others.values()):
        yield good("threads", "one thread, which is fastest")
    else:
        said = ", ".join(f"{name} = {value}" for name, value in others.items())
        yield advice(
            "threads",
            f"thread pool has {said}; threads that take turns at Python answer half as many logins as one",
            "in radiusd.conf, thread pool: start_servers = 1, max_servers = 1, max_spare_servers = 1 "
            "(more only where EAP with TLS is most of the work)",
        )
    yield _judge_max_requests(items.get("max_requests", "16384"))


def _judge_max_requests(value: str) -> Finding:
    if value.isdigit() and int(value) >= LEAST_MAX_REQUESTS:
        return good("max_requests", f"max_requests = {value}")
    return advice(
        "max_requests",
        f"max_requests = {value}: answered requests are kept for cleanup_delay, so this bounds the logins a second",
        f"in radiusd.conf: max_requests = {LEAST_MAX_REQUESTS}",
    )


def requires_signature(clients_site: str | None) -> bool | None:
    """Whether Access-Requests without Message-Authenticator are dropped; None where the site does not say."""
    found = _CLIENTS.search(clients_site or "")
    return None if found is None else found[1].lower() in ("yes", "1")


def judge_blast_radius(
    radiusd_conf: str | None, clients_site: str | None, version: Version
) -> Iterator[Finding]:
    """Judge the settings against forged answers; None is a file that cannot be read or is not there."""
    topic = "Message-Authenticator"
    required = requires_signature(clients_site)
    if required is None:
        yield unknown(
            topic,
            "sites-enabled/herotill_clients does not say whether it is required",
            "herotill freeradius install",
        )
    elif required:
        yield good(topic, "Access-Requests without it are dropped")
    else:
        yield wrong(
            topic,
            "Access-Requests without it are answered, so answers can be forged (CVE-2024-3596)",
            "herotill freeradius install --require-message-authenticator, when every router sends it: see unsigned routers",
        )
    if radiusd_conf is not None:
        yield from _judge_security(parse_items(radiusd_conf), version)


def _judge_security(items: Mapping[str, str], version: Version) -> Iterator[Finding]:
    topic = "limit_proxy_state"
    name = ".".join(map(str, version))
    if version < MITIGATED_FROM:
        yield advice(
            "BlastRADIUS",
            f"FreeRADIUS {name} has no limit_proxy_state; unsigned requests are dropped and answers signed anyway",
            "upgrade to 3.2.5 to 3.2.8, or 3.2.11 and later, when your distribution has it",
        )
        return
    value = items.get("security.limit_proxy_state", "its default, auto")
    if value == "yes" or value.startswith("its default"):
        yield good(topic, f"limit_proxy_state is {value}")
    else:
        yield wrong(
            topic, f"limit_proxy_state = {value}", "in radiusd.conf, security: limit_proxy_state = yes"
        )


def judge_dictionary(main: str, ours: bytes | None, wanted: bytes) -> Finding:
    """Judge whether FreeRADIUS knows the attributes our dialects send."""
    topic, mend = "dictionary", "herotill freeradius install"
    if INCLUDE_DICTIONARY not in (line.strip() for line in main.splitlines()):
        return wrong(
            topic, f"raddb/dictionary lacks {INCLUDE_DICTIONARY}: limits for CoovaChilli are not sent", mend
        )
    if ours is None:
        return wrong(topic, "raddb/dictionary.herotill is not there", mend)
    if ours != wanted:
        return wrong(topic, "raddb/dictionary.herotill is of another version", mend)
    return good(topic, "FreeRADIUS knows the attributes we send")


def judge_module(text: str, expected: Mapping[str, str]) -> Iterator[Finding]:
    """Compare what FreeRADIUS was given with the settings; values may be secrets and are not repeated."""
    items = parse_items(text)
    differing = [
        name for name, value in expected.items() if items.get(f"python3 herotill.config.{name}") != value
    ]
    if differing:
        yield wrong(
            "module",
            f"FreeRADIUS was given other values than herotill.yaml has: {', '.join(differing)}",
            "herotill freeradius install, then systemctl restart freeradius",
        )
    else:
        yield good("module", "FreeRADIUS has the values of herotill.yaml")
