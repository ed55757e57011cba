// The time of a capture as a strip: the darker, the more was sampled. A range of it is dragged, or typed.

import { h, button } from "./dom.js";
import { inSeconds } from "./numbers.js";

const HEIGHT = 34;
const SHORTEST = 0.02;
const FILLS = ["#f3e3d6", "#eecbaa", "#e2a878", "#d08c58", "#b06a38", "#824718"];

// `choose(from, to, options)` in seconds, both undefined for the whole, is done when the graph follows; `show(from, to)` says what is chosen.
export function strip(timeline, choose) {
  const duration = Math.max(timeline.durationMs ?? 0, timeline.values.length * timeline.intervalMs) / 1000;
  const canvas = h("canvas", { "aria-hidden": "true", height: HEIGHT });
  const range = h("div.range", { hidden: true });
  const area = h("div.strip", { pointerdown: begin, pointermove: drag, pointerup: finish, pointercancel: finish }, canvas, range);
  let begun, wanted, isFollowed, isReplaced;

  const at = (event) => {
    const box = area.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * duration;
  };
  function begin(event) {
    begun = at(event);
    isReplaced = false;
    area.setPointerCapture(event.pointerId);
  }
  function drag(event) {
    if (begun === undefined) return;
    const range = [begun, at(event)].sort((one, other) => one - other);
    mark(...range);
    follow(range);
  }
  function finish(event) {
    drag(event);
    begun = undefined;
  }
  // The newest range alone is asked for, when the one before it is drawn. All of a drag is one step of Back.
  async function follow(range) {
    wanted = range[1] - range[0] < SHORTEST ? [] : range;
    if (isFollowed) return;
    for (isFollowed = true; wanted; isReplaced = true) {
      const [low, high] = wanted;
      wanted = undefined;
      await choose(low, high, { replace: isReplaced });
    }
    isFollowed = false;
  }
  function mark(low, high) {
    range.hidden = low === undefined;
    if (range.hidden) return;
    Object.assign(range.style, { left: `${(low / duration) * 100}%`, width: `${((high - low) / duration) * 100}%` });
  }
  function paint() {
    const width = Math.max(1, Math.round(area.clientWidth * devicePixelRatio));
    Object.assign(canvas, { width, height: HEIGHT });
    const context = canvas.getContext("2d");
    const most = Math.max(...timeline.values, 1);
    const step = (width * timeline.intervalMs) / 1000 / duration;
    timeline.values.forEach((value, index) => {
      if (!value) return;
      const share = value / most;
      const height = Math.max(2, share * HEIGHT);
      context.fillStyle = FILLS[Math.min(FILLS.length - 1, Math.floor(share * FILLS.length))];
      context.fillRect(index * step, HEIGHT - height, Math.ceil(step), height);
    });
  }
  const observer = new ResizeObserver(paint);
  observer.observe(area);
  const [low, high] = ["from", "to"].map((name) => h("input", { id: `time-${name}`, type: "number", min: "0", max: Math.ceil(duration), step: "any" }));
  const submit = (event) => {
    event.preventDefault();
    choose(Number(low.value), Math.min(Number(high.value), duration));
  };
  const whole = button("Whole time", () => choose());
  const form = h("form.bar", { submit }, h("label", { for: low.id }, "from ", low), h("label", { for: high.id }, "to ", high), "s ",
    h("button", { type: "submit" }, "Show"), spikeButton(timeline, choose), whole);
  function show(from, to) {
    const isWhole = from === undefined && to === undefined;
    whole.hidden = isWhole;
    [low.value, high.value] = [from ?? 0, to ?? duration].map(thousandths);
    if (begun === undefined) mark(isWhole ? undefined : from ?? 0, to ?? duration);
  }
  return { element: h("section", { "aria-label": "Time" }, area, form), show, close: () => observer.disconnect() };
}

export const thousandths = (seconds) => Math.round(seconds * 1000) / 1000;

// The busiest window of a tenth of the time, if it stands out.
function spikeButton(timeline, choose) {
  const found = busiest(timeline.values, Math.max(1, Math.round(timeline.values.length / 10)));
  if (!found || found.ratio < 1.3) return;
  const [from, to] = [found.from, found.to].map((index) => (index * timeline.intervalMs) / 1000);
  return button(`Spike: ${inSeconds(from)} to ${inSeconds(to)}`, () => choose(from, to));
}

export function busiest(values, length) {
  const total = values.reduce((sum, value) => sum + value, 0);
  if (!total || values.length < 4) return;
  let sum = values.slice(0, length).reduce((all, value) => all + value, 0);
  let best = { from: 0, sum };
  for (let from = 1; from + length <= values.length; from++) {
    sum += values[from + length - 1] - values[from - 1];
    if (sum > best.sum) best = { from, sum };
  }
  return { from: best.from, to: best.from + length, ratio: best.sum / ((total / values.length) * length) };
}
