"""A disk so small that a test can fill it: a tmpfs of its own, where the machine lets root mount one."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

CHUNK_OCTETS = 64 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """Where it is mounted."""

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Leave no octet."""
        with self._ballast.open("ab", buffering=0) as file:
            for octets in (b"\0" * CHUNK_OCTETS, b"\0" * 512, b"\0"):
                try:
                    while file.write(octets) == len(octets):
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(mebibytes: int) -> Iterator[SmallDisk]:
    """Mount one; skips the test where that is not allowed."""
    # Not tmp_path: the path of a unix socket must be short, and other users must reach it.
    directory = Path(tempfile.mkdtemp(prefix="herotill-disk-"))
    directory.chmod(0o711)
    path = directory / "d"
    path.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=711", "herotill-test", str(path))
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        done = subprocess.CompletedProcess(mount, 1, "", "there is no mount(8)")
    try:
        if done.returncode != 0:
            pytest.skip(f"this machine lets nobody mount a small disk: {done.stderr.strip()}")
        try:
            yield SmallDisk(path)
        finally:
            subprocess.run(("umount", "--lazy", str(path)), check=True)
    finally:
        if not path.is_mount():
            shutil.rmtree(directory)
