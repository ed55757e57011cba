//! The constants of a chunk that samples refer to: stacks, methods, classes, and what they are called.
//!
//! Pools stand behind the events that use them, a type may come several times in one and in several, and keys are any 64
//! bits. Called by [`super::read`].

use std::borrow::Cow;
use std::collections::HashMap;

use super::JfrError;
use super::cursor::{Cursor, Text};
use super::metadata::{Types, Value};

type Pool<V> = HashMap<u64, V, ahash::RandomState>;

/// A method.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Method {
    /// Key of its class.
    pub(super) class: u64,
    /// Key of its name.
    pub(super) name: u64,
}

/// A frame of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    /// Key of its method.
    pub(super) method: u64,
    /// Key of its type.
    pub(super) kind: u64,
}

/// A stack, the innermost frame first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stack<'a> {
    pub(super) frames: &'a [Frame],
    /// It was deeper than the recorder takes them.
    pub(super) truncated: bool,
}

/// A thread, as the system and as Java has it; of threads of the JVM Java has none.
#[derive(Debug, Clone, Copy)]
struct Thread<'a> {
    system_name: Text<'a>,
    system_id: u64,
    java_name: Text<'a>,
}

/// The pools of one chunk.
#[derive(Debug, Default)]
pub(super) struct Pools<'a> {
    strings: Pool<Text<'a>>,
    symbols: Pool<Text<'a>>,
    classes: Pool<u64>,
    methods: Pool<Method>,
    frame_types: Pool<Text<'a>>,
    thread_states: Pool<Text<'a>>,
    threads: Pool<Thread<'a>>,
    stacks: Pool<(std::ops::Range<usize>, bool)>,
    frames: Vec<Frame>,
}

impl<'a> Pools<'a> {
    /// Takes the constants of a checkpoint, whose event has this content.
    pub(super) fn read(&mut self, mut cursor: Cursor<'a>, types: &Types) -> Result<(), JfrError> {
        // Start, duration, where the checkpoint before this one is.
        for _ in 0..3 {
            cursor.long()?;
        }
        // What kind of checkpoint it is.
        cursor.byte()?;
        for _ in 0..cursor.count()? {
            self.pool(&mut cursor, types)?;
        }
        Ok(())
    }

    fn pool(&mut self, cursor: &mut Cursor<'a>, types: &Types) -> Result<(), JfrError> {
        let id = cursor.long()?;
        let name = types.get(id).ok_or(JfrError::UnknownType(id))?.name.as_str();
        for _ in 0..cursor.count()? {
            let key = cursor.long()?;
            match name {
                "jdk.types.StackTrace" => self.stack(cursor, (types, id), key)?,
                "jdk.types.Method" => {
                    let mut method = Method::default();
                    types.value(cursor, id, |field, value| match (field, value) {
                        ("type", Value::Number(class)) => method.class = class,
                        ("name", Value::Number(name)) => method.name = name,
                        _ => {}
                    })?;
                    self.methods.insert(key, method);
                }
                "java.lang.Thread" => {
                    let mut thread = Thread {
                        system_name: Text::Empty,
                        system_id: 0,
                        java_name: Text::Empty,
                    };
                    types.value(cursor, id, |field, value| match (field, value) {
                        ("osName", Value::Text(name)) => thread.system_name = name,
                        ("osThreadId", Value::Number(id)) => thread.system_id = id,
                        ("javaName", Value::Text(name)) => thread.java_name = name,
                        _ => {}
                    })?;
                    self.threads.insert(key, thread);
                }
                "java.lang.Class" => {
                    let mut class = 0;
                    types.value(cursor, id, |field, value| {
                        if let ("name", Value::Number(name)) = (field, value) {
                            class = name;
                        }
                    })?;
                    self.classes.insert(key, class);
                }
                "jdk.types.Symbol" => put_text(&mut self.symbols, key, cursor, (types, id))?,
                "java.lang.String" => put_text(&mut self.strings, key, cursor, (types, id))?,
                "jdk.types.FrameType" => put_text(&mut self.frame_types, key, cursor, (types, id))?,
                "jdk.types.ThreadState" => put_text(&mut self.thread_states, key, cursor, (types, id))?,
                _ => types.value(cursor, id, |_, _| {})?,
            }
        }
        Ok(())
    }

