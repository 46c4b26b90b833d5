// Draws boxes, cylinders, spheres, lines and pictures: all that the robot and the floor are made of. One call a kind.

const SOLID_VERTEX = `#version 300 es
layout(location=0) in vec3 at; layout(location=1) in vec3 normal;
layout(location=2) in vec4 m0; layout(location=3) in vec4 m1; layout(location=4) in vec4 m2; layout(location=5) in vec4 m3;
layout(location=6) in vec4 colour;
uniform mat4 view, projection; out vec3 vNormal; out vec4 vColour; out vec3 vAt;
void main() {
  mat4 m = mat4(m0, m1, m2, m3);
  vec3 squares = vec3(dot(m0.xyz, m0.xyz), dot(m1.xyz, m1.xyz), dot(m2.xyz, m2.xyz));
  vNormal = mat3(view) * normalize(mat3(m) * (normal / squares));
  vec4 seen = view * m * vec4(at, 1.0); vAt = seen.xyz; vColour = colour;
  gl_Position = projection * seen;
}`;
const SOLID_FRAGMENT = `#version 300 es
precision highp float; in vec3 vNormal; in vec4 vColour; in vec3 vAt; uniform vec3 light; out vec4 shown;
void main() {
  vec3 n = normalize(vNormal);
  float day = 0.42 + 0.5 * max(dot(n, light), 0.0) + 0.14 * max(dot(n, normalize(-vAt)), 0.0);
  shown = vec4(vColour.rgb * day, 1.0) * vColour.a;
}`;
const LINE_VERTEX = `#version 300 es
layout(location=0) in vec3 at; layout(location=1) in vec4 colour; uniform mat4 view, projection; out vec4 vColour;
void main() { vColour = colour; gl_Position = projection * view * vec4(at, 1.0); }`;
const LINE_FRAGMENT = `#version 300 es
precision mediump float; in vec4 vColour; out vec4 shown; void main() { shown = vec4(vColour.rgb, 1.0) * vColour.a; }`;
const PICTURE_VERTEX = `#version 300 es
layout(location=0) in vec2 at; uniform mat4 model, view, projection; out vec2 vAt;
void main() { vAt = vec2(at.x + 0.5, 0.5 - at.y); gl_Position = projection * view * model * vec4(at, 0.0, 1.0); }`;
const PICTURE_FRAGMENT = `#version 300 es
precision mediump float; in vec2 vAt; uniform sampler2D picture; out vec4 shown; void main() { shown = texture(picture, vAt); }`;

function makeBox() {
  const rows = [];
  for (const axis of [0, 1, 2]) {
    for (const sign of [-1, 1]) {
      const corner = (u, v) => { const at = [0, 0, 0]; at[axis] = sign / 2; at[(axis + 1) % 3] = (u * sign) / 2; at[(axis + 2) % 3] = v / 2; return at; };
      const normal = [0, 0, 0];
      normal[axis] = sign;
      for (const [u, v] of [[-1, -1], [1, -1], [1, 1], [-1, -1], [1, 1], [-1, 1]]) rows.push(...corner(u, v), ...normal);
    }
  }
  return rows;
}

function makeCylinder(count = 24) {
  const rows = [];
  const rim = (k) => [Math.cos((2 * Math.PI * k) / count), Math.sin((2 * Math.PI * k) / count)];
  for (let k = 0; k < count; k++) {
    const [[ax, ay], [bx, by]] = [rim(k), rim(k + 1)];
    for (const [x, y, z] of [[ax, ay, -1], [bx, by, -1], [bx, by, 1], [ax, ay, -1], [bx, by, 1], [ax, ay, 1]]) rows.push(x / 2, y / 2, z / 2, x, y, 0);
    for (const z of [-1, 1]) {
      const [first, second] = z > 0 ? [[ax, ay], [bx, by]] : [[bx, by], [ax, ay]];
      for (const [x, y] of [[0, 0], first, second]) rows.push(x / 2, y / 2, z / 2, 0, 0, z);
    }
  }
  return rows;
}

function makeSphere(rings = 12, count = 20) {
  const rows = [];
  const on = (ring, k) => {
    const [polar, around] = [(Math.PI * ring) / rings, (2 * Math.PI * k) / count];
    return [Math.sin(polar) * Math.cos(around), Math.sin(polar) * Math.sin(around), Math.cos(polar)];
  };
  for (let ring = 0; ring < rings; ring++) {
    for (let k = 0; k < count; k++) {
      for (const [r, c] of [[ring, k], [ring + 1, k], [ring + 1, k + 1], [ring, k], [ring + 1, k + 1], [ring, k + 1]]) {
        const at = on(r, c);
        rows.push(...at.map((value) => value / 2), ...at);
      }
    }
  }
  return rows;
}

function makeProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  const uniforms = {};
  for (let k = 0; k < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); k++) {
    const { name } = gl.getActiveUniform(program, k);
    uniforms[name] = gl.getUniformLocation(program, name);
  }
  return { program, uniforms };
}

export class Renderer {
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: true, xrCompatible: true, powerPreference: "high-performance" });
    if (!gl) throw new Error("this browser has no WebGL 2: there is no 3D view");
    this.gl = gl;
    this.solid = makeProgram(gl, SOLID_VERTEX, SOLID_FRAGMENT);
    this.line = makeProgram(gl, LINE_VERTEX, LINE_FRAGMENT);
    this.picture = makeProgram(gl, PICTURE_VERTEX, PICTURE_FRAGMENT);
    this.kinds = Object.fromEntries([["box", makeBox()], ["cylinder", makeCylinder()], ["sphere", makeSphere()]].map(([kind, rows]) => [kind, this.makeKind(rows)]));
    this.lines = { buffer: gl.createBuffer(), array: gl.createVertexArray(), rows: [] };
    gl.bindVertexArray(this.lines.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lines.buffer);
    for (const [at, size, offset] of [[0, 3, 0], [1, 4, 12]]) {
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, gl.FLOAT, false, 28, offset);
    }
    this.square = gl.createVertexArray();
    gl.bindVertexArray(this.square);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-0.5, -0.5, 0.5, -0.5, -0.5, 0.5, 0.5, 0.5]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    this.pictures = [];
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  makeKind(rows) {
    const { gl } = this;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(rows), gl.STATIC_DRAW);
    for (const at of [0, 1]) {
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 24, 12 * at);
    }
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    for (let k = 0; k < 5; k++) {
      gl.enableVertexAttribArray(2 + k);
      gl.vertexAttribPointer(2 + k, 4, gl.FLOAT, false, 80, 16 * k);
      gl.vertexAttribDivisor(2 + k, 1);
    }
    return { array, buffer, count: rows.length / 6, solid: [], clear: [] };
  }

  begin() {
    for (const kind of Object.values(this.kinds)) kind.solid.length = kind.clear.length = 0;
    this.lines.rows.length = 0;
    this.pictures.length = 0;
  }

  // matrix: with the size in it; colour: r, g, b, opacity.
  add(kind, matrix, colour) {
    this.kinds[kind][colour[3] < 1 ? "clear" : "solid"].push(...matrix, ...colour);
  }

  addLine(a, b, colour) {
    this.lines.rows.push(...a, ...colour, ...b, ...colour);
  }

  // A texture on a rectangle of 1 x 1 m that the matrix scales.
  addPicture(texture, matrix) {
    this.pictures.push([texture, matrix]);
  }

  makeTexture() {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const [name, value] of [[gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR], [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE]]) gl.texParameteri(gl.TEXTURE_2D, name, value);
    return texture;
  }

  fill(texture, source) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, source);
  }

  clear(colour) {
    const { gl } = this;
    gl.clearColor(...colour, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  }

  // light: where it comes from, in the world.
  draw(view, projection, light = [0.25, -0.2, 0.95]) {
    const { gl } = this;
    const use = ({ program, uniforms }) => {
      gl.useProgram(program);
      gl.uniformMatrix4fv(uniforms.view, false, view);
      gl.uniformMatrix4fv(uniforms.projection, false, projection);
      return uniforms;
    };
    const seen = [0, 1, 2].map((row) => view[row] * light[0] + view[4 + row] * light[1] + view[8 + row] * light[2]);
    gl.uniform3fv(use(this.solid).light, seen);
    for (const part of ["solid", "clear"]) {
      gl.depthMask(part === "solid");
      for (const { array, buffer, count, [part]: rows } of Object.values(this.kinds)) {
        if (!rows.length) continue;
        gl.bindVertexArray(array);
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(rows), gl.DYNAMIC_DRAW);
        gl.drawArraysInstanced(gl.TRIANGLES, 0, count, rows.length / 20);
      }
      if (part === "solid") this.drawLines(use);
    }
    gl.depthMask(true);
    const uniforms = use(this.picture);
    gl.bindVertexArray(this.square);
    for (const [texture, matrix] of this.pictures) {
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniformMatrix4fv(uniforms.model, false, matrix);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
    gl.bindVertexArray(null);
  }

  drawLines(use) {
    const { gl } = this;
    use(this.line);
    gl.bindVertexArray(this.lines.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lines.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(this.lines.rows), gl.DYNAMIC_DRAW);
    gl.drawArrays(gl.LINES, 0, this.lines.rows.length / 7);
    gl.useProgram(this.solid.program);
  }
}
