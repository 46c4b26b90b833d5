// A headset: its hands or controllers are the operator's hands, its sticks walk, the picture and the robot are in view.

import { add, inverse, multiply, quaternionAbout, quaternionMultiply, rotate, scaled, translation } from "./mat.js";

const UNTOUCHED = 0.02; // of a trigger
const DEAD = 0.15; // of a stick: out of its middle it is held, as it springs back by itself
const FIST_M = [0.085, 0.105]; // of middle, ring and little finger's tips from the wrist: closed below, open above
const PINCH_M = [0.015, 0.065]; // of thumb and index finger: closed, open
const FINGERS = ["middle-finger-tip", "ring-finger-tip", "pinky-finger-tip"];
const SIDES = ["left", "right"];
const FIRST_AXIS = [2, 3]; // of the stick, in the profile xr-standard
const BUTTON = { trigger: 0, squeeze: 1, stick: 3 };
const SCREEN = { at: [0, 1.55, -2.0], width: 1.8 };
const WORDS = { at: [-1.35, 1.5, -1.75], size: [0.8, 0.6], turn: 0.5, pixels: [640, 480] };
const MODEL = { at: [0, 0.2, -1.15], scale: 0.45 };
const LIGHT = [0.25, 0.95, 0.3];
const GROUND = [0.03, 0.04, 0.055];
const WORDS_MS = 250;

// From a headset's axes (x right, y up, z back) to the operator's (x ahead, y left, z up).
const toOperator = ([x, y, z]) => [-z, -x, y];
const FROM_OPERATOR = [0, 0, -1, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];

export class Headset {
  // on: {stop(), frame(), end()}; what: {picture(), words()} to be shown.
  constructor(view, inputs, on, what) {
    Object.assign(this, { view, inputs, on, what, session: null });
    this.facing = 0;
    this.pressed = [false, false]; // triggers
    this.fists = [false, false];
    this.wereSticksPressed = false;
  }

  async enter() {
    const { renderer } = this.view;
    this.session = await navigator.xr.requestSession("immersive-vr", { requiredFeatures: ["local-floor"], optionalFeatures: ["hand-tracking"] });
    await renderer.gl.makeXRCompatible();
    this.layer = new XRWebGLLayer(this.session, renderer.gl);
    await this.session.updateRenderState({ baseLayer: this.layer, depthNear: 0.05, depthFar: 60 });
    this.space = await this.session.requestReferenceSpace("local-floor");
    this.screen ??= renderer.makeTexture();
    this.board ??= renderer.makeTexture();
    this.paper ??= Object.assign(document.createElement("canvas"), { width: WORDS.pixels[0], height: WORDS.pixels[1] });
    [this.shown, this.writtenMs] = [null, -Infinity];
    this.view.isPaused = true;
    this.session.addEventListener("end", () => this.ended());
    this.session.addEventListener("visibilitychange", () => { if (this.session?.visibilityState !== "visible") this.inputs.headset = null; });
    const loop = (time, frame) => {
      if (!this.session) return;
      this.session.requestAnimationFrame(loop);
      this.frame(time, frame);
    };
    this.session.requestAnimationFrame(loop);
  }

  ended() {
    this.session = null;
    this.inputs.headset = null;
    this.view.isPaused = false;
    this.view.isStale = true;
    this.on.end();
  }

  frame(time, frame) {
    const pose = frame.getViewerPose(this.space);
    const isWorn = pose && this.session.visibilityState === "visible";
    this.inputs.headset = isWorn ? this.read(frame, pose) : null;
    this.on.frame();
    if (pose) this.draw(time, pose);
  }

  // What the hands and sticks do, as Inputs.read wants it.
  read(frame, viewer) {
    const [axes, buttons] = [[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]];
    const [hands, grips] = [[null, null], [null, null]];
    const sticks = [false, false];
    const held = [false, false];
    for (const source of this.session.inputSources) {
      const side = SIDES.indexOf(source.handedness);
      if (side < 0) continue;
      const space = source.hand ? source.hand.get("wrist") : source.gripSpace;
      const found = space && (source.hand ? frame.getJointPose?.(space, this.space) : frame.getPose(space, this.space));
      if (found && !found.emulatedPosition) hands[side] = found.transform;
      if (source.hand) {
        this.readHand(frame, source.hand, side, held, grips);
      } else if (source.gamepad) {
        const pad = source.gamepad;
        held[side] = Boolean(pad.buttons[BUTTON.squeeze]?.pressed);
        const trigger = pad.buttons[BUTTON.trigger]?.value ?? 0;
        if (trigger > UNTOUCHED || this.pressed[side]) grips[side] = trigger > UNTOUCHED ? trigger : 0;
        this.pressed[side] = trigger > UNTOUCHED;
        sticks[side] = Boolean(pad.buttons[BUTTON.stick]?.pressed);
        const [right, back] = FIRST_AXIS.map((axis) => pad.axes[axis] ?? 0);
        if (side === 0) [axes[0], axes[1]] = [-right, -back];
        else axes[3] = -right;
        if (Math.abs(right) > DEAD || (side === 0 && Math.abs(back) > DEAD)) buttons[0] = 1;
      }
    }
    const areBothPressed = sticks[0] && sticks[1];
    if (areBothPressed && !this.wereSticksPressed) this.on.stop();
    this.wereSticksPressed = areBothPressed;
    if (!held[0] && !held[1]) { // a hand that is held keeps what was ahead when it was taken
      const { x, y, z, w } = viewer.transform.orientation;
      const ahead = toOperator([-2 * (x * z + w * y), -2 * (y * z - w * x), -(1 - 2 * (x * x + y * y))]);
      this.facing = Math.atan2(ahead[1], ahead[0]);
    }
    hands.forEach((transform, side) => {
      if (!transform) return;
      if (held[side]) buttons[4 + side] = 1;
      hands[side] = this.toPose(transform);
    });
    return { axes, buttons, hands, grips };
  }

