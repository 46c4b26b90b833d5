"""Random factories, and postures of the robot in them, for training images.

Everything comes from the project's own factory format and scene builder, so that what is learnt is what a simulated
episode shows; what varies more than an episode does are the looks: textures, colours, lights and things that are no
totes. Looks come from a `Look`, of which two share neither hues of totes nor families of textures: one to train on, one
to be kept apart.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import mujoco
import numpy as np
from shapely.geometry import Point, Polygon

from humanoid_control.inverse_kinematics import IkOptions, IkTargets, IkTasks, InverseKinematics
from humanoid_control.mission.factory import Conveyor, Factory, Rack, Station, Table, Tote, rectangle, tote_footprint
from humanoid_control.mission.load_carriers import LOAD_CARRIERS, LoadCarrier
from humanoid_control.mission.placement import fits_on
from humanoid_control.robot_model import ARM_JOINTS, RobotModel
from humanoid_control.simulation.collision_groups import VISUAL, assign
from humanoid_control.simulation.episode import ClutterItem, Episode
from humanoid_control.simulation.scene import add_factory, robot_with_errors
from humanoid_control.transforms import planar, rotation_x, rotation_y, rotation_z, to_pose, transform

TEXTURES, TEXTURE_SIZE = 10, 64
MATERIALS = 20
LAMPS = 2  # besides the factory's sun
DISTRACTORS = 6
WALLS = 4
MAIN = "main"  # the station in front of the robot
HELD = "held"  # the tote that hands hold, where they do
CAMERA_POSITION_ERROR, CAMERA_ANGLE_ERROR = 0.01, 0.035  # m, rad; half-widths of mounting errors
FIELD_OF_VIEW_SPREAD = 0.08  # share by which fields of view vary: the networks shall not rely on one focal length


@dataclass(frozen=True)
class Look:
    """Which looks are drawn from.

    Attributes:
        name: for data cards.
        hues: intervals (lowest, highest) from 0 to 1 of the hues of totes.
        textures: names of the families of textures.
    """

    name: str
    hues: tuple[tuple[float, float], ...]
    textures: tuple[str, ...]


TRAINING = Look("training", ((0.0, 0.44), (0.52, 0.80), (0.88, 1.0)), ("speckle", "stripes", "checker", "blobs", "gradient"))
HELD_OUT = Look("held_out", ((0.44, 0.52), (0.80, 0.88)), ("rings", "bricks", "weave"))
LOOKS = {look.name: look for look in (TRAINING, HELD_OUT)}


@dataclass(frozen=True)
class Scene:
    """One compiled scene.

    Attributes:
        episode: what the factory part was built from.
        model: with the robot.
    """

    episode: Episode
    model: mujoco.MjModel


# --- the factory --------------------------------------------------------------------------------------------------


def draw_scene(robot_spec: mujoco.MjSpec, rng: np.random.Generator, look: Look) -> Scene:
    """A factory around a robot at the origin of `map` that heads along +x, with everything drawn at random.

    Args:
        robot_spec: the robot.
        rng: draws.
        look: which looks are drawn from.
    """
    factory = _draw_factory(rng, look)
    episode = Episode(
        seed=int(rng.integers(2**31)), factory=factory, friction=0.8, joint_friction=None, delay_ms=0.0, sensor_noise=0.0,
        light=float(rng.uniform(0.5, 1.4)), camera_position_error=CAMERA_POSITION_ERROR, camera_angle_error=CAMERA_ANGLE_ERROR,
        station_colours={station.name: _any_colour(rng) for station in factory.stations}, floor_colour=_any_colour(rng),
        clutter=_draw_clutter(rng, factory),
    )  # fmt: skip
    spec = robot_with_errors(robot_spec, episode)
    add_factory(spec, episode)
    add_materials(spec, rng)
    _add_things(spec, rng)
    model = spec.compile()
    fill_textures(model, rng, look)
    paint(model, rng, look, factory)
    return Scene(episode, model)


def _draw_factory(rng: np.random.Generator, look: Look) -> Factory:
    stations = [_draw_station(rng, MAIN, _pose_ahead)]
    taken = [stations[0].footprint.buffer(0.1), Point(0, 0).buffer(0.45)]
    for index in range(rng.integers(0, 4)):
        station = _draw_station(rng, f"other{index}", _pose_around)
        if not any(station.footprint.intersects(area) for area in taken):
            stations.append(station)
            taken.append(station.footprint.buffer(0.05))
    totes: list[dict] = []
    for station in stations:
        for shelf in range(len(station.surfaces)):
            totes += _draw_totes(rng, look, station, shelf, len(totes))
    if not any(tote["station"] == MAIN for tote in totes if "station" in tote):
        totes += _draw_totes(rng, look, stations[0], 0, len(totes), at_least=1)
    people = [{"name": f"person{i}", "path": _path(rng), "speed": 0.5} for i in range(rng.integers(0, 3))]
    zones = [{"name": "zone0", "kind": str(rng.choice(["keep_out", "slow"])),
              "polygon": tuple((float(x), float(y)) for x, y in _square(rng))}] if rng.random() < 0.3 else []  # fmt: skip
    return Factory.model_validate({
        "version": 1, "name": "training", "floor": {"size": (16.0, 16.0), "friction": 0.9},
        "light": {"ambient": float(rng.uniform(0.12, 0.6)), "diffuse": float(rng.uniform(0.15, 0.9)),
                  "direction": (*rng.uniform(-1.2, 1.2, 2).tolist(), -1.0)},
        "robot": {"start": (0.0, 0.0, 0.0)}, "stations": tuple(s.model_dump() for s in stations), "totes": tuple(totes),
        "zones": tuple(zones), "people": tuple(people), "orders": (),
    })  # fmt: skip


def _draw_station(rng: np.random.Generator, name: str, place) -> Station:
    kind = str(rng.choice(["table", "rack", "conveyor"], p=[0.45, 0.3, 0.25]))
    size = float(rng.uniform(0.35, 0.8)), float(rng.uniform(0.6, 2.0))
    data = {"name": name, "kind": kind, "size": size, "pose": place(rng, size)}
    if kind == "rack":
        shelves = [float(rng.uniform(0.40, 0.65))]
        while len(shelves) < 4 and rng.random() < 0.8:
            shelves.append(shelves[-1] + float(rng.uniform(0.30, 0.55)))
        data["shelves"] = tuple(shelves)
    else:
        data["height"] = float(rng.uniform(0.40, 1.0))
    if kind == "conveyor":
        data["speed"] = float(rng.choice([0.0, 0.1]))
    return {"table": Table, "rack": Rack, "conveyor": Conveyor}[kind].model_validate(data)


def _pose_ahead(rng: np.random.Generator, size: tuple[float, float]) -> tuple[float, float, float]:
    yaw = float(rng.normal(0.0, 0.15))
    edge = 0.25  # the robot backs off from there, posture by posture
    return edge + size[0] / 2, float(rng.uniform(-0.4, 0.4)) * max(size[1] / 2, 0.3), yaw


def _pose_around(rng: np.random.Generator, size: tuple[float, float]) -> tuple[float, float, float]:
    distance, bearing = rng.uniform(0.9, 3.2), rng.uniform(-math.pi, math.pi)
    yaw = bearing + (rng.normal(0.0, 0.3) if rng.random() < 0.6 else rng.uniform(-math.pi, math.pi))
    return float(distance * math.cos(bearing)), float(distance * math.sin(bearing)), float(math.remainder(yaw, 2 * math.pi))


def _path(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    start = rng.uniform(0.9, 3.5) * np.array([math.cos(b := rng.normal(0.0, 0.9)), math.sin(b)])
    end = start + rng.normal(0.0, 0.8, 2) + 0.05
    return tuple(map(tuple, np.array([start, end]).tolist()))


def _square(rng: np.random.Generator) -> np.ndarray:
    return np.array(rectangle((*rng.uniform(-2.0, 2.0, 2), rng.uniform(0, 3)), rng.uniform(0.5, 2.0, 2)).exterior.coords)[:-1]


def _draw_totes(
    rng: np.random.Generator, look: Look, station: Station, shelf: int, first: int, *, at_least: int = 0
) -> list[dict]:
    """Totes apart from each other, most of them as a robot at the front would have them, some stacked."""
    most = 4 if station.name == MAIN else 3
    totes: list[dict] = []
    taken: list[Polygon] = []
    for _ in range(max(at_least, int(rng.integers(0, most + 1)))):
        kind = str(rng.choice(list(LOAD_CARRIERS)))
        carrier = LOAD_CARRIERS[kind]
        for _ in range(8):
            at = _draw_place(rng, station)
            footprint = tote_footprint(carrier, at)
            if fits_on(station, carrier, at) and not any(footprint.distance(other) < 0.004 for other in taken):
                break
        else:
            continue
        taken.append(footprint)
        colour = tote_colour(rng, look)
        name = f"tote{first + len(totes)}"
        mass = carrier.empty_mass + float(rng.choice([0.0, rng.uniform(0.1, 8.0)], p=[0.35, 0.65]))
        totes.append(
            {"name": name, "kind": kind, "station": station.name, "shelf": shelf, "at": at, "mass": mass, "colour": colour}
        )
        for _ in range(2):
            if rng.random() > 0.22:
                break
            above = f"tote{first + len(totes)}"
            colour = colour if rng.random() < 0.5 else tote_colour(rng, look)
            totes.append({"name": above, "kind": kind, "on": name, "mass": carrier.empty_mass, "colour": colour})
            name = above
    return totes


def _draw_place(rng: np.random.Generator, station: Station) -> tuple[float, float, float]:
    half_x, half_y = station.size[0] / 2, station.size[1] / 2
    yaw = rng.normal(0.0, 0.15) if rng.random() < 0.6 else rng.uniform(-math.pi, math.pi)
    if rng.random() < 0.15:
        yaw = math.pi / 2 + rng.normal(0.0, 0.1)
    x = rng.uniform(-half_x, half_x) if rng.random() < 0.4 else -half_x + rng.uniform(0.10, 0.35)
    return float(x), float(rng.uniform(-half_y, half_y)), float(yaw)


def _draw_clutter(rng: np.random.Generator, factory: Factory) -> tuple[ClutterItem, ...]:
    """Boxes and cylinders on surfaces, where no tote stands, and on the floor; some as big as a tote."""
    items = []
    for _ in range(rng.integers(0, 16)):
        big = rng.random() < 0.3
        size = rng.uniform((0.1, 0.15, 0.04), (0.35, 0.45, 0.25)) if big else rng.uniform(0.02, 0.14, 3)
        shape = str(rng.choice(["box", "cylinder"]))
        if shape == "cylinder":
            size[:2] = min(size[0], 0.2)
        yaw = float(rng.uniform(-math.pi, math.pi))
        if rng.random() < 0.75:
            station = factory.stations[int(rng.integers(len(factory.stations)))]
            shelf = int(rng.integers(len(station.surfaces)))
            at = (*(rng.uniform(-0.5, 0.5, 2) * station.size), yaw)
            footprint = rectangle(at, size[:2])
            on_it = [t for t in factory.totes if t.on is None and t.station == station.name and (t.shelf or 0) == shelf]
            if any(footprint.intersects(tote_footprint(t.carrier, t.at)) for t in on_it):
                continue
            x, y, yaw = station.in_map(at)
            z = station.surface_height(shelf)
        else:
            x, y, z = *rng.uniform(-3.0, 3.0, 2), 0.0
            if math.hypot(x, y) < 0.5:
                continue
        items.append(ClutterItem(shape, (float(x), float(y), float(z)), yaw, tuple(size.tolist()), _any_colour(rng)))
    return tuple(items)


# --- looks --------------------------------------------------------------------------------------------------------


def _any_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform() ** 1.5, rng.uniform(0.08, 1.0))


def tote_colour(rng: np.random.Generator, look: Look) -> tuple[float, float, float]:
    """Red, green, blue of a tote: mostly vivid, some grey, black or white."""
    if rng.random() < 0.12:
        grey = rng.uniform(0.05, 0.9)
        return tuple(float(np.clip(grey + e, 0.0, 1.0)) for e in rng.normal(0.0, 0.02, 3))
    low, high = look.hues[rng.choice(len(look.hues), p=np.ptp(look.hues, axis=1) / np.ptp(look.hues, axis=1).sum())]
    return colorsys.hsv_to_rgb(rng.uniform(low, high), rng.uniform(0.35, 1.0), rng.uniform(0.2, 1.0))


def add_materials(spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
    """Adds what `paint` paints with: textures, which `fill_textures` fills once the scene is compiled, materials, and lamps."""
    for index in range(TEXTURES):
        flat = index < TEXTURES // 2
        spec.add_texture(
            name=f"texture{index}", type=mujoco.mjtTexture.mjTEXTURE_2D if flat else mujoco.mjtTexture.mjTEXTURE_CUBE,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT, width=TEXTURE_SIZE, height=TEXTURE_SIZE * (1 if flat else 6),
        )  # fmt: skip
    for index in range(MATERIALS):
        material = spec.add_material(
            name=f"material{index}", texuniform=bool(rng.random() < 0.7), texrepeat=rng.uniform(0.5, 6.0, 2),
            specular=float(rng.uniform(0.0, 0.8)), shininess=float(rng.uniform(0.0, 0.9)),
        )  # fmt: skip
        if index < 2 * TEXTURES:
            textures = list(material.textures)
            textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"texture{index % TEXTURES}"
            material.textures = textures
    for index in range(LAMPS):
        spec.worldbody.add_light(
            name=f"lamp{index}", type=mujoco.mjtLightType.mjLIGHT_SPOT, cutoff=float(rng.uniform(35, 85)),
            pos=[*rng.uniform(-1.5, 2.5, 2), rng.uniform(1.6, 4.0)], dir=[*rng.uniform(-0.7, 0.7, 2), -1.0],
            diffuse=rng.uniform(0.1, 0.7) * _tint(rng), specular=[float(rng.uniform(0.0, 0.4))] * 3,
            castshadow=bool(rng.random() < 0.5), active=bool(rng.random() < 0.5),
        )  # fmt: skip


def _add_things(spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
    """Adds walls, and things that are no totes."""
    for index in range(WALLS):
        if rng.random() < 0.6:
            bearing, distance = index * math.pi / 2 + rng.normal(0.0, 0.2), rng.uniform(2.2, 7.0)
            position = distance * math.cos(bearing), distance * math.sin(bearing), 1.5
            _add_visual(spec, f"wall{index}", mujoco.mjtGeom.mjGEOM_BOX, position, (0.05, 6.0, 1.5), bearing)
    shapes = (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_SPHERE,
              mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_ELLIPSOID)  # fmt: skip
    for index in range(rng.integers(0, DISTRACTORS + 1)):
        position = (rng.uniform(0.3, 2.5), rng.uniform(-1.2, 1.2), rng.uniform(0.1, 1.6))
        if rng.random() < 0.5:
            _add_tray(spec, rng, index, position)
        else:
            _add_visual(spec, f"distractor{index}", shapes[rng.integers(len(shapes))], position, rng.uniform(0.02, 0.2, 3),
                        rng.uniform(-3, 3))  # fmt: skip


def _add_tray(spec: mujoco.MjSpec, rng: np.random.Generator, index: int, position) -> None:
    """An open box of no tote's proportions: flat trays, tall bins and long troughs are no totes."""
    half = 0.5 * np.array({0: (0.30, 0.40, 0.05), 1: (0.25, 0.25, 0.40), 2: (0.15, 0.60, 0.12)}[int(rng.integers(3))])
    half *= rng.uniform(0.85, 1.15, 3)
    yaw, wall = rng.uniform(-3, 3), 0.004
    x, y, z = half
    for part, (centre, size) in enumerate([((0, 0, -z), (x, y, wall)), ((x, 0, 0), (wall, y, z)), ((-x, 0, 0), (wall, y, z)),
                                           ((0, y, 0), (x, wall, z)), ((0, -y, 0), (x, wall, z))]):  # fmt: skip
        turned = rotation_z(yaw) @ np.array(centre)
        _add_visual(spec, f"distractor{index}/{part}", mujoco.mjtGeom.mjGEOM_BOX, turned + position, size, yaw)


