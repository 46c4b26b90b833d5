// The page: puts together link, inputs, pictures and the 3D view, and says in words what is wrong.

import { Headset } from "./headset.js";
import { Inputs, makeStick } from "./inputs.js";
import { Link } from "./link.js";
import { View } from "./view.js";

const INPUT_MS = 20;
const LOST_S = 1.0; // without an image, a message or a node's word
const GONE_S = 3.0;
const CAMERA_NAMES = { head_camera: "Head", head_forward_camera: "Head, forward", left_wrist_camera: "Left wrist", right_wrist_camera: "Right wrist" };

const $ = (id) => document.getElementById(id);
const state = { you: null, status: null, isOpen: false, closed: "", camera: null, all: false, images: {}, answers: [], number: 0, wasMine: false, noView: "" };
const inputs = new Inputs();

// --- connection --------------------------------------------------------------------------------------------------------

const link = new Link({
  open(welcome) {
    Object.assign(state, { isOpen: true, closed: "", you: welcome.you, images: {}, wasMine: false });
    inputs.letGo();
    showCameras(welcome.cameras);
    showOrders(welcome.scene.orders);
    view?.begin(welcome.scene);
    $("login").close();
  },
  close(reason, isFinal) {
    Object.assign(state, { isOpen: false, closed: reason, status: null, wasMine: false });
    inputs.letGo();
    if (isFinal) askWho(reason);
    show();
  },
  message(fields) {
    if (fields.type === "status") {
      state.status = fields;
      if (isMine() && !state.wasMine && state.openings) inputs.beginWith(state.openings);
      state.wasMine = isMine();
      show();
    } else if (fields.type === "pose") {
      state.openings = fields.openings;
      view?.show(fields);
      link.send({ type: "seen", stream: "pose", number: fields.number });
    } else if (fields.type === "answer") {
      tell(`${fields.what.replaceAll("_", " ")}: ${fields.message || (fields.success ? "done" : "refused")}`, !fields.success);
    } else if (fields.type === "control" && !fields.success) {
      tell(fields.message, true);
    }
  },
  async image(head, blob) {
    try {
      const picture = await createImageBitmap(blob);
      const before = state.images[head.camera];
      if (before && before.number > head.number) { // it was quicker to read
        picture.close();
      } else {
        before?.picture.close();
        state.images[head.camera] = { ...head, picture };
        if (head.camera === state.camera) paint($("picture"), picture);
        if (state.all) paint(document.querySelector(`[data-camera="${head.camera}"] canvas`), picture);
      }
    } catch (error) {
      tell(`an image of ${head.camera} cannot be read: ${error.message}`, true);
    }
    link.send({ type: "seen", stream: head.camera, number: head.number });
  },
});

const isMine = () => Boolean(state.status?.seat.is_yours);
const mayDrive = () => state.isOpen && isMine() && document.visibilityState === "visible";

// By a clock on the page, and by a headset's own: while it is worn, browsers may slow down the page's.
let sentMs = 0;
function sendInput() {
  const now = performance.now();
  if (!mayDrive() || now - sentMs < INPUT_MS - 4) return;
  sentMs = now;
  link.sendNow(inputs.read());
}
setInterval(sendInput, INPUT_MS);

function askWho(reason = "") {
  $("refused").textContent = reason || "The robot's log shows the page's address with its token.";
  $("name").value = localStorage.getItem("name") ?? "";
  $("token").value = sessionStorage.getItem("token") ?? "";
  if (!$("login").open) $("login").showModal();
}

$("login").addEventListener("close", () => {
  if (state.isOpen) return;
  localStorage.setItem("name", $("name").value.trim());
  sessionStorage.setItem("token", $("token").value.trim());
  link.open($("token").value.trim(), $("name").value.trim());
});

// --- what is asked -----------------------------------------------------------------------------------------------------

function ask(what, more = {}) {
  link.send({ type: "ask", number: ++state.number, what, ...more });
}

