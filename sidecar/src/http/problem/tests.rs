use super::*;

/// All variants, as the source declares them.
fn declared() -> Vec<&'static str> {
    let (_, rest) = include_str!("../problem.rs").split_once("enum Code {").unwrap();
    let (variants, _) = rest.split_once('}').unwrap();
    variants
        .lines()
        .map(|line| line.trim().trim_end_matches(','))
        .filter(|line| !line.is_empty())
        .collect()
}

const ALL: [Code; 47] = {
    use Code::*;
    [
        MalformedQuery,
        UnknownParameter,
        RepeatedParameter,
        InvalidParameter,
        ConflictingParameters,
        ParameterNotApplicable,
        EventNotOffered,
        FormatNotOffered,
        AmbiguousProcess,
        MalformedBody,
        Unauthorized,
        ForeignHost,
        CrossSiteRequest,
        UrlNotAllowed,
        NoSuchPath,
        NoSuchProcess,
        NoSuchCapture,
        MethodNotAllowed,
        RequestTimeout,
        AlreadyProfiled,
        CaptureNotFinished,
        CaptureCancelled,
        CaptureInterrupted,
        TooMuchPinned,
        BodyTooLarge,
        QueryTooLong,
        UnsupportedContentType,
        RangeNotSatisfiable,
        Impossible,
        NothingToKeep,
        UnlikeRecordings,
        UnreadableRecording,
        Indivisible,
        Busy,
        RenderFailed,
        Internal,
        TargetExited,
        TargetMisbehaved,
        ToolFailed,
        SamplerDied,
        ShuttingDown,
        StepTimedOut,
        StoreFull,
        StoreReadOnly,
        TargetDiskFull,
        OutOfMemory,
        ChildKilled,
    ]
};

/// The page's test shows each of them (tests/tests/page_truth.rs). `UPDATE_GOLDEN=1` writes the file anew.
#[test]
fn every_code_is_in_the_golden_file() {
    assert_eq!(ALL.map(|code| format!("{code:?}")).to_vec(), declared());
    let problem = |code: Code| {
        let (name, ..) = code.row();
        let detail = format!("what led to {name} this time");
        let mut problem = Problem::new(code, detail, format!("what helps against {name}"));
        match code {
            Code::FormatNotOffered => problem = problem.parameter("format").allowed(&["svg", "pprof"]),
            Code::RenderFailed => problem.0.capture = Some("0123456789abcdef".to_owned()),
            Code::Impossible => problem.0.reason = Some("no_perf_events".to_owned()),
            _ => {}
        }
        problem.body(Some("/profile"))
    };
    let text = serde_json::to_string_pretty(&ALL.map(problem).to_vec()).unwrap() + "\n";
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/problems/problems.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        text,
        "UPDATE_GOLDEN=1 writes it anew"
    );
}