def _add_visual(spec: mujoco.MjSpec, name: str, kind, position, size, yaw: float) -> None:
    geom = spec.worldbody.add_geom(name=name, type=kind, pos=position, size=size,
                                   quat=[math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)])  # fmt: skip
    assign(geom, VISUAL)


def _tint(rng: np.random.Generator) -> np.ndarray:
    return np.clip(1.0 + rng.normal(0.0, 0.12, 3), 0.6, 1.4)


def fill_textures(model: mujoco.MjModel, rng: np.random.Generator, look: Look) -> None:
    """Draws the textures of `add_materials` in a compiled scene."""
    for index in range(model.ntex):
        if not model.texture(index).name.startswith("texture"):
            continue
        height, width, channels = int(model.tex_height[index]), int(model.tex_width[index]), int(model.tex_nchannel[index])
        start = int(model.tex_adr[index])
        square = draw_texture(rng, str(rng.choice(look.textures)), width)
        model.tex_data[start : start + height * width * channels] = np.tile(square, (height // width, 1, 1)).ravel()


def draw_texture(rng: np.random.Generator, family: str, size: int) -> np.ndarray:
    """(size, size, 3) uint8 of a family of textures, in two colours more or less apart."""
    y, x = np.mgrid[0:size, 0:size] / size
    pitch = int(rng.integers(2, 12))
    angle = rng.uniform(0, math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    if family == "speckle":
        mix = rng.random((size, size)) < rng.uniform(0.02, 0.5)
    elif family == "stripes":
        mix = (along * pitch) % 1.0 < rng.uniform(0.2, 0.8)
    elif family == "checker":
        mix = ((x * pitch).astype(int) + (y * pitch).astype(int)) % 2
    elif family == "blobs":
        cells = rng.random((pitch + 1, pitch + 1))
        i, j = (x * pitch).astype(int), (y * pitch).astype(int)
        fx, fy = x * pitch - i, y * pitch - j
        mix = (1 - fy) * ((1 - fx) * cells[j, i] + fx * cells[j, i + 1]) + fy * (
            (1 - fx) * cells[j + 1, i] + fx * cells[j + 1, i + 1]
        )
    elif family == "gradient":
        mix = 0.5 + 0.5 * np.sin(2 * math.pi * along)
    elif family == "rings":
        mix = (np.hypot(x - 0.5, y - 0.5) * pitch) % 1.0
    elif family == "bricks":
        row = (y * pitch).astype(int)
        mix = (((y * pitch) % 1.0) < 0.12) | (((x * pitch / 2 + 0.5 * (row % 2)) % 1.0) < 0.06)
    elif family == "weave":
        mix = 0.5 + 0.25 * np.sin(2 * math.pi * pitch * x) + 0.25 * np.sin(2 * math.pi * pitch * y)
    else:
        raise ValueError(f"no texture family '{family}'")
    first = np.array(_any_colour(rng))
    second = np.array(_any_colour(rng)) if rng.random() < 0.5 else np.clip(first + rng.normal(0.0, 0.2, 3), 0.0, 1.0)
    mix = np.asarray(mix, float)[:, :, None]
    picture = (1 - mix) * first + mix * second + rng.normal(0.0, rng.choice([0.0, 0.03]), (size, size, 1))
    return (255 * np.clip(picture, 0.0, 1.0)).astype(np.uint8)


def paint(model: mujoco.MjModel, rng: np.random.Generator, look: Look, factory: Factory) -> None:
    """Gives everything in a compiled scene new colours, materials and light."""
    bodies = {name: model.body(name).id for name in (tote.name for tote in factory.totes)}
    robot_root = model.body_rootid[model.body("base_link").id]
    of_tote = {body: name for name, body in bodies.items()}
    robot_tint = rng.uniform(0.6, 1.3, 3) if rng.random() < 0.4 else None
    shell = {name: int(rng.integers(MATERIALS)) if rng.random() < 0.12 else None for name in bodies}
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        if body in of_tote:
            name = model.geom(geom).name
            if name and shell[of_tote[body]] is not None:
                model.geom_matid[geom] = shell[of_tote[body]]
            elif not name:  # label and load
                if rng.random() < 0.5:
                    _repaint(model, rng, geom, textured=0.2)
                if rng.random() < 0.15:
                    model.geom_rgba[geom, 3] = 0.0
            continue
        if model.body_rootid[body] == robot_root:
            if robot_tint is not None:
                model.geom_rgba[geom, :3] = np.clip(model.geom_rgba[geom, :3] * robot_tint + 0.01, 0.0, 1.0)
            continue
        if model.geom_rgba[geom, 3] > 0.0 and rng.random() < 0.75:
            _repaint(model, rng, geom, textured=0.5)
    _light(model, rng)


def _repaint(model: mujoco.MjModel, rng: np.random.Generator, geom: int, *, textured: float) -> None:
    if rng.random() < textured:
        model.geom_matid[geom] = rng.integers(model.nmat)
        model.geom_rgba[geom, :3] = rng.uniform(0.5, 1.0, 3)
    else:
        model.geom_matid[geom] = -1
        model.geom_rgba[geom, :3] = _any_colour(rng)


def _light(model: mujoco.MjModel, rng: np.random.Generator) -> None:
    tint = _tint(rng)
    model.vis.headlight.ambient[:] = np.clip(model.vis.headlight.ambient * tint, 0.0, 1.0)
    model.vis.headlight.diffuse[:] = rng.choice([0.15, 0.5, 0.0]) * rng.uniform(0.2, 1.0)
    model.light_diffuse[:] *= np.clip(tint, 0.6, 1.4)
    model.light_specular[:] = rng.uniform(0.0, 0.5)


# --- the robot ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Posture:
    """Where the robot is and how it stands.

    Attributes:
        configuration: (36,) base position in `map`, quaternion xyzw, joints in rad.
        openings: (2,) m between the pads.
        held: name of the tote in its hands, if any, and `map_from_tote` (4, 4).
    """

    configuration: np.ndarray
    openings: np.ndarray
    held: tuple[str, np.ndarray] | None


class PostureSampler:
    """Draws postures of a robot at work: walking up, bending, reaching for a tote, holding one.

    Args:
        model: the robot.
    """

    def __init__(self, model: RobotModel) -> None:
        weights = np.array([[6.0, 6, 6, 3, 3, 3]] * 2 + [[60.0] * 6] * 2 + [[0, 0, 0, 2, 4, 2], [1.0, 1, 40, 1, 1, 1]])
        tasks = IkTasks(frame_weights=weights, required=np.zeros(6, bool), com_weights=np.array([5.0, 5, 0]), com_required=False,
                        posture_weights=np.full(29, 0.15))  # fmt: skip
        self._model = model
        self._ik = InverseKinematics(model, tasks, IkOptions(error_damping=1e-2, safe_distance=0.004, influence_distance=0.03))
        self._posture = _working_posture(model)

    def draw(self, rng: np.random.Generator, factory: Factory) -> Posture:
        """A posture before the main station of a factory.

        Args:
            rng: draws.
            factory: from `draw_scene`.
        """
        back = rng.choice([rng.uniform(0.0, 0.12), rng.uniform(0.0, 1.3)])
        map_from_footprint = planar(-back, rng.normal(0.0, 0.15), rng.normal(0.0, 0.12 + 0.15 * back))
        height = float(rng.choice([rng.uniform(0.56, 0.74), rng.uniform(0.68, 0.74)]))
        pitch = float(rng.choice([rng.normal(0.05, 0.05), rng.uniform(0.0, 0.9)]))
        footprint_from_map = np.linalg.inv(map_from_footprint)
        totes = [t for t in factory.totes if factory.tote_station(t.name).name == MAIN]
        places = {t.name: footprint_from_map @ _map_from_tote(factory, t) for t in factory.totes}
        near = [t for t in totes if np.hypot(*places[t.name][:2, 3]) < 0.75 and abs(places[t.name][1, 3]) < 0.35]
        draw = rng.random()
        held = None
        if draw < 0.16 and totes:
            tote = totes[int(rng.integers(len(totes)))]
            pose = planar(rng.uniform(0.30, 0.46), rng.normal(0.0, 0.02), rng.normal(0.0, 0.06), rng.uniform(0.55, 0.95))
            pose[:3, :3] = pose[:3, :3] @ rotation_x(rng.normal(0, 0.02)) @ rotation_y(rng.normal(0, 0.03))
            held = (tote.name, map_from_footprint @ pose)
            hands = [_hand(rng, pose, tote.carrier, side, spread=0.0) for side in (0, 1)]
        elif draw < 0.62 and near:
            tote = near[int(rng.integers(len(near)))]
            spread = float(rng.choice([0.0, 0.4, 1.0]))
            hands = [_hand(rng, places[tote.name], tote.carrier, side, spread=spread) for side in (0, 1)]
            if rng.random() < 0.25:
                hands[int(rng.integers(2))] = None
        else:
            hands = [None, None]
        configuration = self._solve(rng, height, pitch, hands)
        configuration[:3] = map_from_footprint[:3, :3] @ configuration[:3] + map_from_footprint[:3, 3]
        turned = map_from_footprint[:3, :3] @ _rotation(configuration[3:7])
        configuration[3:7] = to_pose(transform(turned, np.zeros(3)))[3:]
        return Posture(configuration, rng.uniform(0.01, 0.06, 2), held)

    def _solve(self, rng: np.random.Generator, height: float, pitch: float, hands: list[np.ndarray | None]) -> np.ndarray:
        poses = np.zeros((6, 7))
        poses[:, 6] = 1.0
        for side in (0, 1):
            if hands[side] is not None:
                poses[side] = to_pose(hands[side])
            lift = max(rng.normal(-0.05, 0.04), 0.0)  # a step now and then
            poses[2 + side] = to_pose(transform(np.eye(3), np.array([0.035 + 2 * lift, 0.11 * (1 - 2 * side), lift])))
        poses[4] = to_pose(transform(rotation_x(rng.normal(0.0, 0.02)) @ rotation_y(pitch), np.zeros(3)))
        poses[5] = to_pose(transform(rotation_y(0.5 * pitch), np.array([0.0, 0.0, height])))
        posture = self._posture.copy()
        posture[ARM_JOINTS] += rng.normal(0.0, rng.choice([0.05, 0.35]), 14)
        posture = np.clip(posture, self._model.position_lower + 0.01, self._model.position_upper - 0.01)
        start = np.concatenate([[-0.03, 0.0, height, 0.0, 0.0, 0.0, 1.0], posture])
        active = np.array([hand is not None for hand in hands] + [True] * 4)
        targets = IkTargets(poses, np.array([0.035, 0.0, 0.6]), posture, active=active)
        return self._ik.solve(start, targets, max_iterations=40).configuration


def _working_posture(model: RobotModel) -> np.ndarray:
    by_name = {"hip_pitch": -0.35, "knee": 0.70, "ankle_pitch": -0.35, "shoulder_pitch": 0.15, "elbow": 0.80}
    posture = np.zeros(29)
    for index, name in enumerate(model.joint_names):
        posture[index] += sum(angle for part, angle in by_name.items() if part in name)
        if "shoulder_roll" in name:
            posture[index] = 0.22 if name.startswith("left") else -0.22
    return posture


def _map_from_tote(factory: Factory, tote: Tote) -> np.ndarray:
    x, y, z, yaw = factory.tote_pose(tote.name)
    return planar(x, y, yaw, z)


def _hand(rng: np.random.Generator, pose: np.ndarray, carrier: LoadCarrier, side: int, *, spread: float) -> np.ndarray:
    """(4, 4) of a hand at a tote's grip, or up to `spread` times a hand's length off it, whichever way the tote is turned."""
    pose = pose if pose[0, 0] >= 0 else pose @ transform(rotation_z(math.pi), np.zeros(3))
    sign = 1.0 - 2.0 * side
    offset = spread * rng.uniform((-0.25, -0.02, -0.06), (0.03, 0.14, 0.14))
    position = np.array([-0.018 + offset[0], sign * (carrier.length / 2 + 0.011 + offset[1]), carrier.grip_height + offset[2]])
    turn = rotation_z(-sign * (math.radians(40) + rng.normal(0.0, 0.06 + 0.25 * spread)))
    roll = rotation_x(sign * (math.pi / 2 + rng.normal(0.0, 0.05 + 0.35 * spread)))
    tilt = rotation_y(rng.normal(0.0, 0.03 + 0.2 * spread))
    return pose @ transform(turn @ roll @ tilt, position)


def _rotation(quaternion: np.ndarray) -> np.ndarray:
    x, y, z, w = quaternion
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.array([w, x, y, z]))
    return matrix.reshape(3, 3)
