// Names of frames as they fit: the end of a long name says more than its beginning.

import { visible } from "./dom.js";

const BORDER = /[./!:]/;

// The longest form that fits into so many characters: whole, `Cart.total`, `total`, `…otal`; empty below three.
export function fitted(name, characters) {
  if (characters < 3) return "";
  if (name.length <= characters) return visible(name);
  const shorter = forms(name).find((form) => form.length <= characters);
  if (shorter) return visible(shorter);
  return "…" + visible(lastPart(bare(name)).slice(1 - characters)).slice(1 - characters);
}

// Without what is in brackets at its end: arguments, type parameters.
const bare = (name) => name.replace(/\(.*$/s, "") || name;

function lastPart(name) {
  let at = name.length - 1;
  while (at > 0 && !BORDER.test(name[at - 1])) at--;
  return name.slice(at);
}

function forms(name) {
  const base = bare(name);
  const last = lastPart(base);
  const owner = lastPart(base.slice(0, -last.length).replace(/[./!:]+$/, ""));
  const two = owner && base.slice(base.length - last.length - owner.length - 2).replace(/^.*?(?=\w)/s, "");
  return [base, two.endsWith(last) ? two : "", last].filter(Boolean);
}

// A pattern for this name alone. What the server takes has 256 bytes.
export function exactly(name) {
  const escaped = name.replace(/[\\^$.*+?()[\]{}|#&~-]/g, "\\$&");
  return new TextEncoder().encode(escaped).length < 250 ? `^${escaped}$` : "^" + escaped.slice(0, 120).replace(/\\$/, "");
}
