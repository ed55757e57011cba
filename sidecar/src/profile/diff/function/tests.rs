use super::*;
use crate::profile::diff::Normalise;
use crate::profile::diff::compare::tests::{changes, collapsed};

fn of(before: &str, after: &str, normalise: Normalise) -> Vec<String> {
    let (before, after) = (collapsed(before), collapsed(after));
    changes(&before, &after, Some(normalise), |diff, changes| {
        let word = |change: &Change| {
            let name = &diff.union.stacks.names[change.name];
            let mark = match (change.within_noise(), changes.is_real(change)) {
                (true, false) => "noise",
                (false, false) => "doubtful",
                (_, true) => "real",
            };
            format!("{name} {:.0} {:.0} {mark}", change.before, change.after)
        };
        changes.functions.iter().map(word).collect()
    })
}

#[test]
fn a_change_beyond_twice_the_deviation_is_no_noise_and_one_beyond_all_chance_is_real() {
    // sqrt(200) is 14.1: 28 is the border.
    assert_eq!(of("a 100", "a 127", Normalise::None), ["a 100 127 noise"]);
    assert_eq!(of("a 100", "a 145", Normalise::None), ["a 100 145 real"]);
    let many: String = (0..400).map(|number| format!("f{number} 100\n")).collect();
    let changed = of(&format!("{many}a 100"), &format!("{many}a 140"), Normalise::None);
    assert_eq!(changed[0], "a 100 140 doubtful", "one of 400 changes as much by chance");
    let changed = of(&format!("{many}a 100"), &format!("{many}a 190"), Normalise::None);
    assert_eq!(changed[0], "a 100 190 real");
    assert!(
        changed[1..].iter().all(|change| change.ends_with("noise")),
        "{changed:?}"
    );
}

#[test]
fn shares_of_twice_as_long_a_recording_are_the_same() {
    assert_eq!(
        of("main;a 30\nmain;b 10", "main;a 600\nmain;b 200", Normalise::Share),
        ["a 600 600 noise", "b 200 200 noise", "main 800 800 noise"]
    );
    assert_eq!(of("", "a 600", Normalise::Share), ["a 0 600 real"]);
    assert_eq!(of("a 600", "", Normalise::Share), ["a 600 0 real"]);
    assert!(of("", "", Normalise::Share).is_empty());
}

#[test]
fn who_gained_most_comes_first_and_of_equals_who_gained_itself() {
    assert_eq!(
        of(
            "main;a;leaf 700\nmain;b;leaf 300",
            "main;a;leaf 400\nmain;b;leaf 600",
            Normalise::Share
        ),
        [
            "a 700 400 real",
            "b 300 600 real",
            "leaf 1000 1000 noise",
            "main 1000 1000 noise"
        ]
    );
    assert_eq!(of("x 9", "x 9\nmain;a 500", Normalise::None)[0], "a 0 500 real");
}
