"""Draws a small image without a screen, as a process of its own: `python -m humanoid_control.gl_self_test`."""

from __future__ import annotations

import sys
import time

from humanoid_control.simulation.gl_backend import DISABLED, select_gl_backend

_SCENE = """<mujoco><worldbody><light pos="0 0 3"/>
<geom type="box" size="0.3 0.3 0.3" rgba="1 0 0 1"/><camera name="above" pos="0 0 2"/></worldbody></mujoco>"""


def main() -> int:
    """Prints what drew the image and how long it took; 1 when the image does not show what it must."""
    backend = select_gl_backend()
    if backend == DISABLED:
        print("no OpenGL library is found, or MUJOCO_GL says disabled", file=sys.stderr)
        return 1
    import mujoco

    began = time.monotonic()
    try:
        model = mujoco.MjModel.from_xml_string(_SCENE)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        with mujoco.Renderer(model, height=48, width=64) as renderer:
            renderer.update_scene(data, "above")
            red, green, blue = (int(value) for value in renderer.render()[24, 32])
    except Exception as error:  # OpenGL fails in as many ways as there are drivers
        print(f"{backend}: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if not red > 2 * max(green, blue, 1):
        print(f"{backend}: a red box came out as {red}, {green}, {blue}", file=sys.stderr)
        return 1
    print(f"{backend}, first image after {time.monotonic() - began:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
