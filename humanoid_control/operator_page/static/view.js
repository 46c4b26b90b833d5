// The 3D view on the page: a camera that goes with the robot, and handles by which its hands are dragged.

import { Renderer } from "./gl.js";
import { add, apply, dot, fromPose, inverse, lookAt, multiply, perspective, position, quaternionAbout, quaternionMultiply, rotate, scaled } from "./mat.js";
import { HAND_COLOURS, Stage } from "./stage.js";

const GROUND = [0.02, 0.027, 0.039];
const FIELD_OF_VIEW = 0.75; // rad
const MOST_REST_MS = 500;
const ARROW = 0.2; // m
const RING = 0.13; // m
const NEAR_PX = { mouse: 14, pen: 18, touch: 30 };
const AXES = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
const AXIS_COLOURS = [[0.93, 0.35, 0.33, 1], [0.33, 0.8, 0.47, 1], [0.4, 0.6, 1, 1]];

export class View {
  // dragged: [left, right] is set while a hand is dragged; mayDrag() tells whether it may be.
  constructor(canvas, labels, dragged, mayDrag) {
    [this.canvas, this.labels, this.dragged, this.mayDrag] = [canvas, labels, dragged, mayDrag];
    this.renderer = new Renderer(canvas);
    this.stage = null;
    this.orbit = { yaw: Math.PI - 0.6, pitch: 0.38, distance: 3.2 };
    this.pointers = new Map();
    this.selected = null;
    this.drag = null;
    canvas.addEventListener("pointerdown", (event) => this.pointerDown(event));
    canvas.addEventListener("pointermove", (event) => this.pointerMove(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, (event) => this.pointerUp(event));
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(event.deltaY * 0.001)); }, { passive: false });
    this.isPaused = false; // while a headset draws
    this.isStale = true; // what is drawn is not what is known
    new ResizeObserver(() => { this.isStale = true; }).observe(canvas);
    let [drawnMs, restMs] = [null, 0]; // half of the time is left to all else: a slow machine shall drive well
    const frame = (now) => {
      if (drawnMs !== null) [drawnMs, restMs] = [null, now + Math.min(now - drawnMs, MOST_REST_MS)];
      if (!this.isPaused && this.isStale && now >= restMs) {
        this.drawFrame();
        drawnMs = now;
      }
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  begin(scene) {
    this.stage = new Stage(scene);
  }

  show(pose) {
    this.stage.show(pose);
    this.isStale = true;
  }

  zoom(by) {
    this.isStale = true;
    this.orbit.distance = Math.min(12, Math.max(0.8, this.orbit.distance * by));
  }

  look() {
    const { yaw, pitch, distance } = this.orbit;
    const target = [this.stage.footprint[12], this.stage.footprint[13], 0.75];
    const heading = Math.atan2(this.stage.footprint[1], this.stage.footprint[0]);
    const eye = add(target, [Math.cos(yaw + heading) * Math.cos(pitch), Math.sin(yaw + heading) * Math.cos(pitch), Math.sin(pitch)], distance);
    this.view = lookAt(eye, target, [0, 0, 1]);
    this.projection = perspective(FIELD_OF_VIEW, this.canvas.width / this.canvas.height, 0.05, 60);
    this.eye = eye;
  }

  drawFrame() {
    const { canvas, renderer, stage } = this;
    const ratio = Math.min(devicePixelRatio, 2);
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (!width || !height) return;
    this.isStale = false;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    renderer.gl.bindFramebuffer(renderer.gl.FRAMEBUFFER, null);
    renderer.gl.viewport(0, 0, width, height);
    renderer.clear(GROUND);
    if (!stage?.pose) return;
    this.look();
    renderer.begin();
    stage.draw(renderer);
    this.drawHandles();
    renderer.draw(this.view, this.projection);
    this.drawLabels();
  }

  // (7,) of a hand's handle, in base_footprint: where it is dragged to, else where the hand is.
  handle(side) {
    return this.dragged[side] ?? this.stage.pose.hands[side];
  }

  drawHandles() {
    const mayDrag = this.mayDrag();
    for (const side of [0, 1]) {
      const hand = multiply(this.stage.footprint, fromPose(this.handle(side)));
      const isHeld = this.dragged[side] !== null;
      const size = isHeld ? 0.075 : 0.06;
      this.renderer.add("sphere", scaled(hand, [size, size, size]), [...HAND_COLOURS[side], mayDrag ? (isHeld ? 1 : 0.75) : 0.3]);
      if (!mayDrag || this.selected !== side) continue;
      AXES.forEach((axis, k) => {
        const end = add(position(hand), rotate(this.stage.footprint, axis), ARROW);
        this.renderer.addLine(position(hand), end, AXIS_COLOURS[k]);
        const tip = fromPose([...end, 0, 0, 0, 1]);
        this.renderer.add("sphere", scaled(tip, [0.028, 0.028, 0.028]), AXIS_COLOURS[k]);
        const points = this.ring(hand, k);
        points.forEach((point, at) => this.renderer.addLine(point, points[(at + 1) % points.length], AXIS_COLOURS[k]));
      });
    }
  }

  ring(hand, axis) {
    const [u, v] = [AXES[(axis + 1) % 3], AXES[(axis + 2) % 3]].map((each) => rotate(this.stage.footprint, each));
    return Array.from({ length: 48 }, (_, k) => add(add(position(hand), u, RING * Math.cos((k * Math.PI) / 24)), v, RING * Math.sin((k * Math.PI) / 24)));
  }

  drawLabels() {
    const hands = ["L", "R"].map((name, side) => [name, apply(this.stage.footprint, this.handle(side)), `hand-${name}`]);
    const found = [...this.stage.labels(), ...hands];
    while (this.labels.children.length < found.length) this.labels.append(document.createElement("span"));
    [...this.labels.children].forEach((label, k) => {
      const at = found[k] && this.onScreen(found[k][1]);
      label.hidden = !at;
      if (at) {
        [label.textContent, , label.className] = [...found[k], ""];
        [label.style.left, label.style.top] = [`${at[0]}px`, `${at[1]}px`];
      }
    });
  }

  // Pixels of a point of the world; null behind the camera.
  onScreen(point) {
    const [x, y, z] = apply(this.view, point);
    if (z > -0.05) return null;
    const p = this.projection;
    return [(0.5 + (0.5 * p[0] * x) / -z) * this.canvas.clientWidth, (0.5 - (0.5 * p[5] * y) / -z) * this.canvas.clientHeight];
  }

  // What is under a pointer: {side, kind: "plane" | "arrow" | "ring", axis}.
  pick(at, nearPx) {
    let best = null;
    const offer = (point, what, easier = 0) => {
      const seen = this.onScreen(point);
      const distance = seen ? Math.hypot(seen[0] - at[0], seen[1] - at[1]) - easier : Infinity;
      if (distance < (best?.distance ?? nearPx)) best = { ...what, distance };
    };
    for (const side of [0, 1]) {
      const hand = multiply(this.stage.footprint, fromPose(this.handle(side)));
      offer(position(hand), { side, kind: "plane" }, 8);
      if (this.selected !== side) continue;
      AXES.forEach((axis, k) => {
        offer(add(position(hand), rotate(this.stage.footprint, axis), ARROW), { side, kind: "arrow", axis: k }, 4);
        for (const point of this.ring(hand, k)) offer(point, { side, kind: "ring", axis: k });
      });
    }
    return best;
  }

  pointerDown(event) {
    if (!this.stage?.pose) return;
    this.canvas.setPointerCapture(event.pointerId);
    const at = [event.offsetX, event.offsetY];
    this.pointers.set(event.pointerId, at);
    this.isStale = true;
    if (this.drag || this.pointers.size > 1 || !this.mayDrag()) return;
    const found = this.pick(at, NEAR_PX[event.pointerType] ?? NEAR_PX.mouse);
    if (!found) return;
    this.selected = found.side;
    this.drag = { ...found, pointer: event.pointerId, begun: [...this.stage.pose.hands[found.side]], at, turned: 0 };
    this.dragged[found.side] = [...this.drag.begun];
  }

  pointerMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const at = [event.offsetX, event.offsetY];
    this.pointers.set(event.pointerId, at);
    this.isStale = true;
    if (this.drag?.pointer === event.pointerId) {
      this.dragged[this.drag.side] = this.dragTo(before, at);
    } else if (this.pointers.size === 1) {
      this.orbit.yaw -= (at[0] - before[0]) * 0.006;
      this.orbit.pitch = Math.min(1.5, Math.max(-0.2, this.orbit.pitch + (at[1] - before[1]) * 0.006));
    } else if (!this.drag) { // two fingers: apart and together
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      this.zoom(Math.hypot(before[0] - other[0], before[1] - other[1]) / Math.max(Math.hypot(at[0] - other[0], at[1] - other[1]), 1));
    }
  }

  pointerUp(event) {
    this.pointers.delete(event.pointerId);
    if (this.drag?.pointer === event.pointerId) {
      this.dragged[this.drag.side] = null;
      this.drag = null;
    }
  }

  // The pose that a hand is dragged to, in base_footprint.
  dragTo(before, at) {
    const { side, kind, axis, begun, at: start } = this.drag;
    const hand = multiply(this.stage.footprint, fromPose(begun));
    const footprintFromWorld = inverse(this.stage.footprint);
    const depth = -apply(this.view, position(hand))[2];
    const metres = depth / (0.5 * this.projection[5] * this.canvas.clientHeight); // a pixel's, at the hand
    const [right, up] = [[0, 4, 8], [1, 5, 9]].map((row) => row.map((k) => this.view[k]));
    if (kind === "ring") {
      const centre = this.onScreen(position(hand));
      if (!centre) return this.dragged[side];
      const angle = (point) => Math.atan2(centre[1] - point[1], point[0] - centre[0]);
      const step = angle(at) - angle(before);
      const isTowardsUs = dot(rotate(this.stage.footprint, AXES[axis]), add(this.eye, position(hand), -1)) > 0;
      this.drag.turned += Math.atan2(Math.sin(step), Math.cos(step)) * (isTowardsUs ? 1 : -1);
      return [...begun.slice(0, 3), ...quaternionMultiply(quaternionAbout(AXES[axis], this.drag.turned), begun.slice(3))];
    }
    const moved = add(right.map((value) => value * (at[0] - start[0]) * metres), up, -(at[1] - start[1]) * metres);
    let step = rotate(footprintFromWorld, moved);
    if (kind === "arrow") {
      // As far along the axis as the pointer has gone along its picture.
      const seen = [0, 1].map((k) => dot(rotate(this.stage.footprint, AXES[axis]), [right, up][k]));
      const length = Math.max(seen[0] ** 2 + seen[1] ** 2, 0.05);
      const along = (((at[0] - start[0]) * seen[0] - (at[1] - start[1]) * seen[1]) * metres) / length;
      step = AXES[axis].map((value) => value * along);
    }
    return [...add(begun.slice(0, 3), step), ...begun.slice(3)];
  }
}
