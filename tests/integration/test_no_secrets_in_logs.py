"""Rule R36: whatever is logged in with, right or wrong, is in no log and not in the journal; nor are the secrets."""

import asyncio
from pathlib import Path

import pytest

from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Rejected
from sync_daemon.settings import Settings
from tests.integration.conftest import NAS_SECRET
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, until
from tests.integration.workers import Workers

GUESSED = "a guess that was wrong"


def test_r36_no_password_and_no_secret_is_in_a_log_or_the_journal(
    settings: Settings, radius_server: Freeradius, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    isp = Isp(settings)
    isp.offer("month", quota_octets=GIB)
    isp.enrol("anna")
    isp.sell("month", "anna")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            for username, password in (("anna", GUESSED), ("nobody", GUESSED)):
                assert isinstance(await nas.login(username, password), Rejected)
            session = accepted(await nas.login("anna", PASSWORD)).session
            await session.use(input_octets=1000, output_octets=10, seconds=60)
            assert (await session.stop()).answered
            await until(lambda: isp.ask("SELECT count(*)::int FROM radius.radpostauth") == [(3,)])

    asyncio.run(story())

    assert "anna" in "".join(written(settings.journal_directory).values())
    logged = written(settings.journal_directory) | written(radius_server.log_path.parent)
    logged["the daemon"] = caplog.text
    logged["radpostauth"] = str(isp.ask("SELECT * FROM radius.radpostauth"))
    logged["outcomes"] = str(isp.ask("SELECT * FROM radius.login_outcome"))
    secrets = (PASSWORD, GUESSED, NAS_SECRET, settings.class_secret)
    found = [(name, secret) for name, text in logged.items() for secret in secrets if secret in text]
    assert found == []


def written(directory: Path) -> dict[str, str]:
    """Read every file; `nas.json` holds the secrets of the NASes, for an outage, and is nobody's but FreeRADIUS's."""
    paths = [path for path in directory.rglob("*") if path.is_file() and path.name != "nas.json"]
    for kept in directory.rglob("nas.json"):
        assert kept.stat().st_mode & 0o077 == 0
    return {str(path): path.read_text(errors="replace") for path in paths}
