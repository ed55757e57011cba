#!/usr/bin/env node
// Prints the CycloneDX bill of materials of an image: the crates in its binary, and async-profiler in the sidecar's.
//
//   bill-of-materials.mjs CARGO_CYCLONEDX FOLDER TRIPLE [libasyncProfiler.so VERSION]
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { resolve } from "node:path";

const [tool, folder, triple, library, version] = process.argv.slice(2);

// The tool only writes beside the manifests, and it does so for every member of the workspace.
const name = `bill-of-materials-${process.pid}`;
execFileSync(tool, [
  "cyclonedx", "--quiet", "--manifest-path", `${folder}/Cargo.toml`, "--format", "json", "--spec-version", "1.5",
  "--target", triple, "--no-build-deps", "--override-filename", name,
], { stdio: ["ignore", 2, 2] });
const text = readFileSync(`${folder}/${name}.json`, "utf8");
for (const member of ["sidecar", "webhook", "tests", "tests/fuzz"]) {
  rmSync(`${member}/${name}.json`, { force: true });
}

// Paths of the machine that builds are nobody's business, and would make every build another one.
const bill = JSON.parse(text.replaceAll(`path+file://${resolve(".")}/`, "path+file:///"));
if (library) {
  const component = {
    type: "library",
    "bom-ref": `pkg:maven/tools.profiler/async-profiler@${version}`,
    name: "async-profiler",
    version,
    scope: "required",
    hashes: [{ alg: "SHA-256", content: createHash("sha256").update(readFileSync(library)).digest("hex") }],
    licenses: [{ license: { id: "Apache-2.0" } }],
    purl: `pkg:maven/tools.profiler/async-profiler@${version}`,
  };
  bill.components.push(component);
  bill.dependencies.push({ ref: component["bom-ref"] });
  bill.dependencies.find(({ ref }) => ref === bill.metadata.component["bom-ref"]).dependsOn.push(component["bom-ref"]);
}
console.log(JSON.stringify(bill, null, 1));
