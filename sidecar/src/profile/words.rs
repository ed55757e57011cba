//! A profile as text, for tests and for `tests/fuzz`: two are the same if their words are.

use super::model::{LabelValue, Profile};

/// A profile in words: independent of ids, tables and their order, but for the order of samples and frames.
pub fn words(profile: &Profile) -> Vec<String> {
    let text = |id| profile.text(id);
    let mut words = vec![format!(
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
    )];
    for sample in profile.samples() {
        let mut line = vec![format!("{:?}", sample.values)];
        for location in sample.stack.iter().map(|id| profile.locations()[id.index()]) {
            let mapping = location.mapping.map(|id| profile.mappings()[id.index()]);
            let mapping = mapping.map(|m| (m.start, m.limit, m.offset, text(m.file), text(m.build_id), m.has));
            let lines: Vec<_> = profile
                .lines(&location)
                .iter()
                .map(|row| (profile.functions()[row.function.index()], row.line, row.column))
                .map(|(f, line, column)| {
                    (
                        text(f.name),
                        text(f.system_name),
                        text(f.file),
                        f.start_line,
                        f.kind,
                        line,
                        column,
                    )
                })
                .collect();
            line.push(format!(
                "{:x} {} {mapping:?} {lines:?}",
                location.address, location.folded
            ));
        }
        for label in sample.labels {
            line.push(match label.value {
                LabelValue::Text(value) => format!("{}={:?}", text(label.key), text(value)),
                LabelValue::Number(value, unit) => format!("{}={value} {:?}", text(label.key), text(unit)),
            });
        }
        words.push(line.join(" "));
    }
    words
}
