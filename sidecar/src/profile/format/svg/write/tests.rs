//! Pictures of hostile, empty and huge profiles, read back by an XML parser.

use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;
use crate::profile::builder::ProfileBuilder;
use crate::profile::model::Profile;

fn profile(stacks: &[(&[(&str, FrameKind)], i64)], unit: &str) -> Profile {
    let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", unit)]).unwrap();
    for (frames, value) in stacks {
        let leaf_first = frames.iter().rev();
        let stack: Vec<_> = leaf_first
            .map(|(name, kind)| builder.frame(name, *kind).unwrap())
            .collect();
        builder.sample(&stack, &[*value], &[]).unwrap();
    }
    builder.finish()
}

fn svg(profile: &Profile) -> String {
    let mut out = Vec::new();
    let stacks = FlatStacks::new(profile, 0, None).unwrap();
    write(
        &stacks,
        &profile.sample_types[0],
        "a <title>",
        "a \"stamp\" & more",
        &mut out,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

/// Tooltips of all boxes; panics if the text is no well-formed XML 1.0.
fn tooltips(svg: &str) -> Vec<String> {
    assert!(
        !svg.contains(|c: char| c.is_control() && !"\n\r\t".contains(c)),
        "XML 1.0 has no such characters"
    );
    let mut reader = Reader::from_str(svg);
    reader.config_mut().check_end_names = true;
    let (mut tooltips, mut current, mut depth, mut scripts) = (Vec::new(), None::<String>, 0, 0);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                depth += 1;
                match tag.name().as_ref() {
                    b"title" => current = Some(String::new()),
                    b"script" => scripts += 1,
                    _ => {}
                }
                assert!(tag.attributes().all(|attribute| attribute.is_ok()));
            }
            Event::Text(text) => {
                if let Some(current) = &mut current {
                    current.push_str(&text.decode().unwrap());
                }
            }
            Event::GeneralRef(entity) => {
                if let Some(current) = &mut current {
                    current.push_str(match entity.as_ref() {
                        b"lt" => "<",
                        b"gt" => ">",
                        b"amp" => "&",
                        b"quot" => "\"",
                        b"apos" => "'",
                        other => panic!("{other:?}"),
                    });
                }
            }
            Event::End(tag) => {
                depth -= 1;
                if tag.name().as_ref() == b"title" {
                    tooltips.extend(current.take());
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(
        (depth, scripts.min(2)),
        (0, scripts),
        "balanced, and no script but inferno's"
    );
    tooltips
}

const J: FrameKind = FrameKind::Jit;

#[test]
fn hostile_names_are_only_names() {
    let names = [
        "<script>alert(1)</script>",
        "]]>",
        "\"'&--><x y='",
        "a\u{0}\u{1b}[31m\u{fffe}b",
        "foo 5",
        "# c",
        "#",
        " x ",
        "",
    ];
    for name in names {
        let svg = svg(&profile(
            &[(&[("main", J), (name, FrameKind::Native)], 3), (&[(name, J)], 2)],
            "count",
        ));
        let shown = line_name(&crate::profile::frame_name::plain(name));
        // inferno trims lines, and so the name of a leaf.
        let shown = shown.trim();
        let tooltips: Vec<_> = tooltips(&svg)
            .iter()
            .map(|tooltip| tooltip.replace("\u{a0} (", " ("))
            .collect();
        assert!(!svg.contains("<script>alert"));
        assert!(
            tooltips.contains(&format!("{shown} (3 samples, 60.00%)")),
            "{tooltips:?}"
        );
        assert!(
            tooltips.contains(&format!("{shown} (2 samples, 40.00%)")),
            "{tooltips:?}"
        );
    }
}

#[test]
fn a_name_of_several_kinds_is_one_box() {
    let stacks: &[(&[_], _)] = &[(&[("f", J), ("x", J)], 1), (&[("f", FrameKind::Inlined), ("y", J)], 2)];
    let tooltips = tooltips(&svg(&profile(stacks, "count")));
    assert!(tooltips.contains(&"f (3 samples, 100.00%)".to_owned()), "{tooltips:?}");
}

#[test]
fn names_that_sort_between_a_box_and_its_children_do_not_tear_it() {
    let stacks: &[(&[_], _)] = &[
        (&[("a", J)], 1),
        (&[("a$1", J)], 1),
        (&[("a", J), ("b", J)], 1),
        (&[("a b", J)], 1),
    ];
    let tooltips = tooltips(&svg(&profile(stacks, "count")));
    assert!(tooltips.contains(&"a (2 samples, 50.00%)".to_owned()), "{tooltips:?}");
    assert_eq!(tooltips.len(), 5);
}

#[test]
fn equal_profiles_give_equal_bytes() {
    let stacks: &[(&[_], _)] = &[(&[("a", J), ("b", J)], 5), (&[("a", J), ("c", J)], 5)];
    let reversed: Vec<_> = stacks.iter().rev().copied().collect();
    assert_eq!(svg(&profile(stacks, "count")), svg(&profile(&reversed, "count")));
}

#[test]
fn colours_follow_the_kind() {
    let fill = |kind| {
        let svg = svg(&profile(&[(&[("f", kind), ("g", J)], 1)], "count"));
        svg.split("<title>f (")
            .nth(1)
            .and_then(|rest| rest.split('"').find(|part| part.starts_with("rgb")))
            .map(str::to_owned)
    };
    let fills = [FrameKind::Jit, FrameKind::Inlined, FrameKind::Kernel, FrameKind::Native].map(fill);
    for (index, fill) in fills.iter().enumerate() {
        assert!(fill.is_some() && !fills[..index].contains(fill), "{fills:?}");
    }
}

#[test]
fn frames_that_tell_nothing_are_grey_under_every_palette() {
    for root in [J, FrameKind::Other] {
        for (name, grey) in [
            ("[break_interpreted]", true),
            ("0x7f00", true),
            ("[truncated]", true),
            ("[GC]", false),
        ] {
            let svg = svg(&profile(&[(&[("f", root), (name, FrameKind::Native)], 1)], "count"));
            let fill = svg.split(&format!("<title>{name} (")).nth(1).unwrap();
            let fill = fill.split('"').find(|part| part.starts_with("rgb")).unwrap();
            assert_eq!(fill == "rgb(170,170,170)", grey, "{name}: {fill}");
        }
    }
}

#[test]
fn units_are_those_of_people() {
    let shown = |value, unit| tooltips(&svg(&profile(&[(&[("f", J)], value)], unit))).swap_remove(0);
    assert_eq!(shown(30_000_000_000, "nanoseconds"), "all (30,000 ms, 100%)");
    assert_eq!(shown(64 << 20, "bytes"), "all (65,536 KiB, 100%)");
    assert_eq!(shown(100, "bytes"), "all (100 bytes, 100%)");
    assert_eq!(shown(7, "count"), "all (7 samples, 100%)");
}

#[test]
fn no_samples_is_an_answer() {
    let svg = svg(&profile(&[(&[("f", J)], 0)], "count"));
    assert!(tooltips(&svg).is_empty() && svg.contains("no samples"));
    assert!(svg.contains("a &lt;title&gt;") && svg.contains("a &quot;stamp&quot; &amp; more"));
}

#[test]
fn a_hundred_thousand_stacks_stay_below_two_megabytes() {
    let mut builder = ProfileBuilder::new(vec![ValueType::new("cpu", "nanoseconds")]).unwrap();
    let quotes = "\"".repeat(60);
    for i in 0..100_000 {
        let name = |level: i32| format!("com.example.{quotes}.Class{}", i % 10_i32.pow(level.cast_unsigned()));
        let stack: Vec<_> = (0..6)
            .rev()
            .map(|level| builder.frame(&name(level), J).unwrap())
            .collect();
        builder.sample(&stack, &[10_000_000 + i64::from(i)], &[]).unwrap();
    }
    let svg = svg(&builder.finish());
    assert!((1_000_000..2_000_000).contains(&svg.len()), "{}", svg.len());
    assert!(svg.contains("a &lt;title&gt; (below "), "what is hidden is confessed");
}

#[test]
fn deep_recursion_is_drawn_within_the_budget() {
    let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
    let frame = builder.frame(&"recurse".repeat(50), J).unwrap();
    for depth in 1..3000 {
        builder.sample(&vec![frame; depth], &[1], &[]).unwrap();
    }
    let svg = svg(&builder.finish());
    assert!(svg.len() < 2_000_000 && tooltips(&svg).len() > 300);
}

proptest! {
    #[test]
    fn any_names_give_well_formed_xml(stacks in prop::collection::vec((prop::collection::vec(".*", 1..5), 0..9_i64), 0..9)) {
        let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
        for (frames, value) in &stacks {
            let stack: Vec<_> = frames.iter().map(|name| builder.frame(name, J).unwrap()).collect();
            builder.sample(&stack, &[*value], &[]).unwrap();
        }
        let total: i64 = stacks.iter().map(|(_, value)| value).sum();
        let tooltips = tooltips(&svg(&builder.finish()));
        let all = format!("all ({total} samples, 100%)");
        prop_assert_eq!(tooltips.contains(&all), total > 0);
    }
}
