//! The messages of `profile.proto`, typed by hand: there are seven, frozen for years, and no build needs protoc for them.
//!
//! Strings are indexes into the string table, ids are non-zero and not dense. The message `Profile` itself is missing: the
//! reader and the writer take it field by field, so that neither holds the whole of it.

/// Field numbers of `perftools.profiles.Profile`.
pub mod field {
    #![expect(missing_docs, reason = "they are the names of profile.proto")]
    pub const SAMPLE_TYPE: u32 = 1;
    pub const SAMPLE: u32 = 2;
    pub const MAPPING: u32 = 3;
    pub const LOCATION: u32 = 4;
    pub const FUNCTION: u32 = 5;
    pub const STRING_TABLE: u32 = 6;
    pub const DROP_FRAMES: u32 = 7;
    pub const KEEP_FRAMES: u32 = 8;
    pub const TIME_NANOS: u32 = 9;
    pub const DURATION_NANOS: u32 = 10;
    pub const PERIOD_TYPE: u32 = 11;
    pub const PERIOD: u32 = 12;
    pub const COMMENT: u32 = 13;
    pub const DEFAULT_SAMPLE_TYPE: u32 = 14;
    pub const DOC_URL: u32 = 15;
    /// Of ours: see [`super::super::moments`].
    pub const THREAD: u32 = 1000;
}

/// What a value measures.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ValueType {
    /// `type`.
    #[prost(int64, tag = "1")]
    pub kind: i64,
    /// `unit`.
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// A stack and its values.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    /// Leaf first.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// One per sample type.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    /// Labels.
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
    /// Of ours: see [`super::moments`].
    #[prost(uint64, repeated, tag = "1000")]
    pub moments: Vec<u64>,
}

/// The name of a thread. Of ours: see [`super::moments`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Thread {
    /// The kernel's number of it.
    #[prost(int64, tag = "1")]
    pub tid: i64,
    /// Name.
    #[prost(int64, tag = "2")]
    pub name: i64,
}

/// A label: text or a number.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Label {
    /// Key.
    #[prost(int64, tag = "1")]
    pub key: i64,
    /// Text, 0 if it is a number.
    #[prost(int64, tag = "2")]
    pub str: i64,
    /// Number.
    #[prost(int64, tag = "3")]
    pub num: i64,
    /// Unit of the number.
    #[prost(int64, tag = "4")]
    pub num_unit: i64,
}

/// A mapped file.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Mapping {
    /// Id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// First address.
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    /// First address behind it.
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    /// Offset in the file.
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    /// File.
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// Build id.
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    /// Functions are symbolised.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    /// So are files.
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    /// So are lines.
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    /// So are inlined functions.
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

/// A frame of machine code.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Location {
    /// Id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Mapping, 0 for none.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// Program counter.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// Innermost inlined function first.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
    /// Symbols were folded.
    #[prost(bool, tag = "5")]
    pub is_folded: bool,
}

/// A place in a function.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Line {
    /// Function.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    /// Line.
    #[prost(int64, tag = "2")]
    pub line: i64,
    /// Column.
    #[prost(int64, tag = "3")]
    pub column: i64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Function {
    /// Id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Name for people.
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// Name for the linker.
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    /// File.
    #[prost(int64, tag = "4")]
    pub filename: i64,
    /// Line where it begins.
    #[prost(int64, tag = "5")]
    pub start_line: i64,
}
