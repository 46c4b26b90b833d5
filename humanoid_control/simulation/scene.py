"""The scene of an episode in MuJoCo: floor, stations, totes, people and, where given, the robot."""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np

from humanoid_control.errors import SimulationError
from humanoid_control.mission.factory import Conveyor, Zone
from humanoid_control.simulation.collision_groups import CLUTTER, FLOOR, VISUAL, assign
from humanoid_control.simulation.episode import Episode
from humanoid_control.simulation.load_carriers import add_tote
from humanoid_control.simulation.people import HIP, WalkingPath, add_person, person_bodies
from humanoid_control.simulation.stations import add_station, belt_body_name, station_body_name
from humanoid_control.simulation.tags import add_factory_tags

TIMESTEP = 0.002
SETTLING_HEIGHT = 2e-4  # m above its surface at which a tote starts
PEOPLE_PERIOD = 0.04  # s between moves of people: they walk 4 cm in it
ROBOT_ROOT = "pelvis"
ZONE_COLOURS = {"keep_out": (0.85, 0.15, 0.12, 1.0), "slow": (0.95, 0.75, 0.10, 1.0)}
LINE_WIDTH = 0.06
TOTE_QPOS = 7
NET_FORCE = 3  # MuJoCo's code for a contact sensor that sums all contacts
NEAR_PLANE, FAR_PLANE = 0.02, 60.0  # m, between which cameras see


def build_scene(episode: Episode, robot_spec: mujoco.MjSpec | None = None, *, tags: bool = False) -> mujoco.MjModel:
    """Returns the compiled model of an episode's factory, with the robot's bodies where `robot_spec` is given.

    The robot's names stay as they are; the factory's bodies are called after what they are in the file. The robot is
    placed by whoever owns its joints; totes, belts and people by `FactoryWorld.reset`.

    Args:
        episode: as drawn.
        robot_spec: its floating body tree contains the body `pelvis`; it is copied, not changed.
        tags: totes and stations carry AprilTags.

    Raises:
        SimulationError: MuJoCo refuses the scene.
        FactoryError: there are not enough tags for it.
    """
    spec = mujoco.MjSpec() if robot_spec is None else robot_with_errors(robot_spec, episode)
    add_factory(spec, episode)
    if tags:
        add_factory_tags(spec, episode.factory)
    if robot_spec is not None:
        _add_force_sensors(spec, episode)
    try:
        return spec.compile()
    except ValueError as error:
        raise SimulationError(f"the scene of {episode.factory.name} cannot be built: {error}") from error


def robot_with_errors(robot_spec: mujoco.MjSpec, episode: Episode) -> mujoco.MjSpec:
    """Returns a copy of the robot with the episode's joint friction and camera mounting errors.

    Raises:
        SimulationError: the robot has no body `pelvis`.
    """
    robot = robot_spec.copy()
    if all(body.name != ROBOT_ROOT for body in robot.bodies):
        raise SimulationError(f"the robot has no body '{ROBOT_ROOT}'")
    if episode.joint_friction is not None:
        hinges = [joint for joint in robot.joints if joint.type == mujoco.mjtJoint.mjJNT_HINGE]
        if len(hinges) == len(episode.joint_friction):
            for joint, friction in zip(hinges, episode.joint_friction):
                joint.frictionloss = friction
    for camera in robot.cameras:
        offset = episode.camera_error(camera.name)
        camera.pos = np.asarray(camera.pos) + _rotated(camera.quat, offset[:3])
        camera.quat = _multiplied(camera.quat, _quat_of(offset[3:]))
    return robot


def add_factory(spec: mujoco.MjSpec, episode: Episode) -> None:
    """Adds all but the robot to `spec`, and sets the physics and rendering options."""
    factory = episode.factory
    spec.modelname = factory.name
    _set_options(spec, factory.floor.size)
    _add_floor_and_light(spec, episode)
    for zone in factory.zones:
        _add_zone(spec, zone)
    for station in factory.stations:
        add_station(spec, station, colour=episode.station_colours[station.name], friction=episode.friction)
    for tote in factory.totes:
        body = add_tote(
            spec, tote.name, carrier=tote.carrier, mass=tote.mass, colour=tote.colour, friction=episode.friction
        )
        x, y, z, yaw = factory.tote_pose(tote.name)
        body.pos, body.quat = [x, y, z + SETTLING_HEIGHT], [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
    for person in factory.people:
        add_person(spec, person)
    for index, item in enumerate(episode.clutter):
        x, y, z = item.position
        is_box = item.shape == "box"
        geom = spec.worldbody.add_geom(
            name=f"clutter/{index}",
            type=mujoco.mjtGeom.mjGEOM_BOX if is_box else mujoco.mjtGeom.mjGEOM_CYLINDER,
            pos=[x, y, z + item.size[2] / 2],
            quat=[np.cos(item.yaw / 2), 0, 0, np.sin(item.yaw / 2)],
            size=np.array(item.size) / 2 if is_box else [item.size[0] / 2, item.size[2] / 2, 0],
            rgba=(*item.colour, 1.0),
        )
        assign(geom, CLUTTER)


def force_sensor_name(target: str) -> str:
    """Returns the name of the sensor of the robot's force on a tote or a station."""
    return f"{target}/force"


def _add_force_sensors(spec: mujoco.MjSpec, episode: Episode) -> None:
    """The sum of all forces of the robot, (3,) N in `map`, on each tote and each station; privileged."""
    totes = [(tote.name, tote.name) for tote in episode.factory.totes]
    stations = [(station.name, station_body_name(station.name)) for station in episode.factory.stations]
    for target, body in totes + stations:
        sensor = spec.add_sensor(name=force_sensor_name(target), type=mujoco.mjtSensor.mjSENS_CONTACT)
        sensor.objtype, sensor.objname = mujoco.mjtObj.mjOBJ_XBODY, ROBOT_ROOT  # a body and all that hangs on it
        sensor.reftype, sensor.refname = mujoco.mjtObj.mjOBJ_XBODY, body
        sensor.intprm[:3] = 1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE), NET_FORCE, 1


