use super::*;
use crate::profile::Fold;
use crate::profile::flat_stacks::FlatStacks;
use crate::profile::format::collapsed;
use crate::profile::{ProfileBuilder, ValueType};

/// `root;leaf 3` per line; a frame in brackets with a `tid=` is a thread, and `a+b` is b inlined into a.
fn profile(text: &str) -> Profile {
    let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
    for line in text.lines() {
        let (frames, count) = line.rsplit_once(' ').unwrap();
        let mut stack = Vec::new();
        for place in frames.rsplit(';').filter(|place| !place.is_empty()) {
            if !place.contains('+') {
                let kind = match place.contains("tid=") {
                    true => FrameKind::Thread,
                    false => FrameKind::Jit,
                };
                stack.push(builder.frame(place, kind).unwrap());
                continue;
            }
            let lines: Vec<_> = place.rsplit('+').map(|name| named(&mut builder, name)).collect();
            stack.push(builder.location(None, 7, false, &lines).unwrap());
        }
        builder.sample(&stack, &[count.parse().unwrap()], &[]).unwrap();
    }
    builder.finish()
}

fn named(builder: &mut ProfileBuilder, name: &str) -> Line {
    let (name, empty) = (builder.string(name).unwrap(), StringId::default());
    let function = Function {
        name,
        system_name: empty,
        file: empty,
        start_line: 0,
        kind: FrameKind::Inlined,
    };
    Line {
        function: builder.function(function).unwrap(),
        line: 0,
        column: 0,
    }
}

fn view(focus: &str, callers: &str) -> View {
    let pattern = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    View {
        focus: pattern(focus),
        callers: pattern(callers),
        ..View::default()
    }
}

/// What is left, as collapsed text.
fn left(text: &str, view: &View, max_frames: Option<u32>) -> (Shown, String) {
    let mut profile = profile(text);
    let shown = select(&mut profile, view, 0, (max_frames, false)).unwrap();
    let mut out = Vec::new();
    collapsed::write::write(&FlatStacks::new(&profile, 0, None).unwrap(), &mut out).unwrap();
    (shown, String::from_utf8(out).unwrap())
}

#[test]
fn focus_keeps_the_stacks_with_a_matching_frame_as_they_are() {
    let (shown, text) = left(
        "main;cart;hash 3\nmain;hash 1\nmain;idle 6",
        &view("^cart$|hash", ""),
        None,
    );
    assert_eq!(text, "main;cart;hash 3\nmain;hash 1\n");
    assert_eq!((shown.value, shown.total, shown.share), (4, 10, Some(0.4)));
    assert_eq!((shown.sample_type.as_str(), shown.unit.as_str()), ("samples", "count"));
    assert_eq!(shown.functions, ["hash", "cart"], "by their value");
}

#[test]
fn callers_are_above_the_innermost_match_and_equal_ones_are_one() {
    let text = "main;cart;hash;mix 3\nmain;cart;hash 2\nmain;hash;hash 1\nmain;idle 4";
    let (shown, text) = left(text, &view("", "hash"), None);
    assert_eq!(text, "hash;cart;main 5\nhash;hash;main 1\n");
    assert_eq!((shown.value, shown.total), (6, 10));
    assert_eq!(shown.functions, ["hash"]);
}

#[test]
fn equal_stacks_of_a_turned_profile_are_one_sample() {
    let mut profile = profile("main;hash;a 3\nmain;hash;b 2");
    select(&mut profile, &view("", "hash"), 0, (None, false)).unwrap();
    assert_eq!(profile.sample_count(), 1);
    assert_eq!(profile.sample(0).unwrap().values, [5]);
}

#[test]
fn inlined_functions_are_turned_and_cut_one_by_one() {
    let text = "main;cart+hash+mix 3";
    assert_eq!(left(text, &view("", "mix"), None).1, "mix;hash;cart;main 3\n");
    assert_eq!(left(text, &view("", "hash"), None).1, "hash;cart;main 3\n");
    assert_eq!(left(text, &view("", "cart"), None).1, "cart;main 3\n");
    assert_eq!(left(text, &view("hash", ""), None).1, "main;cart;hash;mix 3\n");
}

#[test]
fn focus_comes_before_callers() {
    let text = "main;cart;hash 3\nmain;idle;hash 2";
    assert_eq!(left(text, &view("cart", "hash"), None).1, "hash;cart;main 3\n");
}

#[test]
fn callers_that_the_sampler_left_out_are_named_as_missing() {
    let text = "a;b;hash 1\n[main tid=7];a;b;hash 1\nb;hash 2\n[truncated];b;hash 4";
    assert_eq!(
        left(text, &view("", "hash"), Some(3)).1,
        "hash;b 2\nhash;b;[truncated] 4\nhash;b;a;[truncated] 1\nhash;b;a;[truncated];[main tid=7] 1\n"
    );
    assert_eq!(left("hash;x 1", &view("", "x"), Some(2)).1, "x;hash;[truncated] 1\n");
    assert_eq!(left("hash;x 1", &view("", "hash"), Some(2)).1, "hash;[truncated] 1\n");
}

#[test]
fn nothing_that_matches_is_an_empty_profile_and_a_share_of_nothing() {
    for view in [view("absent", ""), view("", "absent")] {
        let (shown, text) = left("main;hash 3", &view, None);
        assert_eq!(
            (text.as_str(), shown.value, shown.total, shown.share),
            ("", 0, 3, Some(0.0))
        );
        assert!(shown.functions.is_empty());
    }
    assert_eq!(
        left("", &view("a", ""), None).0.share,
        None,
        "of nothing there are no shares"
    );
}

#[test]
fn names_match_as_they_are_shown() {
    let (_, text) = left("main;a\u{1b}b 3\n 1", &view("a\u{fffd}b|unknown", ""), None);
    assert_eq!(text, "[unknown] 1\nmain;a\u{fffd}b 3\n");
}

#[test]
fn a_function_that_calls_itself_becomes_one_frame() {
    let folded = View {
        fold: Some(Fold::Recursion),
        ..View::default()
    };
    for (text, limit, expected) in [
        ("main;a;a;b;a 3\nmain;a;b;a;a 2\nmain 1", None, "main 1\nmain;a;b;a 5\n"),
        // Inlined into itself, and into what calls it.
        ("main;a+a+b 1\nmain;a;a+b 1\nmain;a;b 1", None, "main;a;b 3\n"),
        ("a;a;a 1\na;b 1", Some(3), "[truncated];a 1\na;b 1\n"),
        ("[one tid=1];a;a;a 1", Some(3), "[one tid=1];[truncated];a 1\n"),
        ("", None, ""),
    ] {
        let (shown, left) = left(text, &folded, limit);
        assert_eq!(left, expected, "{text}");
        assert_eq!((shown.value, shown.view.as_str()), (shown.total, "fold=recursion"));
    }
    let callers = View {
        callers: Some("^b$".parse().unwrap()),
        ..folded
    };
    assert_eq!(left("main;a;a;b 2\nmain;a;b;b 1", &callers, None).1, "b;a;main 3\n");
}
