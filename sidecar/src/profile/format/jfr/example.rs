//! JFRs of a few events, written by hand. For tests and fuzz targets.

/// The constants of a type, each with its key.
type Pool<'a> = (u64, &'a [(u64, Vec<u8>)]);

/// A type: id, name, and the name, the type and the kind of each field.
pub(crate) type Described<'a> = (u64, &'static str, &'a [(&'static str, u64, &'static str)]);

/// All that is understood.
pub fn everything() -> Vec<u8> {
    chunk(&[
        setting("event", "cpu-clock"),
        setting("interval", "20000000"),
        setting("alloc", "1000"),
        cpu(STACK),
        cpu(OTHER_STACK),
        cpu(STACK),
        event(101, &numbers(&[1, STACK, SLEEPING])),
        event(102, &numbers(&[STACK, CLASS, 16, 1000])),
        event(102, &numbers(&[STACK, CLASS, 5000, 5000])),
        event(104, &numbers(&[250, STACK, 0])),
        event(118, &numbers(&[STACK, CLASS, 1_000_000])),
        pools(),
    ])
}

/// With something to blank.
pub fn secret() -> Vec<u8> {
    chunk(&[
        setting("event", "cpu-clock"),
        property("password", "hunter2"),
        cpu(STACK),
        property("colour", ""),
        pools(),
    ])
}

/// A chunk whose events may be [`malloc`] and [`free`], too.
pub(crate) fn native(events: &[Vec<u8>]) -> Vec<u8> {
    let allocated = [
        ("startTime", 11, ""),
        ("address", 11, ""),
        ("size", 11, ""),
        ("stackTrace", 26, "pool"),
    ];
    let freed = [("startTime", 11, ""), ("address", 11, "")];
    let own: [Described<'_>; 2] = [(120, "profiler.Malloc", &allocated), (121, "profiler.Free", &freed)];
    chunk_of(&metadata(&[TYPES, &own].concat()), events)
}

/// Native memory that is asked for.
pub(crate) fn malloc(time: u64, address: u64, size: u64, stack: u64) -> Vec<u8> {
    event(120, &numbers(&[time, address, size, stack]))
}

/// Native memory that is given back.
pub(crate) fn free(time: u64, address: u64) -> Vec<u8> {
    event(121, &numbers(&[time, address]))
}

/// With something that leaks.
pub fn leaking() -> Vec<u8> {
    native(&[
        setting("nativemem", "100"),
        free(20, 1),
        malloc(10, 1, 64, STACK),
        malloc(11, 2, 200, OTHER_STACK),
        free(1000, 9),
        pools(),
    ])
}

/// With samples of two threads, of which one says what it is doing: `/cart` from 10 to 20, within it `/price` from 12 to 14.
pub fn spanned() -> Vec<u8> {
    let sampled = [
        ("startTime", 11, ""),
        ("sampledThread", 11, ""),
        ("stackTrace", 26, "pool"),
        ("state", 25, "pool"),
    ];
    let span = [
        ("startTime", 11, ""),
        ("duration", 11, ""),
        ("eventThread", 11, ""),
        ("tag", 20, "pool"),
    ];
    let mut types: Vec<Described<'_>> = TYPES.to_vec();
    types.retain(|(id, ..)| *id != 101);
    types.extend([
        (101, "jdk.ExecutionSample", sampled.as_slice()),
        (123, "profiler.Span", span.as_slice()),
    ]);
    let times = [9, 10, 11, 12, 13, 14, 20].map(|time| event(101, &numbers(&[time, 7, STACK, DEFAULT])));
    let rest = [
        event(101, &numbers(&[13, 8, STACK, DEFAULT])),
        event(123, &numbers(&[12, 2, 7, 2])),
        event(123, &numbers(&[10, 10, 7, 1])),
        event(123, &numbers(&[0, 30, 7, 0])),
        pools(),
        checkpoint(&[(20, &[(1, text("/cart")), (2, text("/price"))])]),
    ];
    chunk_of(&metadata(&types), &[&times[..], &rest].concat())
}

/// Ids of types, as async-profiler has them.
pub(crate) const TYPES: &[Described<'static>] = &[
    (4, "boolean", &[]),
    (10, "int", &[]),
    (11, "long", &[]),
    (20, "java.lang.String", &[]),
    (21, "java.lang.Class", &[("name", 31, "pool")]),
    (24, "jdk.types.FrameType", &[("description", 20, "")]),
    (25, "jdk.types.ThreadState", &[("name", 20, "")]),
    (
        26,
        "jdk.types.StackTrace",
        &[("truncated", 4, ""), ("frames", 27, "array")],
    ),
    (
        27,
        "jdk.types.StackFrame",
        &[("method", 28, "pool"), ("lineNumber", 10, ""), ("type", 24, "pool")],
    ),
    (
        28,
        "jdk.types.Method",
        &[("type", 21, "pool"), ("name", 31, "pool"), ("hidden", 4, "")],
    ),
    (31, "jdk.types.Symbol", &[("string", 20, "")]),
    (
        101,
        "jdk.ExecutionSample",
        &[("startTime", 11, ""), ("stackTrace", 26, "pool"), ("state", 25, "pool")],
    ),
    (
        102,
        "jdk.ObjectAllocationInNewTLAB",
        &[
            ("stackTrace", 26, "pool"),
            ("objectClass", 21, "pool"),
            ("allocationSize", 11, ""),
            ("tlabSize", 11, ""),
        ],
    ),
    (
        104,
        "jdk.JavaMonitorEnter",
        &[
            ("duration", 11, ""),
            ("stackTrace", 26, "pool"),
            ("monitorClass", 21, "pool"),
        ],
    ),
    (
        108,
        "jdk.ActiveSetting",
        &[("id", 11, ""), ("name", 20, ""), ("value", 20, "")],
    ),
    (
        118,
        "profiler.LiveObject",
        &[
            ("stackTrace", 26, "pool"),
            ("objectClass", 21, "pool"),
            ("allocationSize", 11, ""),
        ],
    ),
    (
        119,
        "jdk.InitialSystemProperty",
        &[("startTime", 11, ""), ("key", 20, ""), ("value", 20, "")],
    ),
];

pub(crate) fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 && bytes.len() < 8 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

pub(crate) fn numbers(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| number(*value)).collect()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [&[3], number(text.len() as u64).as_slice(), text.as_bytes()].concat()
}

