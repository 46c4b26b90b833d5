// Keyboard, gamepad, touch, dragged hands and a headset, as one gamepad with two hands: the layout of ROS's package joy.

const AXIS = { leftX: 0, leftY: 1, rightX: 3, rightY: 4 };
const TRIGGERS = [2, 5];
const BUTTON = { drive: 0, lower: 1, raise: 3 };
const CLUTCHES = [4, 5];
const KEY_SPEED = 0.8; // of full stick
const UNTOUCHED = 0.02; // of a trigger
const CLOSED_BELOW = 0.05; // m between the pads: so a hand that holds something goes on holding it
const KEYS = {
  KeyW: [AXIS.leftY, 1], KeyS: [AXIS.leftY, -1], KeyA: [AXIS.leftX, 1], KeyD: [AXIS.leftX, -1], KeyQ: [AXIS.rightX, 1], KeyE: [AXIS.rightX, -1],
};
const HOLDS = { Digit1: 0, Numpad1: 0, Digit2: 1, Numpad2: 1 };

const clamp = (value) => Math.min(1, Math.max(-1, value));

export class Inputs {
  constructor() {
    this.keys = new Set();
    this.sticks = [[0, 0], [0, 0]]; // on the screen: to the left, ahead
    this.touched = [false, false];
    this.holds = [false, false]; // buttons on the screen
    this.grips = [0, 0];
    this.dragged = [null, null]; // poses in axes that the operator faces
    this.headset = null; // {axes, buttons, hands} while one is worn
    this.gamepad = ""; // what is known of it
    this.wasPressed = [false, false]; // its triggers
    this.onGrip = () => {};
    addEventListener("keydown", (event) => this.keyDown(event));
    addEventListener("keyup", (event) => this.keys.delete(event.code));
    addEventListener("blur", () => this.letGo());
    document.addEventListener("visibilitychange", () => this.letGo());
  }

  keyDown(event) {
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.code in KEYS || event.code in HOLDS || ["KeyR", "KeyF", "KeyG"].includes(event.code)) event.preventDefault();
    if (event.code === "KeyG" && !event.repeat) {
      for (const side of [0, 1]) if (this.isHeldByKey(side)) this.toggleGrip(side);
    }
    this.keys.add(event.code);
  }

  isHeldByKey(side) {
    return this.holds[side] || Object.entries(HOLDS).some(([code, of]) => of === side && this.keys.has(code));
  }

  letGo() {
    this.keys.clear();
    this.holds = [false, false];
    this.sticks = [[0, 0], [0, 0]];
    this.touched = [false, false];
    this.dragged.fill(null); // the view writes to it
  }

  toggleGrip(side) {
    this.grips[side] = this.grips[side] > 0.5 ? 0 : 1;
    this.onGrip();
  }

  // Grippers go on as they are when control is taken.
  beginWith(openings) {
    this.grips = openings.map((opening) => (opening < CLOSED_BELOW ? 1 : 0));
    this.onGrip();
  }

  readGamepad(axes, buttons) {
    const pad = [...navigator.getGamepads()].find((each) => each && each.connected);
    if (!pad) {
      this.gamepad = "";
      return;
    }
    if (pad.mapping !== "standard" || pad.axes.length < 4 || pad.buttons.length < 10) {
      this.gamepad = `${pad.id}: the browser does not know its layout`;
      return;
    }
    this.gamepad = pad.id;
    [[AXIS.leftX, 0], [AXIS.leftY, 1], [AXIS.rightX, 2], [AXIS.rightY, 3]].forEach(([to, from]) => { axes[to] -= pad.axes[from]; });
    [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, 5], [6, 8], [7, 9]].forEach(([to, from]) => { if (pad.buttons[from].pressed) buttons[to] = 1; });
    [6, 7].forEach((from, side) => {
      const value = pad.buttons[from].value;
      if (value > UNTOUCHED || this.wasPressed[side]) {
        this.grips[side] = value > UNTOUCHED ? value : 0;
        this.onGrip();
      }
      this.wasPressed[side] = value > UNTOUCHED;
    });
  }

  // The message of now.
  read() {
    const axes = [0, 0, 1, 0, 0, 1];
    const buttons = [0, 0, 0, 0, 0, 0, 0, 0];
    const hands = [...this.dragged];
    for (const [code, [axis, sign]] of Object.entries(KEYS)) {
      if (this.keys.has(code)) {
        axes[axis] += sign * KEY_SPEED;
        buttons[BUTTON.drive] = 1;
      }
    }
    if (this.keys.has("KeyF")) buttons[BUTTON.lower] = 1;
    if (this.keys.has("KeyR")) buttons[BUTTON.raise] = 1;
    this.sticks.forEach(([left, ahead], stick) => {
      axes[stick ? AXIS.rightX : AXIS.leftX] += left;
      axes[stick ? AXIS.rightY : AXIS.leftY] += ahead;
      if (this.touched[stick]) buttons[BUTTON.drive] = 1;
    });
    this.readGamepad(axes, buttons);
    for (const side of [0, 1]) {
      if (this.isHeldByKey(side) || hands[side]) buttons[CLUTCHES[side]] = 1;
    }
    if (this.headset) {
      this.headset.axes.forEach((value, axis) => { if (!TRIGGERS.includes(axis)) axes[axis] += value; });
      this.headset.buttons.forEach((value, button) => { buttons[button] |= value; });
      this.headset.grips.forEach((grip, side) => { if (grip !== null) this.grips[side] = grip; });
      this.headset.hands.forEach((hand, side) => { hands[side] = hand ?? hands[side]; });
    }
    TRIGGERS.forEach((axis, side) => { axes[axis] = 1 - 2 * this.grips[side]; });
    return { type: "input", t: performance.now() / 1000, axes: axes.map((value) => +clamp(value).toFixed(4)), buttons, hands };
  }
}

// A stick on the screen; tell(left, ahead, isTouched) with each from -1 to 1.
export function makeStick(element, tell) {
  const knob = element.firstElementChild;
  const move = (event, isTouched) => {
    const box = element.getBoundingClientRect();
    let right = isTouched ? (event.clientX - box.left - box.width / 2) / (box.width / 2) : 0;
    let down = isTouched ? (event.clientY - box.top - box.height / 2) / (box.height / 2) : 0;
    const length = Math.hypot(right, down);
    if (length > 1) [right, down] = [right / length, down / length];
    knob.style.transform = `translate(${right * box.width * 0.3}px, ${down * box.height * 0.3}px)`;
    tell(-right, -down, isTouched);
  };
  element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); move(event, true); });
  element.addEventListener("pointermove", (event) => { if (element.hasPointerCapture(event.pointerId)) move(event, true); });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(end, (event) => move(event, false));
}
