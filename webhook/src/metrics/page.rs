//! Prometheus' text format 0.0.4, written by hand: a dozen lines need no library.

use std::fmt::{Display, Write};

/// A page being written.
#[derive(Default)]
pub(super) struct Page {
    /// What was written so far.
    pub(super) text: String,
    family: &'static str,
}

impl Page {
    /// Begins the samples of one name.
    pub(super) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing into a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family; `suffix` is what follows the name: `_bucket`, labels, or nothing.
    pub(super) fn sample(&mut self, suffix: &str, value: impl Display) {
        let _ = writeln!(self.text, "{}{suffix} {value}", self.family);
    }

    /// One sample of the family, with label values that may be anything.
    pub(super) fn labelled(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels = labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escape(text)));
        self.sample(&format!("{{{}}}", labels.collect::<Vec<_>>().join(",")), value);
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &'static str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample("", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.family("x", "gauge", "X.");
        page.labelled(&[("a", "1\\2\"3\n4"), ("b", "")], 5);
        assert!(
            page.text.ends_with("\nx{a=\"1\\\\2\\\"3\\n4\",b=\"\"} 5\n"),
            "{}",
            page.text
        );
    }
}