/// An event with its size.
pub(crate) fn event(id: u64, content: &[u8]) -> Vec<u8> {
    let body = [number(id).as_slice(), content].concat();
    let size = body.len() as u64 + 1;
    match size {
        0..0x80 => [number(size).as_slice(), &body].concat(),
        _ => [number(size + 1).as_slice(), &body].concat(),
    }
}

/// The event that describes `types`.
pub(crate) fn metadata(types: &[Described<'_>]) -> Vec<u8> {
    let mut strings: Vec<String> = Vec::new();
    let mut index = |text: &str| {
        let known = strings.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            strings.push(text.to_owned());
            strings.len() - 1
        }) as u64
    };
    let mut element = |name: &str, attributes: &[(&str, String)], children: &[Vec<u8>]| {
        let mut bytes = numbers(&[index(name), attributes.len() as u64]);
        for (key, value) in attributes {
            bytes.extend(numbers(&[index(key), index(value)]));
        }
        bytes.extend(number(children.len() as u64));
        bytes.extend(children.concat());
        bytes
    };
    let mut classes = Vec::new();
    for (id, name, fields) in types {
        let mut children = Vec::new();
        for (name, class, how) in *fields {
            let mut attributes = vec![("name", (*name).to_owned()), ("class", class.to_string())];
            match *how {
                "pool" => attributes.push(("constantPool", "true".to_owned())),
                "array" => attributes.push(("dimension", "1".to_owned())),
                _ => {}
            }
            children.push(element("field", &attributes, &[]));
        }
        let attributes = [("id", id.to_string()), ("name", (*name).to_owned())];
        classes.push(element("class", &attributes, &children));
    }
    let all = element("metadata", &[], &classes);
    let root = element("root", &[], &[all]);
    let mut content = numbers(&[0, 0, 1, strings.len() as u64]);
    content.extend(strings.iter().flat_map(|string| text(string)));
    content.extend(root);
    event(0, &content)
}

