// What is shown is in the address behind `#`, all of it, so that a link and a reload show the same.
//   #/   #/p/PID-START   #/c/ID?v=flame&z=PATHHASH&q=…   #/diff/BEFORE/AFTER   #/help

const SCREENS = { "": "pod", p: "process", c: "capture", diff: "diff", help: "help" };

export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const [first, ...ids] = path.split("/").map(decoded);
  return { screen: SCREENS[first] ?? "pod", ids, params: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// What of parameters has a value, as it is written behind a question mark.
export function queryOf(params) {
  const given = [...(params instanceof URLSearchParams ? params : Object.entries(params))].filter(([, value]) => (value ?? "") !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export const addressOf = (path, params = {}) => `#/${path.map(encodeURIComponent).join("/")}${queryOf(params)}`;

export const currentRoute = () => parse(location.hash);

// Goes to another address; `replace` makes it no step of Back.
export function go(hash, { replace = false } = {}) {
  if (hash === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  dispatchEvent(new Event("route"));
}

// The same screen with some parameters changed; an empty value takes one away.
export const change = (params, options) => go(location.hash.split("?")[0] + queryOf({ ...Object.fromEntries(currentRoute().params), ...params }), options);
