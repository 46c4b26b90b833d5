"""From a camera's messages to what the library takes; what cannot be used is left for `frame.FrameCheck` to name."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from humanoid_control.ros import conversions
from perception.camera_model import CameraModel
from perception.frame import ENCODING, CameraFrame

CHANNELS = 3


def frame_from_message(camera: str, message: Image) -> CameraFrame:
    """The image of a message, without copying it; one whose size is not what it says is left as a row of bytes."""
    data = np.frombuffer(message.data, np.uint8)
    height, width, step = message.height, message.width, message.step
    if message.encoding == ENCODING and len(data) == height * step and step >= CHANNELS * width:
        data = data.reshape(height, step)[:, : CHANNELS * width].reshape(height, width, CHANNELS)
    return CameraFrame(camera, conversions.time_from_message(message.header.stamp), data, message.encoding)


def frame_to_message(frame: CameraFrame) -> Image:
    """The message of an image, in the camera's optical frame."""
    height, width = frame.rgb.shape[:2]
    # Any type but array.array would be converted one byte at a time.
    return Image(header=conversions.make_header(frame.stamp_s, f"{frame.camera}_optical"), height=height, width=width,
                 encoding=frame.encoding, step=width * CHANNELS, data=array.array("B", frame.rgb.tobytes()))  # fmt: skip


def camera_from_message(camera: str, message: CameraInfo) -> CameraModel:
    """The intrinsics of a message.

    Raises:
        ConfigurationError: they are none.
    """
    return CameraModel.from_camera_info(camera, width=message.width, height=message.height, distortion_model=message.distortion_model,
                                        d=message.d, k=message.k)  # fmt: skip
