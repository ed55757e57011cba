//! Files a user can ask for, and the native files they are rendered from. Knows no runtime.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Flame graph for a browser.
    Svg,
    /// One line per stack, root first, `;` between frames, count last.
    Collapsed,
    /// Gzipped `profile.proto`.
    Pprof,
    /// speedscope's JSON.
    Speedscope,
    /// What each function took itself and in all, as a table.
    Top,
    /// The same for programs.
    #[serde(rename = "top.json")]
    TopJson,
    /// The tree of a flame graph as columns, for a page that only draws it.
    Flame,
    /// How much there was in each interval of the capture.
    Timeline,
    /// Java Flight Recorder file.
    Jfr,
    /// EventPipe stream of .NET.
    Nettrace,
    /// Go execution trace.
    Trace,
    /// The runtime's own text, or a table, for people.
    Text,
    /// The threads or the heap of a moment, or counters, for programs.
    Json,
    /// Counters, a line of JSON for each value.
    Jsonl,
    /// Core file, of ELF.
    Dump,
    /// Heap dump of a JVM.
    Hprof,
    /// The same, compressed.
    #[serde(rename = "hprof.gz")]
    HprofGz,
}

impl Format {
    /// All formats, in the order we show them.
    pub const ALL: [Self; 17] = [
        Self::Svg,
        Self::Collapsed,
        Self::Pprof,
        Self::Speedscope,
        Self::Top,
        Self::TopJson,
        Self::Flame,
        Self::Timeline,
        Self::Jfr,
        Self::Nettrace,
        Self::Trace,
        Self::Text,
        Self::Json,
        Self::Jsonl,
        Self::Dump,
        Self::Hprof,
        Self::HprofGz,
    ];

