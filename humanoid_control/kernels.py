"""How kernels are compiled, and where the compiled code is kept.

Numba keeps a function's compiled code until the file it stands in changes; it does not notice a change in a kernel that it
calls from another file, and would go on running the old one. So the code is kept in a folder named after the text of all
files with kernels: whatever changes there is compiled anew, everywhere.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numba

# Full fast-math assumes there are no NaN, and then NaN can no longer be tested for: only these are safe here. Even so
# `np.isfinite` of an expression is compiled away by reassociation: compare `abs(x) < np.inf` instead.
JIT = {"cache": True, "fastmath": {"reassoc", "contract", "arcp", "nsz"}, "error_model": "numpy"}

_PACKAGE = Path(__file__).parent
_FOLDERS = (_PACKAGE, _PACKAGE.parent / "perception")  # that hold kernels
_PREFIX = "kernels-"


def _fingerprint() -> str:
    """Hash of all files that define kernels, and of numba's version."""
    text = hashlib.sha256(numba.__version__.encode())
    for file in sorted(file for folder in _FOLDERS for file in folder.rglob("*.py")):
        content = file.read_bytes()
        if b"numba.njit" in content:
            text.update(content)
    return text.hexdigest()[:16]


def _cache_root() -> Path:
    """Beside the package where that can be written, else in the user's cache."""
    beside = _PACKAGE / "__pycache__"
    try:
        beside.mkdir(exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    except OSError:
        pass
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "humanoid_control"


CACHE_FOLDER = _cache_root() / (_PREFIX + _fingerprint())
if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(CACHE_FOLDER)


def forget_old_kernels() -> None:
    """Removes the compiled code of earlier versions of this package."""
    for folder in CACHE_FOLDER.parent.glob(_PREFIX + "*"):
        if folder != CACHE_FOLDER:
            shutil.rmtree(folder, ignore_errors=True)
