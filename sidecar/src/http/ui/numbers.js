// Numbers in the words of the page: the value in its unit first, then what else it is.

const plain = new Intl.NumberFormat();
const [one, two] = [1, 2].map((digits) => new Intl.NumberFormat(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];

export const count = (number) => plain.format(Math.round(number));
export const plural = (number, word, ending = "s") => `${count(number)} ${word}${number === 1 ? "" : ending}`;

// A share of 0 to 1 with one decimal, below one percent with two.
export function percent(share) {
  const hundred = share * 100;
  if (!Number.isFinite(hundred) || hundred === 0) return "0 %";
  if (Math.abs(hundred) < 0.01) return "< 0.01 %";
  return (Math.abs(hundred) < 1 ? two : one).format(hundred) + " %";
}

export function inBytes(number) {
  let [value, unit] = [number, 0];
  while (Math.abs(value) >= 1024 && unit < BYTES.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit ? one.format(value) : count(value)} ${BYTES[unit]}`;
}

export function inSeconds(number) {
  const size = Math.abs(number);
  if (size === 0) return "0 s";
  if (size < 1e-3) return `${one.format(number * 1e6)} µs`;
  if (size < 1) return `${one.format(number * 1e3)} ms`;
  return `${(size < 100 ? two : one).format(number)} s`;
}

export function inUnit(number, unit) {
  if (unit === "nanoseconds") return inSeconds(number / 1e9);
  if (unit === "bytes") return inBytes(number);
  return `${count(number)} ${unit === "count" ? "" : unit}`.trim();
}

// Of a difference: in cores, as a share, or in the unit a second.
export function rate(number, unit) {
  const [of, time] = unit.split("/");
  if (of === "share") return number < 0 ? `-${percent(-number)}` : percent(number);
  if (of === "nanoseconds" && time) return `${two.format(number / 1e9)} cores`;
  return inUnit(number, of) + (time ? "/s" : "");
}

// With its sign, for what has changed.
export const signed = (text, number) => (number > 0 ? `▲ +${text}` : number < 0 ? `▼ ${text.replace("-", "−")}` : text);

// What a number of a profile is, in words: "4.21 s CPU · 0.14 cores · 417 samples".
export function inWords(number, head) {
  const { quality = {}, unit, sampleType } = head;
  const interval = quality.intervalUnit === "nanoseconds" ? quality.interval : 0;
  const isCount = unit === "count" && interval > 0 && quality.clock && quality.clock !== "none";
  const nanos = unit === "nanoseconds" ? number : isCount ? number * interval : undefined;
  const words = [];
  if (nanos === undefined) words.push(`${inUnit(number, unit)} ${unit === "bytes" ? sampleType : unit === "count" ? sampleType : ""}`.trim());
  else {
    words.push(`${inSeconds(nanos / 1e9)}${quality.clock === "cpu" ? " CPU" : ""}`);
    const duration = head.rangeMs ?? quality.durationMs;
    if (quality.clock === "cpu" && duration) words.push(`${two.format(nanos / 1e6 / duration)} cores`);
    if (interval) words.push(plural(Math.round(nanos / interval), "sample"));
  }
  return words;
}

// Of the reader, with that of the pod's logs where they differ.
export function clock(milliseconds) {
  const at = new Date(milliseconds);
  return at.toLocaleTimeString() + (at.getTimezoneOffset() ? ` (${at.toISOString().slice(11, 19)} UTC)` : "");
}