    /// Name in URLs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Collapsed => "collapsed",
            Self::Pprof => "pprof",
            Self::Speedscope => "speedscope",
            Self::Top => "top",
            Self::TopJson => "top.json",
            Self::Flame => "flame",
            Self::Timeline => "timeline",
            Self::Jfr => "jfr",
            Self::Nettrace => "nettrace",
            Self::Trace => "trace",
            Self::Text => "text",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Dump => "dump",
            Self::Hprof => "hprof",
            Self::HprofGz => "hprof.gz",
        }
    }

    /// Whether it is made of a profile, so that it can be made of a part of one. All others are handed out as they are, or tell
    /// of a moment.
    pub fn is_of_stacks(self) -> bool {
        matches!(
            self,
            Self::Svg
                | Self::Collapsed
                | Self::Pprof
                | Self::Speedscope
                | Self::Top
                | Self::TopJson
                | Self::Flame
                | Self::Timeline
        )
    }

    /// Ending of a file of this format, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Collapsed => "collapsed.txt",
            Self::Pprof => "pb.gz",
            Self::Speedscope => "speedscope.json",
            Self::Top => "top.txt",
            Self::TopJson => "top.json",
            Self::Flame => "flame",
            Self::Timeline => "timeline.json",
            Self::Jfr => "jfr",
            Self::Nettrace => "nettrace",
            Self::Trace => "trace",
            Self::Text => "pprof.txt",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Dump => "dmp",
            Self::Hprof => "hprof",
            Self::HprofGz => "hprof.gz",
        }
    }

    /// Media type. pprof, JFR, nettrace and Go traces have no registered one; Go serves octet-stream, so do we.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Svg => "image/svg+xml",
            Self::Collapsed | Self::Top | Self::Text => "text/plain; charset=utf-8",
            Self::Speedscope | Self::TopJson | Self::Timeline | Self::Json => "application/json",
            Self::Jsonl => "application/x-ndjson",
            Self::Flame => "application/vnd.sideflame.flame",
            Self::Pprof | Self::Jfr | Self::Nettrace | Self::Trace | Self::Dump | Self::Hprof | Self::HprofGz => {
                "application/octet-stream"
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is none of [`Format::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not one of svg, collapsed, pprof, speedscope, top, top.json, flame, timeline, jfr, nettrace, trace, text, json, jsonl, dump, hprof, hprof.gz"
)]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "folded" => Ok(Self::Collapsed),
            _ => Self::ALL
                .into_iter()
                .find(|format| format.name() == name)
                .ok_or(UnknownFormat),
        }
    }
}

/// The native file a runtime gave us; the store keeps it and renders from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingKind {
    /// async-profiler's collapsed text.
    Collapsed,
    /// async-profiler's JFR.
    Jfr,
    /// EventPipe stream.
    Nettrace,
    /// EventPipe stream of a moment, whose threads are told one by one.
    NettraceThreads,
    /// Go's (gzipped) `profile.proto`.
    Pprof,
    /// The same by our own sampler, with the times of its samples.
    PprofTimed,
    /// Threads of a moment, one by one, as our own recorder saw them.
    PprofThreads,
    /// Go's execution trace.
    Trace,
    /// Values of counters, a line of JSON each.
    Counters,
    /// What Go writes with `debug=1`, and of all but goroutines with `debug=2`.
    Text,
    /// What Go writes of all goroutines with `debug=2`.
    Goroutines,
    /// What HotSpot prints of all threads.
    Threads,
    /// What HotSpot prints of its heap by class.
    ClassHistogram,
    /// Go's `profile.proto` of its heap, whose allocation sites are told as a table.
    AllocationSites,
    /// EventPipe stream with a walk through the heap.
    Heap,
    /// Core file.
    Dump,
    /// Heap dump of a JVM.
    HeapDump,
    /// The same, compressed.
    HeapDumpGz,
}

/// What is made of stacks, with what a recording has before and behind it.
macro_rules! of_stacks {
    ($($first:ident),*; $($more:ident),*) => {
        &[
            $(Format::$first,)*
            Format::Svg,
            Format::Collapsed,
            Format::Pprof,
            Format::Speedscope,
            Format::Top,
            Format::TopJson,
            Format::Flame,
            $(Format::$more,)*
        ]
    };
    ($($more:ident),*) => { of_stacks!(; $($more),*) };
}

impl RecordingKind {
    /// The format in which the recording is handed out as it is, byte for byte.
    pub fn native_format(self) -> Format {
        match self {
            Self::Collapsed => Format::Collapsed,
            Self::Jfr => Format::Jfr,
            Self::Nettrace | Self::NettraceThreads | Self::Heap => Format::Nettrace,
            Self::Pprof | Self::PprofTimed | Self::PprofThreads | Self::AllocationSites => Format::Pprof,
            Self::Trace => Format::Trace,
            Self::Counters => Format::Jsonl,
            Self::Dump => Format::Dump,
            Self::HeapDump => Format::Hprof,
            Self::HeapDumpGz => Format::HprofGz,
            Self::Text | Self::Goroutines | Self::Threads | Self::ClassHistogram => Format::Text,
        }
    }

    /// True if `format` is the recording as it is. async-profiler's own text carries annotations of frames, and a JVM's table of classes is not
    /// in the shape of the others', so both are rendered.
    pub fn is_handed_out_as(self, format: Format) -> bool {
        format == self.native_format() && !matches!(self, Self::Collapsed | Self::ClassHistogram)
    }

    /// True if it is what lives in a heap, whose text and JSON are a table of its types.
    pub fn is_histogram(self) -> bool {
        matches!(self, Self::Heap | Self::ClassHistogram | Self::AllocationSites)
    }

    /// True if it says when its samples were.
    pub fn has_times(self) -> bool {
        matches!(self, Self::Jfr | Self::Nettrace | Self::PprofTimed)
    }

    /// Formats that can be had from this recording.
    pub fn formats(self) -> &'static [Format] {
        match self {
            Self::Collapsed | Self::Pprof => of_stacks!(),
            Self::PprofTimed => of_stacks!(Timeline),
            Self::Jfr => of_stacks!(Jfr; Timeline),
            Self::Nettrace => of_stacks!(Timeline, Nettrace),
            Self::NettraceThreads => of_stacks!(Text, Json, Nettrace),
            Self::Trace => &[Format::Trace],
            Self::Counters => &[Format::Json, Format::Text, Format::Jsonl],
            Self::Dump => &[Format::Dump],
            Self::HeapDump => &[Format::Hprof],
            Self::HeapDumpGz => &[Format::HprofGz],
            Self::Text => &[Format::Text],
            Self::PprofThreads | Self::Goroutines | Self::Threads | Self::ClassHistogram | Self::AllocationSites => {
                of_stacks!(Text, Json)
            }
            Self::Heap => of_stacks!(Nettrace, Text, Json),
        }
    }
}
