//! The columns, read back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::profile::builder::ProfileBuilder;
use crate::profile::format::collapsed;
use crate::profile::format::flame::read::Columns;
use crate::profile::model::{FrameKind, Profile};

/// Of stacks, root first.
fn profile<'s>(stacks: impl IntoIterator<Item = (Vec<&'s str>, i64)>, kind: FrameKind) -> Profile {
    let mut builder = ProfileBuilder::new(vec![ValueType::new("cpu", "nanoseconds")]).unwrap();
    for (root_first, value) in stacks {
        let leaf_first = root_first.iter().rev();
        let stack: Vec<_> = leaf_first.map(|name| builder.frame(name, kind).unwrap()).collect();
        builder.sample(&stack, &[value], &[]).unwrap();
    }
    builder.finish()
}

fn columns(profile: &Profile, most: usize) -> Columns {
    let stacks = FlatStacks::new(profile, 0, None).unwrap();
    let mut out = Vec::new();
    write_heaviest(&stacks, &profile.sample_types[0], &Quality::default(), most, &mut out).unwrap();
    let columns = Columns::of(&out);
    columns.assert_sound();
    columns
}

/// What the text of the same profile says.
fn collapsed(profile: &Profile) -> BTreeMap<String, f64> {
    let mut text = Vec::new();
    collapsed::write::write(&FlatStacks::new(profile, 0, None).unwrap(), &mut text).unwrap();
    let mut stacks = BTreeMap::new();
    for line in String::from_utf8(text).unwrap().lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        *stacks.entry(stack.to_owned()).or_default() += value.parse::<f64>().unwrap();
    }
    stacks
}

#[test]
fn rows_have_their_nodes_by_name_and_each_its_parent() {
    let stacks = [
        (vec!["main", "thirty"], 30),
        (vec!["main", "sixty", "hash"], 50),
        (vec!["main", "sixty"], 10),
        (vec!["idle"], 10),
    ];
    let columns = columns(&profile(stacks, FrameKind::Jit), 100);
    let head = &columns.head;
    assert_eq!(
        head["names"],
        serde_json::json!(["all", "hash", "idle", "main", "sixty", "thirty"])
    );
    assert_eq!(
        head["kinds"],
        serde_json::json!(["all", "jit", "jit", "jit", "jit", "jit"])
    );
    assert_eq!(
        (&head["sampleType"], &head["unit"], &head["total"], &head["folded"]),
        (
            &"cpu".into(),
            &"nanoseconds".into(),
            &100.into(),
            &serde_json::json!({"nodes": 0, "value": 0})
        )
    );
    assert_eq!(columns.row_offset, [0, 1, 3, 5, 6]);
    let names: Vec<_> = (0..6).map(|node| columns.name_of(node)).collect();
    assert_eq!(names, ["all", "idle", "main", "sixty", "thirty", "hash"]);
    assert_eq!(columns.start, [0.0, 0.0, 10.0, 10.0, 70.0, 10.0]);
    assert_eq!(columns.width, [100.0, 10.0, 90.0, 60.0, 30.0, 50.0]);
    assert_eq!(columns.parent, [u32::MAX, 0, 0, 2, 2, 3]);
    assert_eq!(columns.own, [0.0, 10.0, 0.0, 10.0, 30.0, 50.0]);
}

#[test]
fn nothing_is_a_root_alone() {
    let columns = columns(&profile([], FrameKind::Jit), 100);
    assert_eq!((columns.width, columns.row_offset), (vec![0.0], vec![0, 1]));
}

#[test]
fn what_is_folded_is_counted_and_in_nothing_but_its_parent() {
    let stacks = [
        (vec!["main", "sixty"], 60),
        (vec!["main", "ten", "a"], 6),
        (vec!["main", "ten", "b"], 4),
    ];
    let columns = columns(&profile(stacks, FrameKind::Native), 3);
    assert_eq!(columns.head["folded"], serde_json::json!({"nodes": 3, "value": 10}));
    assert_eq!(columns.head["names"], serde_json::json!(["all", "main", "sixty"]));
    assert_eq!(
        (&columns.width[..], &columns.own[..]),
        (&[70.0, 70.0, 60.0][..], &[0.0, 0.0, 60.0][..])
    );
}

