// Rigid transforms and projections: 4 x 4 matrices by columns, as WebGL has them; quaternions x, y, z, w.

export const identity = () => [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

export function multiply(a, b) {
  const out = new Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[k * 4 + row] * b[column * 4 + k];
      out[column * 4 + row] = sum;
    }
  }
  return out;
}

export function fromPose([x, y, z, qx, qy, qz, qw]) {
  return [
    1 - 2 * (qy * qy + qz * qz), 2 * (qx * qy + qz * qw), 2 * (qx * qz - qy * qw), 0,
    2 * (qx * qy - qz * qw), 1 - 2 * (qx * qx + qz * qz), 2 * (qy * qz + qx * qw), 0,
    2 * (qx * qz + qy * qw), 2 * (qy * qz - qx * qw), 1 - 2 * (qx * qx + qy * qy), 0,
    x, y, z, 1,
  ];
}

export function inverse(m) { // of a rigid transform
  const r = [m[0], m[4], m[8], 0, m[1], m[5], m[9], 0, m[2], m[6], m[10], 0];
  const t = [m[12], m[13], m[14]];
  return [...r, ...[0, 1, 2].map((row) => -(r[row] * t[0] + r[4 + row] * t[1] + r[8 + row] * t[2])), 1];
}

export const apply = (m, [x, y, z]) => [0, 1, 2].map((row) => m[row] * x + m[4 + row] * y + m[8 + row] * z + m[12 + row]);
export const rotate = (m, [x, y, z]) => [0, 1, 2].map((row) => m[row] * x + m[4 + row] * y + m[8 + row] * z);
export const translation = ([x, y, z]) => [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, x, y, z, 1];
export const scaled = (m, [x, y, z]) => m.map((value, at) => (at < 4 ? value * x : at < 8 ? value * y : at < 12 ? value * z : value));
export const position = (m) => [m[12], m[13], m[14]];

export const add = (a, b, by = 1) => a.map((value, k) => value + by * b[k]);
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const unit = (a) => { const length = Math.hypot(...a) || 1; return a.map((value) => value / length); };

export function perspective(fieldOfView, aspect, near, far) {
  const f = 1 / Math.tan(fieldOfView / 2);
  return [f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0];
}

export function lookAt(eye, target, up) { // the view of a camera
  const back = unit(add(eye, target, -1));
  const right = unit(cross(up, back));
  const above = cross(back, right);
  return inverse([...right, 0, ...above, 0, ...back, 0, ...eye, 1]);
}

export function quaternionMultiply([ax, ay, az, aw], [bx, by, bz, bw]) {
  return [
    aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz,
  ];
}

export const quaternionAbout = (axis, angle) => [...unit(axis).map((value) => value * Math.sin(angle / 2)), Math.cos(angle / 2)];
export const quaternionInverse = ([x, y, z, w]) => [-x, -y, -z, w];
