#!/usr/bin/env node
// Writes the table of values into the chart's README.md from the comments in its values.yaml.
//
//     readme.mjs            rewrites the table
//     readme.mjs --check    fails if it is not current
//
// A value is a key with its default on the same line; its description is the comment right above it. Node has no YAML
// parser: this reads the plain style of that one file and refuses any other.

import { readFileSync, writeFileSync } from "node:fs";

const chart = new URL("sideflame/", import.meta.url);
const begin = "<!-- values: begin (written by charts/readme.mjs) -->\n";
const end = "<!-- values: end -->\n";

function fail(message) {
  console.error(message);
  process.exit(1);
}

function* rows(text) {
  let path = [];
  let comment = [];
  for (const [index, line] of text.split("\n").entries()) {
    const content = line.trim();
    const value = /^((?:  )*)([A-Za-z]+):(?: (.+))?$/.exec(line);
    if (content === "") {
      comment = [];
    } else if (content.startsWith("#")) {
      comment.push(content.slice(1).trim());
    } else if (value) {
      const [, indent, key, preset] = value;
      path = [...path.slice(0, indent.length / 2), key];
      if (preset !== undefined) {
        if (comment.length === 0) fail(`values.yaml:${index + 1}: ${key} has no comment`);
        yield [path.join("."), preset, comment.join(" ")];
        comment = [];
      }
    } else {
      fail(`values.yaml:${index + 1}: cannot read ${JSON.stringify(content)}`);
    }
  }
}

function table(text) {
  const cell = (value) => value.replaceAll("|", "\\|");
  const lines = [...rows(text)].map(([name, preset, what]) => `| \`${name}\` | \`${cell(preset)}\` | ${cell(what)} |\n`);
  return ["| value | default | what it is |\n", "|---|---|---|\n", ...lines].join("");
}

const readme = new URL("README.md", chart);
const old = readFileSync(readme, "utf8");
const [before, rest] = old.split(begin);
const after = rest.split(end)[1];
const current = before + begin + table(readFileSync(new URL("values.yaml", chart), "utf8")) + end + after;
if (!process.argv.includes("--check")) {
  writeFileSync(readme, current);
} else if (current !== old) {
  fail("charts/sideflame/README.md is not current: run `make fmt`");
}
