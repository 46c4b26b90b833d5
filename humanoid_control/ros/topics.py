"""Every topic, service and action: one table that publishers, subscribers, recorder, supervisor and documents read.

Names are relative, so that a robot can be put in a namespace, except where ROS itself wants them absolute.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

CAMERAS = ("head_camera", "head_forward_camera", "left_wrist_camera", "right_wrist_camera")

# Services and actions; their types are in humanoid_interfaces and std_srvs.
CARRY_OUT_ORDER = "carry_out_order"  # action humanoid_interfaces/action/CarryOutOrder
CHECK_ORDER = "check_order"  # service humanoid_interfaces/srv/CheckOrder
STOP = "stop"  # service humanoid_interfaces/srv/Stop
RESUME = "resume"  # service std_srvs/srv/Trigger: control starts anew after a stop
START_EPISODE = "start_episode"  # service humanoid_interfaces/srv/StartEpisode
END_EPISODE = "end_episode"  # service humanoid_interfaces/srv/EndEpisode
TAKE_OVER = "take_over"  # service std_srvs/srv/Trigger: the operator drives from now on
HAND_BACK = "hand_back"  # service std_srvs/srv/Trigger: the operator drives no more
CONFIRM_FLOOR = "confirm_floor"  # service std_srvs/srv/Trigger: hands are free, totes are where they were


@dataclass(frozen=True)
class Topic:
    """One row of the table.

    Attributes:
        name: relative to the robot's namespace, or absolute.
        type_name: of its messages, such as `sensor_msgs/msg/Imu`.
        qos: a key of `qos.PROFILES`.
        rate_hz: how often a message is expected; None: now and then.
        timeout_s: after how long without a message it counts as dead; None: never.
        is_recorded: whether an episode's record holds it.
        description: what it carries.
    """

    name: str
    type_name: str
    qos: str
    rate_hz: float | None
    timeout_s: float | None
    is_recorded: bool
    description: str

    def message_class(self) -> type:
        """The Python class of its messages."""
        package, kind, name = self.type_name.split("/")
        return getattr(importlib.import_module(f"{package}.{kind}"), name)


def _camera_topics(camera: str) -> tuple[Topic, ...]:
    return (
        Topic(f"{camera}/image_raw", "sensor_msgs/msg/Image", "sensor", 15.0, 1.0, False, "colour image, rgb8"),
        Topic(
            f"{camera}/image_raw/compressed",
            "sensor_msgs/msg/CompressedImage",
            "sensor",
            15.0,
            1.0,
            True,
            "the same as JPEG; made for who subscribes only",
        ),
        Topic(f"{camera}/camera_info", "sensor_msgs/msg/CameraInfo", "sensor", 15.0, 1.0, True, "its intrinsics"),
        Topic(
            f"{camera}/depth/image_raw",
            "sensor_msgs/msg/Image",
            "sensor",
            None,
            None,
            False,
            "depth along the optical axis, m, 32FC1; simulation only",
        ),
    )


# fmt: off
ROBOT_STATE = Topic("robot_state", "humanoid_interfaces/msg/RobotState", "lossless", 250.0, 0.1, True,
                    "all that the robot measured at one instant")
BASE_ESTIMATE = Topic("base_estimate", "humanoid_interfaces/msg/BaseEstimate", "lossless", 250.0, 0.1, True,
                      "where the robot believes it is, with covariance")
JOINT_COMMAND = Topic("joint_command", "humanoid_interfaces/msg/JointCommand", "lossless", 250.0, 0.1, True,
                      "what the motors were told, as really sent")
WHOLE_BODY_TARGET = Topic("whole_body_target", "humanoid_interfaces/msg/WholeBodyTarget", "latest", 50.0, 0.2, True,
                          "what the policy wants of the whole body")
CONTROL_STATUS = Topic("control_status", "humanoid_interfaces/msg/ControlStatus", "state", 50.0, 0.5, True,
                       "what control is doing, and why it holds or stopped")
POLICY_STATUS = Topic("policy_status", "humanoid_interfaces/msg/PolicyStatus", "state", 10.0, 1.0, True,
                      "what the policy believes and intends")
JOINT_STATES = Topic("joint_states", "sensor_msgs/msg/JointState", "state", 50.0, 0.5, False,
                     "joints as stock tools want them")
IMU = Topic("imu", "sensor_msgs/msg/Imu", "sensor", 50.0, 0.5, False, "the pelvis IMU as stock tools want it")
ODOM = Topic("odom", "nav_msgs/msg/Odometry", "state", 50.0, 0.5, False, "the estimate as stock tools want it")
TF = Topic("/tf", "tf2_msgs/msg/TFMessage", "transform", 50.0, 0.5, False, "moving frames")
TF_STATIC = Topic("/tf_static", "tf2_msgs/msg/TFMessage", "static_transform", None, None, True,
                  "frames that never move")
ROBOT_DESCRIPTION = Topic("robot_description", "std_msgs/msg/String", "latched", None, None, True, "the URDF")
CLOCK = Topic("/clock", "rosgraph_msgs/msg/Clock", "clock", 250.0, 1.0, False, "simulated time; simulation only")
DIAGNOSTICS = Topic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", "state", 1.0, 3.0, True,
                    "the health of every node, with reasons")
CURRENT_ORDER = Topic("current_order", "humanoid_interfaces/msg/Order", "state", 10.0, 2.0, True,
                      "the order the mission wants carried out, again and again; without tote: none")
SIMULATION_STATE = Topic("simulation/state", "humanoid_interfaces/msg/SimulationState", "state", 50.0, 0.5, True,
                         "the true state of everything; privileged, simulation only")
SIMULATION_VERDICT = Topic("simulation/verdict", "humanoid_interfaces/msg/Verdict", "state", None, None, True,
                           "how the judge saw an order end; privileged, simulation only")
RECORDER_STATUS = Topic("recorder_status", "humanoid_interfaces/msg/RecorderStatus", "state", 2.0, 2.0, False,
                        "what the recorder does")
DETECTIONS = Topic("detections", "vision_msgs/msg/Detection3DArray", "state", None, None, True,
                   "poses of totes and stations with covariances")

JOY = Topic("joy", "sensor_msgs/msg/Joy", "latest", 50.0, 0.1, True, "the operator's gamepad, as the package joy publishes it")
OPERATOR_HANDS = tuple(
    Topic(f"operator/{side}_hand", "geometry_msgs/msg/PoseStamped", "latest", 50.0, 0.1, True,
          "the operator's hand by any tracker: x ahead of the operator, y to the left, z up")
    for side in ("left", "right"))
OPERATOR_TARGET = Topic("operator/target", "humanoid_interfaces/msg/WholeBodyTarget", "latest", 50.0, 0.1, True,
                        "what a person wants of the whole body, for the policy's node to pass on while they drive")
OPERATOR_STATUS = Topic("operator/status", "humanoid_interfaces/msg/PolicyStatus", "state", 10.0, 1.0, True,
                        "whether a person drives (outcome: running, handed_back, or neither yet; stamp: since when), and what hinders them")

DRAWN = {camera: Topic(f"detections/{camera}", "sensor_msgs/msg/Image", "sensor", None, None, False,
                       "the newest image with what is known drawn in, for people; made for who subscribes only")
         for camera in CAMERAS}

TOPICS: tuple[Topic, ...] = (
    ROBOT_STATE, BASE_ESTIMATE, JOINT_COMMAND, WHOLE_BODY_TARGET, CONTROL_STATUS, POLICY_STATUS, JOINT_STATES, IMU,
    ODOM, TF, TF_STATIC, ROBOT_DESCRIPTION, CLOCK, DIAGNOSTICS, CURRENT_ORDER, SIMULATION_STATE, SIMULATION_VERDICT,
    RECORDER_STATUS, DETECTIONS, JOY, *OPERATOR_HANDS, OPERATOR_TARGET, OPERATOR_STATUS,
    *(topic for camera in CAMERAS for topic in _camera_topics(camera)), *DRAWN.values(),
)
# fmt: on


def camera_topics(camera: str) -> dict[str, Topic]:
    """The topics of one camera, by the last part that tells them apart: image_raw, image_raw/compressed, camera_info,
    depth/image_raw."""
    return {topic.name.removeprefix(f"{camera}/"): topic for topic in TOPICS if topic.name.startswith(f"{camera}/")}
