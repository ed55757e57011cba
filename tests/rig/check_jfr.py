#!/usr/bin/env python3
"""Compares what `sideflame render` makes of a JFR with what the JDK's own reader says of it.

check_jfr.py SIDEFLAME JFR FILE

JFR is the JDK's `jfr`, which shares nothing with ours. For each kind of sample, the number of events, the value of each stack, the
same for ranges of time, and the same by thread must be equal. Prints a line per kind: its name, events and stacks.
"""

import collections
import datetime
import json
import random
import re
import struct
import subprocess
import sys

# What each event is a sample of, and the field that has its value.
EVENTS = {
    "jdk.ExecutionSample": ("cpu", None),
    "jdk.CPUTimeSample": ("cpu", None),
    "profiler.WallClockSample": ("wall", "samples"),
    "jdk.ObjectAllocationInNewTLAB": ("alloc", "tlabSize"),
    "jdk.ObjectAllocationOutsideTLAB": ("alloc", "allocationSize"),
    "jdk.ObjectAllocationSample": ("alloc", "weight"),
    "jdk.JavaMonitorEnter": ("lock", "duration"),
    "jdk.ThreadPark": ("lock", "duration"),
}
# What says the same better.
SAME = {
    "jdk.ExecutionSample": {"jdk.CPUTimeSample"},
    "jdk.ObjectAllocationSample": {"jdk.ObjectAllocationInNewTLAB", "jdk.ObjectAllocationOutsideTLAB"},
}
CLASSES = ("objectClass", "monitorClass", "parkedClass")
# Deeper than any stack that is recorded.
DEPTH = "10000"
PRIMITIVES = dict(zip("BCIJSZFD", ["byte", "char", "int", "long", "short", "boolean", "float", "double"]))
RANGES = 8

Event = collections.namedtuple("Event", "nanos stack value thread")


def chunks(path):
    """The first nanosecond of a recording and what it is long, by the heads of its chunks."""
    first, last = None, 0
    with open(path, "rb") as file:
        while head := file.read(68):
            size, _, _, start, duration = struct.unpack(">5q", head[8:48])
            first = start if first is None else min(first, start)
            last = max(last, start + duration)
            file.seek(size - 68, 1)
    return first, last - first


def nanos(text):
    """Nanoseconds after the Unix epoch of a moment of ISO 8601."""
    day, fraction, zone = re.fullmatch(r"(.+T[\d:]{8}|.+T[\d:]{5})(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text).groups()
    moment = datetime.datetime.fromisoformat(day + zone.replace("Z", "+00:00"))
    return int(moment.timestamp()) * 10**9 + int((fraction or "0").ljust(9, "0")[:9])


def lasted(text):
    """Nanoseconds of a duration of ISO 8601."""
    hours, minutes, seconds, fraction = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d+))?S)?", text).groups()
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * 10**9 + int((fraction or "0").ljust(9, "0"))


def class_name(symbol):
    element = symbol.lstrip("[")
    dimensions = len(symbol) - len(element)
    if dimensions:
        element = PRIMITIVES.get(element) or element.removeprefix("L").removesuffix(";")
    return re.sub(r"/(?!\d)", ".", element) + "[]" * dimensions


def frame_name(frame, native_is_c):
    method = frame["method"]
    if method is None:
        return "[unknown]"
    symbol, name = (method["type"] or {}).get("name") or "", method["name"] or ""
    if frame["type"] == "Kernel" or native_is_c and frame["type"] in ("Native", "C++"):
        return name
    return ".".join(part for part in (class_name(symbol), name) if part)


def stack_of(values, by_async_profiler):
    trace = values["stackTrace"]
    if trace is None:
        frames = ["[unknown]"]
    else:
        frames = [frame_name(frame, by_async_profiler) for frame in trace["frames"]]
        frames += ["[truncated]"] if trace["truncated"] else []
    classes = [class_name(values[name]["name"]) for name in CLASSES if values.get(name)]
    return tuple(reversed(classes + frames))


def thread_of(values):
    thread = values.get("sampledThread") or values.get("eventThread")
    if thread is None:
        return None
    return thread["javaName"] or thread["osName"], thread["osThreadId"]


