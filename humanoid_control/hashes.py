"""By which content is known again: of files, and of the code itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

from humanoid_control.errors import ConfigurationError

PACKAGES = ("humanoid_control", "perception", "policies")


def file_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        ConfigurationError: if it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None


def code_hash() -> str:
    """SHA-256 over the source of what runs in an episode: the three packages."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
