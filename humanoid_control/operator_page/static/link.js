// The websocket: reconnects by itself, keeps the robot's clock, and says nothing that waits behind something older.

const RETRY_MS = [500, 1000, 2000, 4000];
const LANE_RETRY_MS = 1000;
const PING_MS = 1000;
const MOST_BUFFERED = 2000; // bytes: what waits longer in this machine would arrive too late

export class Link {
  // on: {open, close(reason, isFinal), message(fields), image(head, blob)}
  constructor(on) {
    this.on = on;
    this.socket = null;
    this.tries = 0;
    this.roundTrip = null; // s
    this.heard = 0; // ms, when anything came last
    this.clocks = [];
    this.lanes = [];
    this.turn = 0;
    setInterval(() => this.send({ type: "ping", t: performance.now() / 1000 }), PING_MS);
  }

  open(token, name) {
    [this.token, this.name] = [token, name];
    clearTimeout(this.retry);
    const socket = connect("socket");
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token, name }));
    socket.onmessage = (event) => this.take(socket, event.data);
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      this.socket = null;
      for (const lane of this.lanes) lane.close();
      this.roundTrip = null;
      this.clocks = [];
      const isFinal = event.code === 4001;
      this.on.close(event.reason, isFinal);
      if (!isFinal) this.retry = setTimeout(() => this.open(this.token, this.name), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
    };
    this.socket = socket;
  }

  take(socket, data) {
    if (socket !== this.socket) return;
    this.heard = performance.now();
    if (typeof data !== "string") {
      const length = new DataView(data).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      this.on.image(head, new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
      return;
    }
    const fields = JSON.parse(data);
    if (fields.type === "welcome") {
      this.tries = 0;
      for (let lane = 0; lane < fields.lanes; lane++) this.openLane(socket, fields.key);
      this.on.open(fields);
    } else if (fields.type === "pong") {
      const now = performance.now() / 1000;
      this.roundTrip = now - fields.t;
      this.clocks.push([this.roundTrip, fields.now - (fields.t + now) / 2]);
      if (this.clocks.length > 10) this.clocks.shift();
    } else {
      this.on.message(fields);
    }
  }

  // A further connection for inputs, as long as its main one is open.
  openLane(main, key) {
    const lane = connect("lane");
    lane.onopen = () => {
      if (main !== this.socket) return lane.close();
      lane.send(JSON.stringify({ type: "lane", key }));
      this.lanes.push(lane);
    };
    lane.onclose = () => {
      this.lanes = this.lanes.filter((each) => each !== lane);
      setTimeout(() => { if (main === this.socket) this.openLane(main, key); }, LANE_RETRY_MS);
    };
  }

  get isOpen() {
    return this.socket !== null && this.socket.readyState === WebSocket.OPEN;
  }

  // s on the robot's server's clock, by the fastest of the last answers.
  robotNow() {
    if (!this.clocks.length) return null;
    const [, offset] = this.clocks.reduce((best, each) => (each[0] < best[0] ? each : best));
    return performance.now() / 1000 + offset;
  }

  send(fields) {
    if (this.isOpen) this.socket.send(JSON.stringify(fields));
  }

  // What is old by the time it is sent is not sent. By turns over all connections: where a packet is lost, what follows in the same
  // connection waits until it was sent again, and what goes by the others does not.
  sendNow(fields) {
    if (!this.isOpen) return;
    const ways = [this.socket, ...this.lanes];
    const way = ways[this.turn++ % ways.length];
    if (way.readyState === WebSocket.OPEN && way.bufferedAmount < MOST_BUFFERED) way.send(JSON.stringify(fields));
  }
}

function connect(path) {
  return new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/${path}`);
}
