#!/usr/bin/env python3
"""An independent reader of heap dumps of JVMs: walks through every record and counts the instances of one class.

    check_hprof.py FILE CLASS     (FILE, or - for the standard input, may be compressed by gzip; CLASS is named as in Java)

Prints JSON: records, classes, instances, arrays, bytes of the file, and of the class its instances and their bytes of fields. Fails where a
record does not add up, an object has no class, or the end is missing.
Source: hprof_b_spec.h of OpenJDK (JAVA PROFILE 1.0.2).
"""

import collections
import gzip
import json
import struct
import sys

STRING, LOAD_CLASS, SEGMENT, WHOLE, END = 0x01, 0x02, 0x1C, 0x0C, 0x2C
CLASS_DUMP, INSTANCE, OBJECTS, PRIMITIVES = 0x20, 0x21, 0x22, 0x23
# Roots: how many ids, and how many numbers of four bytes.
ROOTS = {0xFF: (1, 0), 1: (2, 0), 2: (1, 2), 3: (1, 2), 4: (1, 1), 5: (1, 0), 6: (1, 1), 7: (1, 0), 8: (1, 2)}


class Heap:
    def __init__(self, stream):
        self.stream, self.left = stream, None
        self.total = 0
        self.names, self.classes, self.dumped = {}, {}, set()
        self.instances, self.field_bytes = collections.Counter(), collections.Counter()
        self.counts = collections.Counter()

    def take(self, length):
        """Bytes of the record at hand, or of the file."""
        if self.left is not None:
            if length > self.left:
                sys.exit(f"a record is longer than its segment, at {self.total}")
            self.left -= length
        data = self.stream.read(length)
        if len(data) != length:
            sys.exit(f"cut at {self.total}")
        self.total += length
        return data

    def skip(self, length):
        while length > 0:
            length -= len(self.take(min(length, 1 << 20)))

    def ids(self, count):
        return struct.unpack(f">{count}{'Q' if self.size == 8 else 'I'}", self.take(count * self.size))

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def value_size(self, kind):
        return {2: self.size, 4: 1, 5: 2, 6: 4, 7: 8, 8: 1, 9: 2, 10: 4, 11: 8}[kind]

    def read(self):
        magic = b""
        while not magic.endswith(b"\0"):
            magic += self.take(1)
        if magic != b"JAVA PROFILE 1.0.2\0":
            sys.exit(f"no heap dump: {magic[:40]}")
        self.size = self.number("I")
        self.number("Q")
        ended = False
        while head := self.stream.read(9):
            if len(head) != 9 or ended:
                sys.exit(f"something behind the end, or cut, at {self.total}")
            self.total += 9
            tag, _, self.left = struct.unpack(">BII", head)
            self.counts["records"] += 1
            if tag == STRING:
                (name,) = self.ids(1)
                self.names[name] = self.take(self.left).decode(errors="replace")
            elif tag == LOAD_CLASS:
                self.number("I")
                (of,) = self.ids(1)
                self.number("I")
                (name,) = self.ids(1)
                self.classes[of] = name
            elif tag in (SEGMENT, WHOLE):
                while self.left:
                    self.sub_record()
            elif tag == END:
                ended = True
            self.skip(self.left)
            self.left = None
        if not ended:
            sys.exit("no record ends it")

    def sub_record(self):
        tag = self.take(1)[0]
        if tag == INSTANCE:
            head = self.take(2 * self.size + 8)
            of, length = struct.unpack(">QI" if self.size == 8 else ">II", head[self.size + 4 :])
            self.instances[of] += 1
            self.field_bytes[of] += length
            self.counts["instances"] += 1
            self.skip(length)
        elif tag in (OBJECTS, PRIMITIVES):
            self.ids(1)
            self.number("I")
            length = self.number("I")
            if tag == OBJECTS:
                self.instances[self.ids(1)[0]] += 1
                self.skip(length * self.size)
            else:
                self.skip(length * self.value_size(self.take(1)[0]))
            self.counts["arrays"] += 1
        elif tag == CLASS_DUMP:
            (of,) = self.ids(1)
            self.dumped.add(of)
            self.number("I")
            self.ids(6)
            self.number("I")
            for _ in range(self.number("H")):
                self.number("H")
                self.skip(self.value_size(self.take(1)[0]))
            for _ in range(self.number("H")):
                self.ids(1)
                self.skip(self.value_size(self.take(1)[0]))
            for _ in range(self.number("H")):
                self.ids(1)
                self.take(1)
        elif tag in ROOTS:
            ids, numbers = ROOTS[tag]
            self.take(ids * self.size + 4 * numbers)
        else:
            sys.exit(f"unknown record {tag:#x} at {self.total}")


def main():
    path, wanted = sys.argv[1:]
    with sys.stdin.buffer if path == "-" else open(path, "rb", buffering=1 << 20) as file:
        heap = Heap(gzip.open(file) if file.peek(2).startswith(b"\x1f\x8b") else file)
        heap.read()
    if strangers := [of for of in heap.instances if of not in heap.dumped]:
        sys.exit(f"objects of {len(strangers)} classes that are not there")
    named = [of for of, name in heap.classes.items() if heap.names.get(name, "").replace("/", ".") == wanted]
    print(
        json.dumps(
            {
                **heap.counts,
                "classes": len(heap.dumped),
                "bytes": heap.total,
                "ofClass": sum(heap.instances[of] for of in named),
                "fieldBytes": sum(heap.field_bytes[of] for of in named),
            }
        )
    )


main()
