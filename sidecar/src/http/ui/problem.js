// What went wrong: one sentence what, one why, one what to do, with what the server allows instead.

import { h, fill, command, link, visible } from "./dom.js";
import { addressOf } from "./route.js";

// A failure as an element; `again` is tried by a button, if there is something to try.
export function problem(error, again) {
  const told = error.problem ?? { code: "page", title: "The page failed", detail: error.message, remedy: "Reload the page." };
  return h("section.problem", { "data-code": told.code },
    h("p.what", h("strong", capital(told.title ?? told.detail))),
    told.title && h("p", "Why: ", sentence(told.detail)),
    h("p", "Try: ", sentence(told.remedy)),
    told.allowed?.length > 0 && h("p", "Allowed: ", told.allowed.join(", ")),
    told.candidates?.length > 0 && h("ul", told.candidates.map((one) => h("li", link(processLink(one), `${one.name} (pid ${one.pid}, ${one.runtime})`)))),
    told.capture && h("p", link(addressOf(["c", told.capture]), "The recording is kept.")),
    h("p.code", "Code: ", h("code", told.code)),
    again && h("button", { type: "button", click: again }, "Try again"));
}

// Fills a place with what `action` gives: words until then, and what goes wrong.
export async function attempt(place, doing, action, again) {
  fill(place, h("p.skeleton", doing));
  await action().then((given) => fill(place, given), (error) => fill(place, problem(error, again)));
}

// The same in a line, where there is no room.
export const words = (error) => visible(`${error.problem?.detail ?? error.message} ${error.problem?.remedy ?? ""}`);

export const processLink = (one) => addressOf(["p", `${one.pid}-${one.startTime ?? 0}`]);

// How a pod of that namespace/name is forwarded to where this page is.
export function forwardTo(pod) {
  const [namespace, name] = pod.split("/");
  return command(`kubectl port-forward -n ${namespace} pod/${name} ${location.port || 7117}:7117`);
}

// The verdict of the doctor.
export const reason = (one) => h("div.reason", { "data-key": one.key },
  h("p", sentence(one.sentence), " ", h("code", one.key)), command(one.remedy));

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const sentence = (text = "") => capital(text) + (/[.!?]$/.test(text) ? "" : ".");
