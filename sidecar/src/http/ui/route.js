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

export function format(path, params = {}) {
  const query = new URLSearchParams();
  const entries = params instanceof URLSearchParams ? params : Object.entries(params);
  for (const [name, value] of entries) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  return "#/" + path.map(encodeURIComponent).join("/") + (String(query) && "?" + query);
}

export const current = () => parse(location.hash);

// Goes to another address; `replace` makes it no step of Back.
export function go(hash, { replace = false } = {}) {
  if (hash === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  dispatchEvent(new Event("route"));
}

// The same screen with some parameters changed; an empty value takes one away.
export function change(params, options) {
  const route = current();
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined || value === null || value === "") route.params.delete(name);
    else route.params.set(name, value);
  }
  const path = location.hash.replace(/^#?\/?/, "").split("?")[0];
  const query = String(route.params);
  go("#/" + path + (query && "?" + query), options);
}