  readHand(frame, hand, side, held, grips) {
    const at = (name) => {
      const found = frame.getJointPose?.(hand.get(name), this.space)?.transform.position;
      return found ? [found.x, found.y, found.z] : null;
    };
    const [wrist, thumb, index] = ["wrist", "thumb-tip", "index-finger-tip"].map(at);
    const tips = FINGERS.map(at);
    if (!wrist || !thumb || !index || tips.includes(null)) {
      this.fists[side] = false;
      return;
    }
    const apart = (a, b) => Math.hypot(...add(a, b, -1));
    const mean = tips.reduce((sum, tip) => sum + apart(tip, wrist), 0) / tips.length;
    this.fists[side] = mean < FIST_M[+this.fists[side]];
    held[side] = this.fists[side];
    grips[side] = held[side] ? Math.min(1, Math.max(0, (PINCH_M[1] - apart(thumb, index)) / (PINCH_M[1] - PINCH_M[0]))) : null;
  }

  toPose({ position, orientation }) {
    const back = quaternionAbout([0, 0, 1], -this.facing);
    const turn = [Math.cos(this.facing), -Math.sin(this.facing), 0, 0, Math.sin(this.facing), Math.cos(this.facing), 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    const at = rotate(turn, toOperator([position.x, position.y, position.z]));
    return [...at, ...quaternionMultiply(back, [...toOperator([orientation.x, orientation.y, orientation.z]), orientation.w])];
  }

  draw(time, viewer) {
    const { renderer, stage } = this.view;
    const { gl } = renderer;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.layer.framebuffer);
    renderer.clear(GROUND);
    renderer.begin();
    if (stage?.pose) {
      const small = scaled(FROM_OPERATOR, [MODEL.scale, MODEL.scale, MODEL.scale]);
      stage.draw(renderer, multiply(translation(MODEL.at), multiply(small, inverse(stage.footprint))));
    }
    const picture = this.what.picture();
    if (picture && picture.width) {
      if (picture !== this.shown) renderer.fill(this.screen, picture);
      this.shown = picture;
      renderer.addPicture(this.screen, scaled(translation(SCREEN.at), [SCREEN.width, (SCREEN.width * picture.height) / picture.width, 1]));
    }
    if (time - this.writtenMs > WORDS_MS) {
      this.write(this.what.words());
      renderer.fill(this.board, this.paper);
      this.writtenMs = time;
    }
    const [cos, sin] = [Math.cos(WORDS.turn), Math.sin(WORDS.turn)];
    renderer.addPicture(this.board, scaled([cos, 0, -sin, 0, 0, 1, 0, 0, sin, 0, cos, 0, ...WORDS.at, 1], [...WORDS.size, 1]));
    for (const eye of viewer.views) {
      const { x, y, width, height } = this.layer.getViewport(eye);
      gl.viewport(x, y, width, height);
      renderer.draw(eye.transform.inverse.matrix, eye.projectionMatrix, LIGHT);
    }
  }

  // lines: [text, colour] each.
  write(lines) {
    const paper = this.paper.getContext("2d");
    paper.fillStyle = "#14191f";
    paper.fillRect(0, 0, ...WORDS.pixels);
    paper.font = "30px system-ui, sans-serif";
    let y = 46;
    for (const [text, colour] of lines) {
      paper.fillStyle = colour;
      let line = "";
      for (const word of text.split(" ")) {
        if (paper.measureText(`${line} ${word}`).width > WORDS.pixels[0] - 40) {
          paper.fillText(line, 20, y);
          [line, y] = [word, y + 36];
        } else {
          line = line ? `${line} ${word}` : word;
        }
      }
      paper.fillText(line, 20, y);
      y += 44;
    }
  }
}
