#!/usr/bin/env python3
"""Compares `sideflame diff` with what this file computes by itself, over random pairs of collapsed files.

check_diff.py SIDEFLAME PAIRS SEED

It shares no code with the product: it reads the files it has written, adds up by stack and by function, scales, names noise by
2 sqrt(a + b), and holds every number against `-o collapsed` and `-o top.json`.
"""

import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

NAMES = ["main", "a", "b", "c.d", "e::f", "g h", "größe", "x", "y", "z"]
THREADS = ["[pool tid=7]", "[main tid=1]"]


def random_stack(rng):
    frames = [rng.choice(NAMES) + rng.choice(["", "", "", "_[j]", "_[i]"]) for _ in range(rng.randint(1, 6))]
    return ([rng.choice(THREADS)] if rng.random() < 0.2 else []) + frames


def random_text(rng, stacks):
    count = rng.choice([0, 1, 5, 40]) if rng.random() < 0.3 else rng.randint(1, 30)
    most = rng.choice([3, 100, 5_000, 1_000_000])
    lines = [(rng.choice(stacks), rng.randint(1, most)) for _ in range(count)]
    return "".join(f"{';'.join(stack)} {value}\n" for stack, value in lines)


def parsed(text):
    """Value by stack; what async-profiler says of how a frame runs is no part of its name."""
    stacks = {}
    for line in text.splitlines():
        frames, value = line.rsplit(" ", 1)
        stack = tuple(re.sub(r"_\[[jik]\]$", "", frame) for frame in frames.split(";"))
        stacks[stack] = stacks.get(stack, 0) + int(value)
    return stacks


def by_function(stacks):
    """(total, own) by name: of a stack each name once, and threads are no functions."""
    sums = {}
    for stack, value in stacks.items():
        functions = [frame for frame in stack if not re.fullmatch(r"\[.*tid=\d+\]", frame)]
        for name in set(functions):
            total, own = sums.get(name, (0, 0))
            sums[name] = (total + value, own + (value if stack[-1] == name else 0))
    return sums


def close(one, other):
    return abs(one - other) <= 1e-6 * max(1.0, abs(one), abs(other))


def check(sideflame, folder, seed):
    rng = random.Random(seed)
    pool = [random_stack(rng) for _ in range(rng.randint(1, 25))]
    texts = [random_text(rng, pool), random_text(rng, pool)]
    if rng.random() < 0.05:
        texts[1] = texts[0]
    paths = []
    for name, text in zip("ba", texts):
        paths.append(os.path.join(folder, f"{seed}.{name}.txt"))
        with open(paths[-1], "w", encoding="utf-8") as file:
            file.write(text)
    before, after = map(parsed, texts)
    sums = [sum(stacks.values()) for stacks in (before, after)]
    normalise = rng.choice(["none", "share"])
    factor = sums[1] / sums[0] if normalise == "share" and all(sums) else 1.0

    def run(output):
        command = [sideflame, "diff", *paths, "--input", "collapsed", "--normalise", normalise, "-o", output]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    expected = {}
    for stack in before.keys() | after.keys():
        scaled = math.floor(before.get(stack, 0) * factor + 0.5)
        expected[";".join(stack)] = (scaled, after.get(stack, 0))
    told = {}
    for line in run("collapsed").splitlines():
        stack, one, other = line.rsplit(" ", 2)
        assert stack not in told, f"{stack} is there twice"
        told[stack] = (int(one), int(other))
    assert told == expected, f"stacks: {told} and {expected}"

    table = json.loads(run("top.json"))
    assert [table["before"]["total"], table["after"]["total"]] == sums
    largest = max(sums[1], sums[0] * factor) or 1.0
    unit = largest if normalise == "share" else 1.0
    functions = [by_function(stacks) for stacks in (before, after)]
    names = functions[0].keys() | functions[1].keys()
    assert {row["name"] for row in table["functions"]} == names
    changes = [abs(row["change"]) for row in table["functions"]]
    assert all(one >= other - 1e-9 for one, other in zip(changes, changes[1:])), "not in order"
    for row in table["functions"]:
        (one, own_one), (other, own_other) = (side.get(row["name"], (0, 0)) for side in functions)
        gain = other - one * factor
        noise = 2 * math.sqrt(other + one * factor * factor)
        for key, value in [
            ("before", one * factor),
            ("after", other),
            ("change", gain),
            ("selfBefore", own_one * factor),
            ("selfAfter", own_other),
            ("selfChange", own_other - own_one * factor),
            ("noise", noise),
        ]:
            assert close(row[key] * unit, value), f"{row['name']}: {key} is {row[key] * unit}, not {value}"
        # On the border either word is right.
        if not close(abs(gain), noise) and not close(gain, 0):
            assert row["withinNoise"] == (abs(gain) < noise), row
        elif close(gain, 0):
            assert row["withinNoise"], row
    for path in paths:
        os.remove(path)


def main():
    sideflame, pairs, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {seed + number: pool.submit(check, sideflame, folder, seed + number) for number in range(pairs)}
        failed = {number: run.exception() for number, run in runs.items() if run.exception()}
    for number, error in list(failed.items())[:5]:
        print(f"seed {number}: {error}", file=sys.stderr)
    print(f"{pairs - len(failed)} of {pairs} agree")
    sys.exit(1 if failed else 0)


main()