/// A checkpoint of these pools: type, constants with their keys.
pub(crate) fn checkpoint(pools: &[Pool<'_>]) -> Vec<u8> {
    let mut content = numbers(&[0, 0, 0]);
    content.push(1);
    content.extend(number(pools.len() as u64));
    for (id, constants) in pools {
        content.extend(numbers(&[*id, constants.len() as u64]));
        for (key, value) in *constants {
            content.extend(number(*key));
            content.extend(value);
        }
    }
    event(1, &content)
}

/// A chunk of these types and events, whose clock ticks a thousand times a second.
pub(crate) fn chunk_of(metadata: &[u8], events: &[Vec<u8>]) -> Vec<u8> {
    let body = [metadata, &events.concat()].concat();
    let mut chunk = b"FLR\0\0\x02\0\0".to_vec();
    for field in [68 + body.len() as u64, 68, 68, 5_000_000_000, 1_000_000_000, 0, 1000] {
        chunk.extend(field.to_be_bytes());
    }
    chunk.extend([0, 0, 0, 1]);
    chunk.extend(body);
    chunk
}

pub(crate) fn chunk(events: &[Vec<u8>]) -> Vec<u8> {
    chunk_of(&metadata(TYPES), events)
}

pub(crate) const STACK: u64 = 7;
pub(crate) const OTHER_STACK: u64 = u64::MAX - 15;
pub(crate) const CLASS: u64 = 3;
pub(crate) const DEFAULT: u64 = 0;
pub(crate) const SLEEPING: u64 = 2;

/// `main → work` as [`STACK`]; `[no_Java_frame]` that was cut as [`OTHER_STACK`].
pub(crate) fn pools() -> Vec<u8> {
    let stack = |truncated: u64, frames: &[[u64; 3]]| {
        let head = numbers(&[truncated, frames.len() as u64]);
        [head, numbers(&frames.concat())].concat()
    };
    let kinds = [
        "Interpreted",
        "JIT compiled",
        "Inlined",
        "Native",
        "C++",
        "Kernel",
        "C1 compiled",
    ];
    let kinds: Vec<_> = (0..).zip(kinds).map(|(key, name)| (key, text(name))).collect();
    checkpoint(&[
        (24, &kinds),
        (
            25,
            &[(DEFAULT, text("STATE_DEFAULT")), (SLEEPING, text("STATE_SLEEPING"))],
        ),
        (
            26,
            &[
                (STACK, stack(0, &[[2, 12, 1], [1, 0, 0]])),
                (OTHER_STACK, stack(1, &[[3, 0, 3]])),
            ],
        ),
        (
            28,
            &[
                (1, numbers(&[1, 1, 0])),
                (2, numbers(&[1, 2, 0])),
                (3, numbers(&[2, 3, 0])),
            ],
        ),
        (21, &[(1, number(4)), (2, number(5)), (CLASS, number(6))]),
        (
            31,
            &[
                (1, text("main")),
                (2, text("work")),
                (3, text("no_Java_frame")),
                (4, text("demo/shop/Split")),
                (5, text("")),
                (6, text("[Ldemo/shop/Cart;")),
            ],
        ),
    ])
}

pub(crate) fn cpu(stack: u64) -> Vec<u8> {
    event(101, &numbers(&[1, stack, DEFAULT]))
}

/// A property of the system.
pub(crate) fn property(key: &str, value: &str) -> Vec<u8> {
    event(119, &[number(1), text(key), text(value)].concat())
}

pub(crate) fn setting(name: &str, value: &str) -> Vec<u8> {
    event(108, &[number(101), text(name), text(value)].concat())
}
