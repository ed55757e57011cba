// Elements with text that cannot become markup. Names come from the profiled process and are hostile: every text
// goes through `visible`, and nothing here takes HTML.

const LONGEST = 4096;
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\u2028\u2029]/gu;

// Characters that a reader cannot see, or that turn the order of others around, by their number.
export function visible(text) {
  const whole = String(text);
  const shown = whole.length > LONGEST ? whole.slice(0, LONGEST) + "…" : whole;
  return shown.replace(HIDDEN, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
}

// An element: `tag.class.class`, attributes if there are any, children. Attributes that are functions listen to the event of that name,
// `false` and `undefined` are left out.
export function h(kind, ...children) {
  const [tag, ...classes] = kind.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  const attributes = children[0]?.constructor === Object ? children.shift() : {};
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...nodes(children));
  return element;
}

export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

function nodes(children) {
  const all = children.flat(Infinity).filter((child) => child != null && child !== false);
  return all.map((child) => (child instanceof Node ? child : document.createTextNode(visible(child))));
}

export const link = (href, ...children) => h("a", { href }, ...children);

// A button that says for a moment that it has done it.
export function button(label, click, attributes = {}) {
  return h("button", { type: "button", click, ...attributes }, label);
}

// True if it is in the clipboard, which a page of a name other than `localhost` does not have.
export async function copyText(text) {
  const done = await Promise.resolve().then(() => navigator.clipboard.writeText(text)).then(() => true, () => false);
  say(done ? "Copied" : "The browser refuses to copy");
  return done;
}

export function copyButton(text, label = "Copy") {
  const copy = async () => {
    one.textContent = (await copyText(text)) ? "Copied" : "Select and copy it";
    setTimeout(() => (one.textContent = label), 1500);
  };
  const one = button(label, copy, { class: "small" });
  return one;
}

// What a colour means.
export function swatch(colour, word) {
  const box = h(word === "unresolved" ? "span.swatch.hatched" : "span.swatch");
  box.style.backgroundColor = colour;
  return [box, word];
}

// A line to be copied into a terminal.
export const command = (text) => h("div.command", h("code", text), copyButton(text));

// Tells those who do not see the page.
export function say(text) {
  document.getElementById("live").textContent = visible(text);
}

// Text of others as it is, without what a reader cannot see; as much as can be read.
export function textBox(label, text) {
  const MOST = 200000;
  const box = h("pre", { tabindex: "0", "aria-label": label });
  box.textContent = text.slice(0, MOST).replace(/[^\P{C}\n\t]/gu, "\ufffd") + (text.length > MOST ? "\n… the rest is in the file" : "");
  return box;
}

// A part of a screen, by its title.
export const part = (title, ...children) => h("section", { "aria-label": title }, h("h2", title), children);

// A table of which the head sorts nothing.
export function table(caption, head, rows, attributes = {}) {
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    h("table", attributes,
      h("caption.unseen", caption),
      h("thead", h("tr", head.map((cell) => h("th", { scope: "col" }, cell)))),
      h("tbody", rows)));
}
