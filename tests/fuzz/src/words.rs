//! A profile in words, which do not depend on the order of its tables.

use sideflame::profile::model::{LabelValue, Profile};

/// The head, then a line per sample.
pub(crate) fn of(profile: &Profile) -> Vec<String> {
    let head = format!(
        "{:?} {:?} {:?} {} {} {} {:?} {:?} {:?} {:?} {:?}",
        profile.sample_types,
        profile.default_sample_type,
        profile.period_type,
        profile.period,
        profile.time_nanos,
        profile.duration_nanos,
        profile.comments,
        profile.stamp,
        profile.drop_frames,
        profile.keep_frames,
        profile.doc_url,
    );
    let samples = profile.samples().map(|sample| {
        let stack = sample.stack.iter().map(|location| place(profile, location.index()));
        let labels = sample.labels.iter().map(|label| {
            let key = profile.text(label.key);
            match label.value {
                LabelValue::Text(value) => format!("{key:?}={:?}", profile.text(value)),
                LabelValue::Number(value, unit) => format!("{key:?}={value} {:?}", profile.text(unit)),
            }
        });
        let words = std::iter::once(format!("{:?}", sample.values))
            .chain(stack)
            .chain(labels);
        words.collect::<Vec<_>>().join(" ")
    });
    std::iter::once(head).chain(samples).collect()
}

fn place(profile: &Profile, index: usize) -> String {
    let text = |id| profile.text(id);
    let location = profile.locations()[index];
    let mapping = location.mapping.map(|id| profile.mappings()[id.index()]);
    let mapping = mapping.map(|map| {
        let (file, build_id) = (text(map.file), text(map.build_id));
        (map.start, map.limit, map.offset, file, build_id, map.has)
    });
    let lines = profile.lines(&location).iter().map(|line| {
        let function = profile.functions()[line.function.index()];
        let names = [function.name, function.system_name, function.file].map(text);
        (names, function.start_line, line.line, line.column)
    });
    let lines: Vec<_> = lines.collect();
    format!("{:x} {} {mapping:?} {lines:?}", location.address, location.folded)
}
