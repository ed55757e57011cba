// What a frame is, in a word and a colour that people who see colours differently can tell apart, on light and dark.

export const INK = "#16181d";

export const KINDS = {
  app: { fill: "#d08c58", says: "your code, or a library whose package is not known" },
  library: { fill: "#e6d24a", says: "other packages than that of the main class or module" },
  runtime: { fill: "#3a98ee", says: "the runtime and its standard library" },
  native: { fill: "#b3a6d9", says: "machine code" },
  kernel: { fill: "#86efb0", says: "the operating system" },
  unresolved: { fill: "#f0f0f0", says: "no name could be found" },
  thread: { fill: "#c9ced6", says: "no function: the thread that stacks belong to" },
  all: { fill: "#dfe3e8", says: "everything that was sampled" },
};

const STANDARD = {
  jvm: /^(java|javax|jdk|sun|com\.sun|kotlin|scala)\./,
  dotnet: /^(System|Microsoft|Internal|Interop|MS)\./,
  // Paths of the standard library have no dot before their first slash.
  go: /^(?!main\.)[a-z0-9]+(\/[\w-]+)*\.[^/]*$/,
};

// The kind of each name of the head.
export function kindsOf(head, capture) {
  const runtime = capture?.runtime ?? head.quality?.runtime?.split(" ")[0] ?? "";
  const own = ownPackage(runtime, capture?.name ?? head.quality?.process ?? "");
  return head.names.map((name, at) => kind(name, head.kinds[at], runtime, own));
}

function kind(name, told, runtime, own) {
  if (told in KINDS) return told;
  if (runtime === "native") return "native";
  if (STANDARD[runtime]?.test(name)) return "runtime";
  if (runtime === "go") return name.startsWith("main.") || (own && name.startsWith(own)) ? "app" : "library";
  return !own || name.startsWith(own) ? "app" : "library";
}

// What names of the app begin with, where its own name says it: the package of a main class, the path of a module.
function ownPackage(runtime, name) {
  if (runtime === "go") return name.includes("/") ? name : "";
  if (runtime !== "jvm" || /\.(jar|war)$/.test(name)) return "";
  const segments = name.split(".");
  return segments.length > 2 ? segments.slice(0, 2).join(".") + "." : "";
}

// By package, the same in every graph.
const PACKAGES = ["#d08c58", "#e6d24a", "#3a98ee", "#b3a6d9", "#86efb0", "#f2a7b5", "#9ed7dc", "#c7c7a3"];

export function packageOf(name) {
  const path = name.split("(")[0];
  const segments = path.split(/[./!]|::/);
  return segments.slice(0, Math.max(1, Math.min(3, segments.length - 2))).join(".");
}

export const packageFill = (hash) => PACKAGES[hash % PACKAGES.length];

// Of a difference: less, the same, more; noise is grey.
export const CHANGES = [
  { fill: "#4393c3", word: "▼ much less" },
  { fill: "#92c5de", word: "▼ less" },
  { fill: "#e9e9e9", word: "same, or within noise" },
  { fill: "#f4a582", word: "▲ more" },
  { fill: "#e08214", word: "▲ much more" },
];

// The colour of a node that had `before` and has `after` of a whole; `noise` is what chance explains.
export function changeFill(before, after, noise) {
  const change = after - before;
  if (Math.abs(change) <= noise) return CHANGES[2].fill;
  const large = Math.abs(change) > 0.5 * Math.max(before, after);
  return CHANGES[change < 0 ? (large ? 0 : 1) : large ? 4 : 3].fill;
}