def _set_options(spec: mujoco.MjSpec, floor_size: tuple[float, ...]) -> None:
    option = spec.option
    option.timestep = TIMESTEP
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # Pyramidal cones let a gripped tote creep out of the fingers, and plain Euler squirts it out.
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    # With 100 a gripped tote slips as little (a millimetre on its way), and a step with it takes twice as long.
    option.impratio = 3.0
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    # Fewer line-search iterations end steps early, and totes at rest begin to rattle (seen with 20).
    option.iterations = 50
    option.ls_iterations = 50
    option.tolerance = 1e-8
    option.jacobian = mujoco.mjtJacobian.mjJAC_SPARSE  # a step with a gripped tote takes two thirds of the time
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1920, 1080
    spec.visual.quality.offsamples = 0  # four times faster without a graphics card; the pretty mode asks for more
    spec.visual.quality.shadowsize = 2048
    # MuJoCo measures clipping planes and the lit area in extents: all of the floor, its corners too.
    extent = 0.5 * float(np.hypot(*floor_size)) + 0.5
    spec.stat.extent, spec.stat.center = extent, [0.0, 0.0, 0.5]
    spec.visual.map.shadowclip = 1.5  # with less, the corner nearest to the light is speckled
    spec.visual.map.znear, spec.visual.map.zfar = NEAR_PLANE / extent, FAR_PLANE / extent
    spec.visual.headlight.ambient = [0.0, 0.0, 0.0]
    spec.visual.headlight.diffuse = [0.0, 0.0, 0.0]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]


def _add_floor_and_light(spec: mujoco.MjSpec, episode: Episode) -> None:
    factory, light = episode.factory, episode.factory.light
    ambient = min(1.0, light.ambient * episode.light)
    diffuse = min(1.0, light.diffuse * episode.light)
    direction = np.array(light.direction) / np.linalg.norm(light.direction)
    spec.visual.headlight.ambient = [ambient] * 3
    spec.visual.headlight.diffuse = [0.15 * diffuse] * 3
    reach = max(factory.floor.size)
    spec.worldbody.add_light(
        name="sun",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=-1.5 * reach * direction,
        dir=direction,
        ambient=[0.0] * 3,
        diffuse=[0.95 * diffuse] * 3,
        specular=[0.1] * 3,
        castshadow=True,
    )
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.62, 0.70, 0.78],
        rgb2=[0.34, 0.40, 0.47],
        width=64,
        height=384,
    )
    colour = np.array(episode.floor_colour)
    spec.add_texture(
        name="floor",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        mark=mujoco.mjtMark.mjMARK_EDGE,
        rgb1=colour,
        rgb2=np.clip(0.96 * colour, 0, 1),
        markrgb=0.85 * colour,
        width=256,
        height=256,
    )
    material = spec.add_material(name="floor", texrepeat=[0.5, 0.5], texuniform=True, reflectance=0.0, specular=0.1)
    textures = list(material.textures)
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor"
    material.textures = textures
    floor = spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[factory.floor.size[0] / 2, factory.floor.size[1] / 2, 0.05],
        material="floor",
    )
    assign(floor, FLOOR)
    floor.friction, floor.condim, floor.priority = [factory.floor.friction, 0.01, 0.0001], 3, 1


def _add_zone(spec: mujoco.MjSpec, zone: Zone) -> None:
    """A painted line along the zone's edges."""
    corners = np.array(zone.polygon, float)
    for index, (start, end) in enumerate(zip(corners, np.roll(corners, -1, axis=0))):
        length = float(np.linalg.norm(end - start))
        if length < 1e-6:
            continue
        yaw = np.arctan2(*(end - start)[::-1])
        geom = spec.worldbody.add_geom(
            name=f"{zone.name}/line{index}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[*((start + end) / 2), 0.001],
            quat=[np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)],
            size=[(length + LINE_WIDTH) / 2, LINE_WIDTH / 2, 0.001],
            rgba=ZONE_COLOURS[zone.kind],
        )
        assign(geom, VISUAL)


# --- quaternions, wxyz as MuJoCo has them -------------------------------------------------------------------------