$("stop").addEventListener("click", () => ask("stop"));
$("control").addEventListener("click", () => {
  inputs.letGo();
  link.send({ type: "control", wanted: !isMine() });
});
for (const button of document.querySelectorAll("[data-ask]")) {
  button.addEventListener("click", () => {
    const { ask: what, outcome, keep } = button.dataset;
    const more = what === "end_episode" ? { keep: keep !== "false", outcome: outcome ?? "" } : what === "start_episode" ? { task: $("task").value, ...orderOfEpisode() } : {};
    ask(what, more);
    button.blur(); // or the next key would press it again
  });
}
// Which order the next episode is of, where this page gives orders.
function showOrders(orders) {
  $("order").hidden = orders.length === 0;
  $("order").replaceChildren(new Option("no order", ""), ...orders.map((words, number) => new Option(words, String(number))));
}

function orderOfEpisode() {
  return $("order").value === "" ? {} : { order: Number($("order").value) };
}

addEventListener("keydown", (event) => {
  if (event.code === "Escape" && !event.repeat && !$("login").open) ask("stop");
});
["left", "right"].forEach((name, side) => {
  const hold = $(`hold-${name}`);
  const set = (isHeld) => {
    inputs.holds[side] = isHeld;
    hold.classList.toggle("held", isHeld);
  };
  hold.addEventListener("pointerdown", (event) => { hold.setPointerCapture(event.pointerId); set(true); });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) hold.addEventListener(end, () => set(false));
  hold.addEventListener("contextmenu", (event) => event.preventDefault());
  $(`grip-${name}`).addEventListener("click", (event) => { inputs.toggleGrip(side); event.currentTarget.blur(); });
  makeStick($(`stick-${name}`), (left, ahead, isTouched) => {
    inputs.sticks[side] = [left, ahead];
    inputs.touched[side] = isTouched;
  });
});
inputs.onGrip = () => ["left", "right"].forEach((name, side) => $(`grip-${name}`).setAttribute("aria-pressed", inputs.grips[side] > 0.5));

// --- pictures ----------------------------------------------------------------------------------------------------------

function showCameras(cameras) {
  if (!cameras.includes(state.camera)) state.camera = cameras[0];
  $("cameras").replaceChildren(...cameras.map((camera) => {
    const [tab, small] = [document.createElement("button"), document.createElement("canvas")];
    tab.append(small, CAMERA_NAMES[camera] ?? camera);
    tab.setAttribute("role", "tab");
    tab.dataset.camera = camera;
    tab.addEventListener("click", () => { tab.blur(); look(camera); });
    return tab;
  }));
  look(state.camera);
}

function look(camera) {
  state.camera = camera;
  state.since = performance.now();
  for (const tab of $("cameras").children) {
    tab.setAttribute("aria-pressed", tab.dataset.camera === camera);
    tab.firstElementChild.hidden = !state.all;
  }
  $("all").setAttribute("aria-pressed", state.all);
  if (state.images[camera]) paint($("picture"), state.images[camera].picture);
  link.send({ type: "watch", cameras: state.all ? [...$("cameras").children].map((tab) => tab.dataset.camera) : [camera] });
}

$("all").addEventListener("click", () => {
  state.all = !state.all;
  look(state.camera);
});