def events_of(tool, path):
    """Events by what they are samples of."""
    command = [tool, "print", "--json", "--stack-depth", DEPTH, "--events", ",".join(EVENTS), path]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    with open(path, "rb") as file:
        by_async_profiler = b"profiler.WallClockSample" in file.read()
    kinds = collections.defaultdict(list)
    there = {event["type"] for event in printed["recording"]["events"]}
    for event in printed["recording"]["events"]:
        kind, field = EVENTS[event["type"]]
        values = event["values"]
        # Each allocates the same bytes, each runs for the same time: the JDK's settings may ask for both.
        if there & SAME.get(event["type"], set()):
            continue
        if event["type"] == "jdk.ThreadPark" and not by_async_profiler:
            continue
        if by_async_profiler and kind == "cpu" and values["state"] != "STATE_DEFAULT":
            kind = "wall"
        value = values[field] if field else 1
        value = lasted(value) if field == "duration" else value
        kinds[kind].append(Event(nanos(values["startTime"]), stack_of(values, by_async_profiler), value, thread_of(values)))
    return kinds


def summed(events, root=lambda event: ()):
    sums = collections.Counter()
    for event in events:
        sums[root(event) + event.stack] += event.value
    return sums


def rendered(sideflame, path, kind, *flags):
    names = ["--sample-type", "samples"] if kind in ("cpu", "wall") else []
    command = [sideflame, "render", path, "--input", "jfr", "--event", kind, "--names", "raw", "-f", "-", *names, *flags]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


def collapsed(sideflame, path, kind, *flags):
    sums = collections.Counter()
    for line in rendered(sideflame, path, kind, "-o", "collapsed", *flags).splitlines():
        stack, value = line.rsplit(" ", 1)
        sums[tuple(stack.split(";"))] += int(value)
    return sums


def plain(sums):
    """Without what only one of the two says: the brackets that we, as async-profiler does in its texts, put around what is no function,
    and letters beyond the first plane, whose halves the JDK's reader takes for no letters."""

    def frame(name):
        return re.sub("[\U00010000-\U0010ffff]", "\ufffd\ufffd", re.sub(r"^\[(.*)\]$", r"\1", name))

    plain_sums = collections.Counter()
    for stack, value in sums.items():
        plain_sums[tuple(map(frame, stack))] += value
    return plain_sums


def agree(what, ours, theirs, events, kind):
    ours, theirs = plain(ours), plain(theirs)
    # The JDK rounds each wait, we the sum of a stack, or of its part in a chunk.
    slack = plain(collections.Counter(event.stack for event in events)) if kind == "lock" else {}
    for stack in ours.keys() | theirs.keys():
        one, other = ours.get(stack), theirs.get(stack)
        most = max((slack.get(stack[start:], 0) for start in (0, 1)), default=0)
        # A wait of no time has a stack all the same.
        if one == other or abs((one or 0) - (other or 0)) <= most:
            continue
        raise AssertionError(f"{what}: {one} and for the JDK {other} of {';'.join(stack)}")


def check(sideflame, path, kind, events, span):
    first, length = span
    table = json.loads(rendered(sideflame, path, kind, "-o", "top.json"))
    # One event of the wall clock may be many samples.
    count = sum(event.value for event in events) if kind == "wall" else len(events)
    assert table["quality"]["samples"] == count, f"{kind}: {table['quality']['samples']} of {count} samples"
    whole = collapsed(sideflame, path, kind)
    agree(kind, whole, summed(events), events, kind)

    random.seed(len(events))
    inside = 0
    for _ in range(RANGES):
        begin, end = sorted(random.sample(range(length // 10**6 + 2), 2))
        flags = ["--from", f"{begin / 1000:.3f}", "--to", f"{end / 1000:.3f}"]
        border = [first + begin * 10**6, first + end * 10**6]
        # The JDK counts nanoseconds as numbers with a point: what is beside a border may be on either side of it.
        if any(abs(event.nanos - at) < 1000 for event in events for at in border):
            continue
        part = [event for event in events if border[0] <= event.nanos < border[1]]
        inside += len(part)
        agree(f"{kind} {' '.join(flags)}", collapsed(sideflame, path, kind, *flags), summed(part), part, kind)
    assert inside, f"{kind}: no event in any of {RANGES} ranges"

    by_name = summed(events, lambda event: (f"[{event.thread[0]}]",))
    agree(f"{kind} by name", collapsed(sideflame, path, kind, "--by", "thread-name"), by_name, events, kind)
    by_thread = summed(events, lambda event: (f"[{event.thread[0]} tid={event.thread[1]}]",))
    agree(f"{kind} by thread", collapsed(sideflame, path, kind, "--by", "thread"), by_thread, events, kind)
    print(kind, len(events), len(whole))


def main():
    sideflame, tool, path = sys.argv[1:]
    kinds = events_of(tool, path)
    span = chunks(path)
    for kind, events in sorted(kinds.items()):
        check(sideflame, path, kind, events, span)


main()
