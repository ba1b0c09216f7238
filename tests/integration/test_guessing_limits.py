"""Rule R10 at a real FreeRADIUS: whoever has guessed too often is refused the right code too, and is told to wait."""

from concurrent.futures import ThreadPoolExecutor

from rlm_herotill.guessing import DEVICE_FAILURES
from sync_daemon.settings import Settings
from tests.integration.freeradius import Freeradius
from tests.integration.isp import PASSWORD, Isp
from tests.integration.radclient import Reply, ask


def test_r10_a_device_that_guesses_is_made_to_wait_and_others_are_not(
    radius_server: Freeradius, settings: Settings, nas_secret: str
) -> None:
    isp = Isp(settings)
    isp.offer("p", quota_octets=1_000_000)
    isp.enrol("ann")
    isp.sell("p", "ann")

    def log_in(name: str, password: str, device: str) -> Reply:
        pairs = [f'User-Name = "{name}"', f'User-Password = "{password}"', f'Calling-Station-Id = "{device}"']
        return ask(
            "auth", radius_server.auth_port, [*pairs, "Message-Authenticator = 0x00"], secret=nas_secret
        )

    guesses = [
        ("ann", "wrong") if number % 2 else (f"CODE{number}", "x") for number in range(DEVICE_FAILURES)
    ]
    with ThreadPoolExecutor(DEVICE_FAILURES) as pool:  # FreeRADIUS delays each refusal by a second
        said = set(pool.map(lambda guess: log_in(guess[0], guess[1], "thief").get("Reply-Message"), guesses))
    assert said == {"User name or password is wrong."}
    for name, password in (("ann", PASSWORD), ("CODE1", "x")):
        refused = log_in(name, password, "thief")
        assert (refused.code, refused.get("Reply-Message")) == (
            "Access-Reject",
            "Too many wrong attempts. Please wait five minutes and try again.",
        )
    assert log_in("ann", PASSWORD, "phone").code == "Access-Accept"