#[test]
fn hostile_names_are_replaced_and_long_ones_cut() {
    let (turned, long) = ("a\u{202e}\u{1b}[31m<script>", "ä".repeat(5000));
    let columns = columns(
        &profile([(vec![turned, &long, "[unknown]"], 1)], FrameKind::Kernel),
        100,
    );
    let names: Vec<&str> = (0..4).map(|node| columns.name_of(node)).collect();
    assert_eq!((names[1], names[3]), ("a\u{fffd}\u{fffd}[31m<script>", "[unknown]"));
    assert!(names[2].ends_with("ä…") && names[2].len() > 4090, "{}", names[2].len());
    let kind = |node: usize| columns.head["kinds"][columns.name[node] as usize].as_str().unwrap();
    assert_eq!([1, 2, 3].map(kind), ["kernel", "kernel", "unresolved"]);
}

#[test]
fn of_300000_nodes_the_widest_250000_are_there() {
    // Each leaf by itself below one of ten: 1 + 10 + 299,990.
    let names: Vec<String> = (0..299_990).map(|leaf| format!("leaf{leaf}")).collect();
    let roots: Vec<String> = (0..10).map(|root| format!("root{root}")).collect();
    let stacks = names.iter().enumerate().map(|(number, name)| {
        let value = if number % 6 == 0 { 1 } else { 7 };
        (vec![roots[number % 10].as_str(), name.as_str()], value)
    });
    let profile = profile(stacks, FrameKind::Native);
    let columns = columns(&profile, MOST_NODES);
    assert_eq!(
        (columns.width.len(), &columns.head["folded"]["nodes"]),
        (MOST_NODES, &50_001.into())
    );
    let leaves = columns.row_offset[2] as usize..;
    // 49,999 of the folded are the light ones; the others are as heavy as those that are kept.
    assert!(columns.width[leaves].iter().all(|width| *width == 7.0));
}

#[test]
fn the_deepest_stack_that_a_profile_has_is_as_many_rows() {
    const DEPTH: usize = 16 << 10;
    let frames: Vec<&str> = (0..DEPTH).map(|depth| ["f", "g"][depth % 2]).collect();
    let deep = profile([(frames, 3), (vec!["f"], 1)], FrameKind::Jit);
    let columns = columns(&deep, MOST_NODES);
    assert_eq!(columns.head["rows"].as_u64(), Some(DEPTH as u64 + 1));
    assert_eq!((columns.width.len(), columns.name_of(DEPTH)), (DEPTH + 1, "g"));
    assert_eq!((columns.own[1], columns.own[2], columns.own[DEPTH]), (1.0, 0.0, 3.0));
}

proptest! {
    #[test]
    fn every_stack_of_the_text_is_in_the_columns_with_its_value(
        stacks in prop::collection::vec((prop::collection::vec("[a-c]{1,2}", 1..6), 0..1000_i64), 0..40),
        most in 1..60_usize,
    ) {
        let stacks = stacks.iter().map(|(frames, value)| (frames.iter().map(String::as_str).collect(), *value));
        let profile = profile(stacks, FrameKind::Other);
        let whole = columns(&profile, usize::MAX);
        prop_assert_eq!(whole.stacks(), collapsed(&profile));
        prop_assert_eq!(&whole.head["folded"], &serde_json::json!({"nodes": 0, "value": 0}));
        let part = columns(&profile, most);
        prop_assert_eq!(part.width.len(), most.min(whole.width.len()));
        let left = whole.width.len() - part.width.len();
        prop_assert_eq!(part.head["folded"]["nodes"].as_u64(), Some(left as u64));
        // Each that is kept has itself what it has of the whole.
        let of_all = whole.stacks();
        for (stack, value) in part.stacks() {
            prop_assert_eq!(of_all[&stack], value);
        }
    }
}
