"""Which OpenGL draws without a screen. To be settled before MuJoCo is imported, which reads `MUJOCO_GL` but once."""

from __future__ import annotations

import ctypes.util
import os

REMEDY = "install it with: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri (or libosmesa6 and MUJOCO_GL=osmesa)"
DISABLED = "disabled"


def select_gl_backend() -> str:
    """Returns `egl`, `osmesa` or `disabled`, by what is installed, and tells MuJoCo unless the user has.

    Without OpenGL everything but cameras works.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if not chosen:
        if ctypes.util.find_library("EGL"):
            chosen = "egl"
        elif ctypes.util.find_library("OSMesa"):
            chosen = "osmesa"
        else:
            chosen = DISABLED
        os.environ["MUJOCO_GL"] = chosen
    return chosen
