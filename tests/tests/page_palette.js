// How well colours of the page can be told apart (CIE 1976) by eyes that see red, green or blue differently (Machado, Oliveira and Fernandes,
// 2009), and how well its ink is read on them (WCAG 2.2); run in the page by tests/tests/page.rs.
const { INK, KINDS, CHANGES, packageFill } = await import("/ui/page.js");

const VISIONS = {
  normal: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};
const TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]];
const WHITE = [0.95047, 1, 1.08883];

const linear = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
const times = (matrix, vector) => matrix.map((row) => row.reduce((sum, one, at) => sum + one * vector[at], 0));
const clamped = (vector) => vector.map((one) => Math.min(1, Math.max(0, one)));
const curve = (one) => (one > (6 / 29) ** 3 ? Math.cbrt(one) : one / (3 * (6 / 29) ** 2) + 4 / 29);
function lab(hex, vision) {
  const [x, y, z] = times(TO_XYZ, clamped(times(vision, linear(hex)))).map((one, at) => curve(one / WHITE[at]));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}
const luminance = (hex) => times(TO_XYZ, linear(hex))[1];
const contrast = (one, other) => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
function nearest(fills) {
  const distances = Object.values(VISIONS).flatMap((vision) => fills.flatMap((one, at) => fills.slice(at + 1).map((other) => Math.hypot(...lab(one, vision).map((part, axis) => part - lab(other, vision)[axis])))));
  return Math.min(...distances);
}

const kinds = ["app", "library", "runtime", "native", "kernel", "unresolved"].map((kind) => KINDS[kind].fill);
const changes = CHANGES.map((one) => one.fill);
const packages = Array.from({ length: 8 }, (_, at) => packageFill(at));
const all = [...Object.values(KINDS).map((one) => one.fill), ...changes, ...packages];
return { kinds: nearest(kinds), changes: nearest(changes), ink: Math.min(...all.map((fill) => contrast(fill, INK))) };