    fn stack(&mut self, cursor: &mut Cursor<'a>, (types, id): (&Types, u64), key: u64) -> Result<(), JfrError> {
        let of = types.get(id).ok_or(JfrError::UnknownType(id))?;
        let start = self.frames.len();
        let mut truncated = false;
        for field in &of.fields {
            if field.name == "frames" && field.is_array_of_structures() {
                types.elements(cursor, field, |cursor, of| {
                    let mut frame = Frame { method: 0, kind: 0 };
                    for field in &of.fields {
                        match (field.name.as_str(), types.field(cursor, field)?) {
                            ("method", Value::Number(method)) => frame.method = method,
                            ("type", Value::Number(kind)) => frame.kind = kind,
                            _ => {}
                        }
                    }
                    self.frames.push(frame);
                    Ok(())
                })?;
            } else if let (Value::Number(flag), "truncated") = (types.field(cursor, field)?, field.name.as_str()) {
                truncated = flag != 0;
            }
        }
        self.stacks.insert(key, (start..self.frames.len(), truncated));
        Ok(())
    }

    /// The stack of that key.
    pub(super) fn stack_of(&self, key: u64) -> Option<Stack<'_>> {
        let (frames, truncated) = self.stacks.get(&key)?;
        Some(Stack {
            frames: self.frames.get(frames.clone())?,
            truncated: *truncated,
        })
    }

    /// The method of that key.
    pub(super) fn method(&self, key: u64) -> Option<Method> {
        self.methods.get(&key).copied()
    }

    /// The name of the class of that key, as the class file has it; empty if it has none.
    pub(super) fn class_name(&self, key: u64) -> Cow<'a, str> {
        self.classes
            .get(&key)
            .map_or_else(Cow::default, |name| self.symbol(*name))
    }

    /// The symbol of that key.
    pub(super) fn symbol(&self, key: u64) -> Cow<'a, str> {
        self.text(self.symbols.get(&key))
    }

    /// The string of that key.
    pub(super) fn string(&self, key: u64) -> Cow<'a, str> {
        self.text(self.strings.get(&key))
    }

    /// What the type of a frame is called.
    pub(super) fn frame_type(&self, key: u64) -> Cow<'a, str> {
        self.text(self.frame_types.get(&key))
    }

    /// What the state of a thread is called.
    pub(super) fn thread_state(&self, key: u64) -> Cow<'a, str> {
        self.text(self.thread_states.get(&key))
    }

    /// The name of a thread, empty if it has none, and its number.
    pub(super) fn thread(&self, key: u64) -> (Cow<'a, str>, i64) {
        let Some(thread) = self.threads.get(&key) else {
            return (Cow::default(), i64::try_from(key).unwrap_or_default());
        };
        let java = self.text(Some(&thread.java_name));
        let name = match java.is_empty() {
            true => self.text(Some(&thread.system_name)),
            false => java,
        };
        (name, i64::try_from(thread.system_id).unwrap_or_default())
    }

    /// True if there is a type of frames of that name.
    pub(super) fn has_frame_type(&self, name: &str) -> bool {
        self.frame_types.keys().any(|key| self.frame_type(*key) == name)
    }

    fn text(&self, text: Option<&Text<'a>>) -> Cow<'a, str> {
        match text {
            // A string of the pool is none that is somewhere else.
            Some(Text::Pooled(key)) => self.strings.get(key).map_or_else(Cow::default, |text| text.decode()),
            Some(text) => text.decode(),
            None => Cow::default(),
        }
    }
}

/// A constant that is no more than a text, by itself or as the only field.
fn put_text<'a>(
    pool: &mut Pool<Text<'a>>,
    key: u64,
    cursor: &mut Cursor<'a>,
    (types, id): (&Types, u64),
) -> Result<(), JfrError> {
    types.value(cursor, id, |_, value| {
        if let Value::Text(text) = value {
            pool.insert(key, text);
        }
    })
}
