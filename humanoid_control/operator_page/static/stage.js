// What stands in the 3D view: the robot as it is now, the floor, totes, and where the hands shall go. World: odom.

import { apply, fromPose, identity, multiply, scaled, translation } from "./mat.js";

export const HAND_COLOURS = [[0.36, 0.7, 1.0], [1.0, 0.68, 0.25]]; // left, right
const GRID = [[0.13, 0.16, 0.19, 1], [0.2, 0.24, 0.29, 1]];
const ZONES = { keep_out: [0.85, 0.25, 0.22, 1], slow: [0.85, 0.7, 0.25, 1] };
const TOTE = [[0.3, 0.2, 0.15], [0.5, 0.5, 0.5]]; // of one that the floor's file does not know
const UNSEEN = 0.35; // opacity of a tote that is only told to be there
const REACH = 8; // m, of the grid

export class Stage {
  constructor(scene) {
    this.scene = scene;
    this.robot = scene.robot.map(([link, kind, size, pose, colour]) => [link, kind, scaled(fromPose(pose), size), [...colour, 1]]);
    this.floor = scene.floor.map(([kind, size, pose, colour]) => [kind, scaled(fromPose(pose), size), [...colour, 1]]);
    this.pose = null;
    this.map = identity();
  }

  show(pose) {
    this.pose = pose;
    if (pose.map) this.map = fromPose(pose.map);
    this.footprint = fromPose(pose.footprint);
  }

  // (x, y, z) in the world of each name of a station.
  labels() {
    return this.pose?.map ? this.scene.labels.map(([name, at]) => [name, apply(this.map, at)]) : [];
  }

  // world: where odom is, in what is drawn.
  draw(renderer, world = identity()) {
    if (!this.pose) return;
    const { links, totes, targets } = this.pose;
    const frames = links.map((pose) => multiply(world, fromPose(pose)));
    for (const [link, kind, matrix, colour] of this.robot) renderer.add(kind, multiply(frames[link], matrix), colour);
    if (this.pose.map) {
      const map = multiply(world, this.map);
      for (const [kind, matrix, colour] of this.floor) renderer.add(kind, multiply(map, matrix), colour);
      for (const [, kind, corners] of this.scene.zones) {
        corners.forEach(([x, y], k) => {
          const [ex, ey] = corners[(k + 1) % corners.length];
          renderer.addLine(apply(map, [x, y, 0.01]), apply(map, [ex, ey, 0.01]), ZONES[kind] ?? ZONES.slow);
        });
      }
    }
    for (const [name, pose, wasSeen] of totes) {
      const [size, colour] = this.scene.totes[name] ?? TOTE;
      const middle = multiply(fromPose(pose), translation([0, 0, size[2] / 2]));
      renderer.add("box", multiply(world, scaled(middle, size)), [...colour, wasSeen ? 1 : UNSEEN]);
    }
    (targets ?? []).forEach((pose, side) => {
      renderer.add("sphere", multiply(world, scaled(multiply(this.footprint, fromPose(pose)), [0.07, 0.07, 0.07])), [...HAND_COLOURS[side], 0.35]);
    });
    this.drawGrid(renderer, world);
  }

  drawGrid(renderer, world) {
    const [middleX, middleY] = [Math.round(this.footprint[12]), Math.round(this.footprint[13])];
    for (let k = -REACH; k <= REACH; k++) {
      const colour = GRID[+(k === 0)];
      renderer.addLine(apply(world, [middleX + k, middleY - REACH, 0]), apply(world, [middleX + k, middleY + REACH, 0]), colour);
      renderer.addLine(apply(world, [middleX - REACH, middleY + k, 0]), apply(world, [middleX + REACH, middleY + k, 0]), colour);
    }
  }
}
