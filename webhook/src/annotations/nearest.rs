//! The name a user probably meant.

/// The candidate with the fewest edits, if that is at most half of its letters.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The work is the product of both lengths, and a key can have hundreds of characters.
    const LONGEST: usize = 40;
    if name.len() > LONGEST {
        return None;
    }
    let ranked = candidates.map(|candidate| (strsim::levenshtein(name, candidate), candidate));
    let (edits, best) = ranked.min()?;
    (edits * 2 <= best.len()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        let names = ["inject", "container", "run-as-user", "port"];
        let near = |name| nearest(name, names.into_iter());
        assert_eq!(near("injet"), Some("inject"));
        assert_eq!(near("containers"), Some("container"));
        assert_eq!(near("run-as-uesr"), Some("run-as-user"));
        assert_eq!(near("prot"), Some("port"));
        assert_eq!(near("Port"), Some("port"));
        assert_eq!(near("enabled"), None);
        assert_eq!(near(&"inject".repeat(100)), None);
    }
}
