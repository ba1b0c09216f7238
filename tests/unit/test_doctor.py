"""What the examination makes of what it sees; nothing of the machine is asked."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from herotill.nas import NasDirectory
from sync_daemon.doctor.findings import Finding, Health, is_anything_wrong, wrong
from sync_daemon.doctor.machine import file_system_of, judge_space, judge_unit
from sync_daemon.doctor.radiusd_conf import (
    judge_blast_radius,
    judge_dictionary,
    judge_module,
    judge_speed,
    parse_items,
)
from sync_daemon.doctor.signatures import judge_signatures
from sync_daemon.nas_evidence import Signatures

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NASES = NasDirectory([("10.0.0.0/24", "tower", "mikrotik", "hidden-secret")])
CONF = """
max_requests = {max_requests}  # as advised
security {{
    limit_proxy_state = {limit_proxy_state}
}}
thread pool {{
    start_servers = {threads}
    max_servers = {threads}
    # max_servers = 99
    max_spare_servers = {threads}
}}
"""
CLIENTS = "update control {{\n &FreeRADIUS-Client-Require-MA := {}\n}}"


def conf(max_requests: int = 131_072, threads: int = 1, limit_proxy_state: str = "yes") -> str:
    return CONF.format(max_requests=max_requests, threads=threads, limit_proxy_state=limit_proxy_state)


def healths(findings: list[Finding]) -> list[Health]:
    return [finding.health for finding in findings]


def test_items_are_named_by_their_section_and_comments_are_passed_over() -> None:
    items = parse_items('a = 1\n# a = 2\nx {\n  y {\n    a = "3" # three\n  }\n  b = 4\n}\na = 5\n')
    assert items == {"a": "1", "x.y.a": "3", "x.b": "4"}


def test_advised_threads_and_max_requests_are_good() -> None:
    assert healths(list(judge_speed(conf()))) == [Health.GOOD, Health.GOOD]


@pytest.mark.parametrize("text", [conf(max_requests=16_384, threads=32), ""])
def test_other_threads_and_max_requests_are_advised_against_and_nothing_is_broken(text: str) -> None:
    findings = list(judge_speed(text))
    assert healths(findings) == [Health.ADVICE, Health.ADVICE]
    assert "max_servers = 1" in findings[0].mend
    assert "max_requests = 131072" in findings[1].mend
    assert not is_anything_wrong(findings)


@pytest.mark.parametrize(
    ("required", "limit", "version", "expected"),
    [
        ("yes", "yes", (3, 2, 7), [Health.GOOD, Health.GOOD]),
        ("no", "yes", (3, 2, 7), [Health.WRONG, Health.GOOD]),
        ("yes", "no", (3, 2, 7), [Health.GOOD, Health.WRONG]),
        ("yes", "no", (3, 2, 1), [Health.GOOD, Health.ADVICE]),  # it does not know the setting
    ],
)
def test_forged_answers_are_guarded_against(
    required: str, limit: str, version: tuple[int, int, int], expected: list[Health]
) -> None:
    findings = list(judge_blast_radius(conf(limit_proxy_state=limit), CLIENTS.format(required), version))
    assert healths(findings) == expected


def test_a_site_that_says_nothing_is_not_taken_for_safe() -> None:
    assert healths(list(judge_blast_radius(None, None, (3, 2, 7)))) == [Health.UNKNOWN]


@pytest.mark.parametrize(
    ("main", "ours", "health"),
    [
        ("$INCLUDE dictionary.herotill\n", b"x", Health.GOOD),
        ("$INCLUDE dictionary.herotill\n", b"y", Health.WRONG),
        ("$INCLUDE dictionary.herotill\n", None, Health.WRONG),
        ("# $INCLUDE dictionary.herotill\n", b"x", Health.WRONG),
    ],
)
def test_the_dictionary_must_be_there_included_and_ours(
    main: str, ours: bytes | None, health: Health
) -> None:
    assert judge_dictionary(main, ours, b"x").health is health


def test_r36_what_differs_is_named_and_no_secret_is_repeated() -> None:
    text = 'python3 herotill {\n config {\n  node = "a"\n  class_secret = "c0ffee"\n }\n}\n'
    (finding,) = judge_module(text, {"node": "a", "class_secret": "decaf"})
    assert finding.health is Health.WRONG
    assert "class_secret" in finding.sentence
    assert not {"c0ffee", "decaf"} & set(finding.sentence.split())


def test_a_disk_that_is_nearly_full_is_wrong_and_one_that_will_be_is_said() -> None:
    journal = Path("/journal")
    assert judge_space(journal, 100 * 1024**2, 10**6).health is Health.WRONG
    assert judge_space(journal, 1024**3, 10**6).health is Health.ADVICE
    assert judge_space(journal, 10 * 1024**3, 10**6).health is Health.GOOD
    assert judge_space(journal, 10 * 1024**3, 12).health is Health.WRONG
    assert judge_space(journal, 10 * 1024**3, 0).health is Health.GOOD  # btrfs counts none


def test_the_mount_nearest_to_a_path_says_its_file_system(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path.resolve()} nfs4 rw 0 0\n")
    assert file_system_of(tmp_path / "journal", mounts) == "nfs4"
    assert file_system_of(Path("/"), mounts) == "ext4"


@pytest.mark.parametrize(
    ("active", "enabled", "health"),
    [
        ("active", "enabled", Health.GOOD),
        ("active", "disabled", Health.ADVICE),
        ("failed", "enabled", Health.WRONG),
        ("inactive", "not installed", Health.WRONG),
    ],
)
def test_a_unit_runs_and_starts_with_the_machine(active: str, enabled: str, health: Health) -> None:
    assert judge_unit("herotill", active, enabled).health is health


def test_every_wrong_finding_fails_the_examination() -> None:
    assert is_anything_wrong([wrong("a", "b", "c")])


def signed(address: str, unsigned: int = 0, hours_ago: int = 0) -> Signatures:
    return Signatures(address, 20, unsigned, NOW, NOW - timedelta(hours=hours_ago) if unsigned else None)


def test_r33_the_routers_that_do_not_sign_are_named_before_signatures_are_required() -> None:
    seen = (signed("10.0.0.1", 7), signed("192.0.2.1", 3), signed("10.0.0.2"))
    finding = judge_signatures(seen, NASES)
    assert finding.health is Health.WRONG
    assert finding.sentence.endswith("ask tower (10.0.0.1), 7 of 20 logins; 192.0.2.1, 3 of 20 logins")
    assert "nas test" in finding.mend
    many = judge_signatures([signed(f"10.0.0.{number}", 1) for number in range(1, 13)], NASES)
    assert many.sentence.endswith("tower (10.0.0.10), 1 of 20 logins; and 2 others")


def test_r33_who_has_signed_for_a_day_is_not_named_and_who_was_not_heard_is_not_praised() -> None:
    assert judge_signatures((signed("10.0.0.1", 7, hours_ago=24),), NASES).health is Health.GOOD
    assert judge_signatures((signed("10.0.0.1", 7, hours_ago=23),), NASES).health is Health.WRONG
    assert judge_signatures((), NASES).health is Health.UNKNOWN
