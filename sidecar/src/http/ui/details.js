// What is known of one frame: in a line that follows the pointer, and in a panel with what can be done.

import { end, nameOf, stack, totalOf } from "./columns.js";
import { count, inUnit, inWords, percent, signed } from "./numbers.js";
import { KINDS } from "./kinds.js";
import { h, button, copyButton } from "./dom.js";

const share = (tree, number, of) => percent(number / (of ? tree.width[of] || 1 : totalOf(tree)));

// `to` is behind the last node where several are drawn as one.
export function line(tree, node, { kinds, zoomed }, to = node + 1) {
  if (to - node > 1) {
    const width = end(tree, to - 1) - tree.start[node];
    return `${count(to - node)} small frames, ${share(tree, width, 0)} of all; zoom into what calls them to see them`;
  }
  const words = [...inWords(tree.width[node], tree.head), `${share(tree, tree.width[node], 0)} of all`];
  if (zoomed) words.push(`${share(tree, tree.width[node], zoomed)} of view`);
  if (tree.before) words.push(changed(tree, node));
  words.push(`self ${share(tree, tree.self[node], 0)}`, kinds[tree.name[node]]);
  return [h("strong", nameOf(tree, node)), " · ", words.join(" · ")];
}

function changed(tree, node) {
  const change = tree.after[node] - tree.before[node];
  return signed(inUnit(change, tree.head.unit), change);
}

export function details(tree, node, context) {
  const name = nameOf(tree, node);
  const kind = context.kinds[tree.name[node]];
  const row = (label, ...words) => [h("dt", label), h("dd", words.join(" · "))];
  const facts = [
    row("Total", ...inWords(tree.width[node], tree.head), `${share(tree, tree.width[node], 0)} of all`, ...(context.zoomed ? [`${share(tree, tree.width[node], context.zoomed)} of view`] : [])),
    row("Self", ...inWords(tree.self[node], tree.head), `${share(tree, tree.self[node], 0)} of all`),
    tree.before && row("Before", inUnit(tree.before[node], tree.head.unit)),
    tree.before && row("After", inUnit(tree.after[node], tree.head.unit), changed(tree, node)),
    row("Kind", `${kind}: ${KINDS[kind].says}`),
  ];
  return [
    h("h3", name),
    h("dl", facts.filter(Boolean)),
    h("div.actions",
      button("Zoom", () => context.zoom(node)),
      node > 0 && [
        context.callers && button("Callers", () => context.callers(name)),
        button("Only with it", () => context.key("f", node)),
        button("Hide", () => context.key("x", node)),
      ],
      copyButton(name, "Copy name"),
      copyButton(stack(tree, node).join("\n"), "Copy stack")),
  ];
}