def _quat_of(rotation_vector: np.ndarray) -> np.ndarray:
    quat = np.empty(4)
    angle = np.linalg.norm(rotation_vector)
    axis = rotation_vector / angle if angle > 1e-12 else np.array([1.0, 0.0, 0.0])
    mujoco.mju_axisAngle2Quat(quat, axis, angle)
    return quat


def _multiplied(first: Iterable[float], second: Iterable[float]) -> np.ndarray:
    product = np.empty(4)
    mujoco.mju_mulQuat(product, np.asarray(first, float), np.asarray(second, float))
    return product


def _rotated(quat: Iterable[float], vector: np.ndarray) -> np.ndarray:
    turned = np.empty(3)
    mujoco.mju_rotVecQuat(turned, np.asarray(vector, float), np.asarray(quat, float))
    return turned


# --- the running scene --------------------------------------------------------------------------------------------


class FactoryWorld:
    """The factory's part of a running simulation: moves belts and people, and knows true poses.

    Poses from here are privileged: no policy that runs on the robot may see them.

    Args:
        model: from `build_scene`.
        episode: the episode it was built from.
    """

    def __init__(self, model: mujoco.MjModel, episode: Episode) -> None:
        self.model = model
        self.episode = episode
        self.factory = episode.factory
        self.tote_bodies = {tote.name: model.body(tote.name).id for tote in self.factory.totes}
        self._tote_qpos = {
            name: int(model.jnt_qposadr[model.body_jntadr[body]]) for name, body in self.tote_bodies.items()
        }
        self._tote_qvel = {
            name: int(model.jnt_dofadr[model.body_jntadr[body]]) for name, body in self.tote_bodies.items()
        }
        running = [s for s in self.factory.stations if isinstance(s, Conveyor) and s.speed > 0]
        joints = [model.joint(belt_body_name(station.name)).id for station in running]
        self._belts = [(int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint]), station.speed)
                       for joint, station in zip(joints, running)]  # fmt: skip
        self._people = [
            (WalkingPath(person), [int(model.body(body).mocapid[0]) for body in person_bodies(person.name)])
            for person in self.factory.people
        ]
        self._people_moved_s = -np.inf

    def reset(self, data: mujoco.MjData) -> None:
        """Puts totes, belts and people where the episode starts, at `data.time`; leaves the robot alone."""
        for tote in self.factory.totes:
            x, y, z, yaw = self.factory.tote_pose(tote.name)
            address = self._tote_qpos[tote.name]
            data.qpos[address : address + TOTE_QPOS] = (
                x, y, z + SETTLING_HEIGHT, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2),
            )  # fmt: skip
            velocity = self._tote_qvel[tote.name]
            data.qvel[velocity : velocity + 6] = 0.0
        self._people_moved_s = -np.inf
        self.step_actors(data, data.time)

    def step_actors(self, data: mujoco.MjData, time_s: float) -> None:
        """Keeps belts running and people walking; call before each `mj_step`."""
        for position, velocity, speed in self._belts:
            # A belt never arrives: it keeps its speed and is put back, so that only friction feels it.
            data.qpos[position] = 0.0
            data.qvel[velocity] = speed
        if self._people and not 0.0 <= time_s - self._people_moved_s < PEOPLE_PERIOD:
            self._people_moved_s = time_s
            for path, mocap_ids in self._people:
                _move_person(data, path, mocap_ids, time_s)

    def tote_pose(self, data: mujoco.MjData, name: str) -> np.ndarray:
        """Returns (4, 4) true map_from_tote."""
        return self._body_pose(data, self.tote_bodies[name])

    def tote_velocity(self, data: mujoco.MjData, name: str) -> np.ndarray:
        """Returns (6,) true linear velocity in `map`, m/s, and angular velocity in the tote's frame, rad/s."""
        address = self._tote_qvel[name]
        return data.qvel[address : address + 6].copy()

    def station_pose(self, name: str) -> np.ndarray:
        """Returns (4, 4) true map_from_station, on the floor."""
        return self.factory.station(name).map_from_station

    def person_position(self, name: str, time_s: float) -> np.ndarray:
        """Returns (2,) true position in `map` of a person."""
        for person, (path, _) in zip(self.factory.people, self._people):
            if person.name == name:
                return np.array(path.pose_at(time_s)[:2])
        raise KeyError(name)

    @staticmethod
    def _body_pose(data: mujoco.MjData, body: int) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, :3] = data.xmat[body].reshape(3, 3)
        pose[:3, 3] = data.xpos[body]
        return pose


def _move_person(data: mujoco.MjData, path: WalkingPath, mocap_ids: list[int], time_s: float) -> None:
    x, y, yaw = path.pose_at(time_s)
    heading = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
    trunk, *legs = mocap_ids
    data.mocap_pos[trunk] = x, y, 0.0
    data.mocap_quat[trunk] = heading
    swing = path.leg_angle_at(time_s)
    for leg, angle in zip(legs, (-swing, swing)):  # about +y a positive turn swings a hanging leg back
        data.mocap_pos[leg] = x, y, HIP
        data.mocap_quat[leg] = _multiplied(heading, (np.cos(angle / 2), 0.0, np.sin(angle / 2), 0.0))