function paint(canvas, picture) {
  if (canvas.width !== picture.width || canvas.height !== picture.height) [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

function showAge() {
  const image = state.images[state.camera];
  const now = link.robotNow();
  const age = image && now !== null ? Math.max(now - image.taken, 0) : null;
  $("age").textContent = age === null ? "no image yet" : `${Math.round(age * 1000)} ms old`;
  const isLost = age === null ? performance.now() - (state.since ?? 0) > GONE_S * 1000 : age > LOST_S;
  $("lost").hidden = !isLost;
  if (isLost) {
    const why = !state.isOpen ? "not connected" : age === null ? "this camera has sent no image: is camera_node running?" : `no image for ${age.toFixed(1)} s`;
    $("lost").textContent = `camera lost · ${why}`;
  }
}

// --- words -------------------------------------------------------------------------------------------------------------

function tell(text, isBad) {
  state.answers.push({ text, isBad, until: performance.now() + (isBad ? 8000 : 3000) });
  show();
}

function rows(list, entries) {
  list.replaceChildren(...entries.filter(([, text]) => text !== "" && text !== null && text !== undefined).flatMap(([name, text, level]) => {
    const [term, value] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, value.textContent] = [name, text];
    if (level) value.className = level;
    return [term, value];
  }));
}

function pill(id, text, level = "") {
  $(id).textContent = text;
  $(id).className = `pill ${level}`;
}

function problems() {
  const found = [];
  const status = state.status;
  if (!state.isOpen) {
    if (link.token) found.push([`Not connected: the robot holds. ${state.closed ? `(${state.closed}) ` : ""}Trying again; control has to be taken anew.`, "error"]);
    return found;
  }
  if (!status) return found;
  const { control, policy, recorder, seat, diagnostics } = status;
  if (!control) found.push(["Nothing is heard of control: is control_node running?", "error"]);
  else if (control.age > LOST_S) found.push([`Control was last heard ${control.age.toFixed(1)} s ago.`, "error"]);
  else if (control.mode === "stopped") found.push([`Stopped: ${control.reason}. Press Resume when it is safe.`, "error"]);
  else if (control.mode === "holding") found.push([`Control holds: ${control.reason}.`, "warning"]);
  if (seat.is_taken && !seat.is_yours && seat.silence > 1) found.push([`${seat.name || "Somebody"} is in control, but was last heard ${seat.silence.toFixed(0)} s ago.`, "warning"]);
  if (seat.is_yours && !seat.has_let_go) found.push(["Let go of all keys, buttons and hands once: then you drive.", "warning"]);
  if (seat.is_yours && status.listeners === 0) found.push(["Nobody listens to what you do: is teleop_node running?", "error"]);
  if (status.rivals > 0) found.push(["Another gamepad sends to /joy as well: end it, or hands and walking get mixed orders.", "error"]);
  if (policy?.problem && policy.age < GONE_S) found.push([`${policy.tier === "operator" ? "Held" : policy.policy}: ${policy.problem}.`, "warning"]);
  if (recorder?.problem) found.push([`Recorder: ${recorder.problem}.`, "error"]);
  for (const [name, row] of Object.entries(diagnostics)) {
    if (row.age > GONE_S) found.push([`${name} was last heard ${row.age.toFixed(0)} s ago.`, "error"]);
    else if (row.level === "error" && name !== "recorder_node") found.push([`${name}: ${row.message}`, "error"]);
    else if (row.level === "warning" && name === "teleop_node" && isMine() && !row.message.startsWith("holds")) found.push([row.message, "warning"]);
  }
  return found;
}

function wordsForHeadset() {
  const policy = state.status?.policy;
  return [
    [`${state.status?.control?.mode ?? "no control"} · ${isMine() ? "you are in control" : "you watch"}`, "#5cb3ff"],
    [policy && policy.age < GONE_S ? policy.sub_task.replaceAll("_", " ") : "no policy is heard", "#dfe6ee"],
    [$("lost").hidden ? $("age").textContent : $("lost").textContent, $("lost").hidden ? "#8b98a7" : "#ff5a52"],
    ...problems().map(([text, level]) => [text, level === "error" ? "#ff9d97" : "#f0b440"]),
  ];
}

function show() {
  const { status } = state;
  const now = performance.now();
  state.answers = state.answers.filter((answer) => answer.until > now);
  const lines = [...problems(), ...(state.noView ? [[state.noView, "warning"]] : []), ...state.answers.map(({ text, isBad }) => [text, isBad ? "error" : "told"])];
  $("banner").replaceChildren(...lines.map(([text, level]) => {
    const line = document.createElement("p");
    [line.textContent, line.className] = [text, level];
    return line;
  }));
  pill("link", !state.isOpen ? "not connected" : link.roundTrip === null ? "connected" : `${Math.round(link.roundTrip * 1000)} ms`, !state.isOpen ? "error" : link.roundTrip > 0.15 ? "warning" : "ok");
  $("stop").disabled = !state.isOpen;
  const seat = status?.seat;
  $("control").disabled = !seat;
  $("control").textContent = seat?.is_yours ? "Give back" : "Take control";
  $("control").classList.toggle("mine", Boolean(seat?.is_yours));
  const watchers = seat ? ` · ${seat.pages} ${seat.pages === 1 ? "page" : "pages"}` : "";
  pill("seat", !seat ? "–" : (seat.is_yours ? "you are in control" : seat.is_taken ? `${seat.name || "somebody"} is in control` : "nobody is in control") + watchers, seat?.is_yours ? "mine" : "");
  for (const button of document.querySelectorAll("[data-ask]")) button.disabled = !seat?.is_yours || !status.services.includes(button.dataset.ask);
  $("gamepad").textContent = inputs.gamepad || "press a button of it";
  if (!status) {
    pill("mode", "–");
    return;
  }
  const { control, policy, recorder, order, diagnostics } = status;
  pill("mode", control ? control.mode : "no control", { standing: "ok", walking: "ok", holding: "warning" }[control?.mode] ?? "error");
  const isPolicyHeard = policy && policy.age < GONE_S;
  $("subtask").textContent = isPolicyHeard ? policy.sub_task.replaceAll("_", " ") || "nothing to do" : "no policy is heard";
  $("progress").style.width = `${Math.round(100 * (isPolicyHeard ? policy.progress : 0))}%`;
  rows($("policy"), isPolicyHeard ? [
    ["why", policy.reason], ["next", policy.next_sub_task.replaceAll("_", " ")], ["trouble", policy.problem, "warning"],
    ["uncertainty", policy.uncertainty === null ? "not told" : `${Math.round(100 * policy.uncertainty)}%`, policy.uncertainty > 0.5 ? "warning" : ""],
    ["who decides", `${policy.tier} (${policy.policy})`], ["order", order?.tote ? `${order.tote} to ${order.to}` : "", ""], ["outcome", policy.outcome],
  ] : [["order", order?.tote ? `${order.tote} to ${order.to}` : "none"]]);
  rows($("controls"), control ? [["mode", control.mode], ["why", control.reason, "warning"], ["steps", String(control.step_count)]] : []);
  rows($("episode"), recorder && recorder.age < GONE_S ? [
    ["records", recorder.episode ? `${recorder.episode}, ${recorder.duration.toFixed(0)} s` : "the last minute alone", recorder.episode ? "ok" : ""],
    ["missed", recorder.missed ? String(recorder.missed) : "", "warning"], ["free", `${(recorder.free_space / 1e9).toFixed(1)} GB`], ["trouble", recorder.problem, "error"],
  ] : [["recorder", "is not running"]]);
  showHealth(diagnostics);
}

function showHealth(diagnostics) {
  $("health").replaceChildren(...Object.entries(diagnostics).map(([name, row]) => {
    const [item, text, small] = ["li", "div", "small"].map((tag) => document.createElement(tag));
    item.className = row.age > GONE_S ? "error" : row.level;
    text.textContent = name.replace(/_node$/, "").replaceAll("_", " ");
    small.textContent = row.age > GONE_S ? `silent for ${row.age.toFixed(0)} s` : row.message;
    text.append(small);
    item.append(document.createTextNode(""), text);
    return item;
  }));
  const battery = Object.values(diagnostics).flatMap((row) => Object.entries(row.values)).find(([key]) => /battery/i.test(key));
  $("battery").hidden = !battery;
  if (battery) pill("battery", `${battery[0]} ${battery[1]}`);
}

// --- the beginning -----------------------------------------------------------------------------------------------------

let view = null;
try {
  view = new View($("view"), $("labels"), inputs.dragged, mayDrive);
} catch (error) {
  state.noView = error.message; // all else works without
}
if (view && navigator.xr) {
  const headset = new Headset(view, inputs, { stop: () => ask("stop"), frame: sendInput, end: () => { $("vr").textContent = "Enter VR"; } },
    { picture: () => state.images[state.camera]?.picture, words: wordsForHeadset });
  navigator.xr.isSessionSupported("immersive-vr").then((isSo) => { $("vr").hidden = !isSo; }, () => {});
  $("vr").addEventListener("click", async () => {
    if (headset.session) {
      await headset.session.end();
      return;
    }
    try {
      await headset.enter();
      $("vr").textContent = "Leave VR";
    } catch (error) {
      tell(`the headset's view cannot be opened: ${error.message}`, true);
    }
  });
}
$("pads").hidden = !matchMedia("(pointer: coarse), (max-width: 640px)").matches;
setInterval(showAge, 50);
setInterval(show, 500);

// In the address behind #, where no server and no log sees it; and not left there to be read over a shoulder.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname);
}
const name = localStorage.getItem("name");
if (sessionStorage.getItem("token") && name !== null) link.open(sessionStorage.getItem("token"), name);
else askWho();
