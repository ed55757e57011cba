//! What the operator told us about async-profiler; from flags. Read by the server alone.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::runtime::Reason;

/// Name of the library.
const LIBRARY: &str = "libasyncProfiler.so";

/// Where our images have it.
const IMAGE: &str = "/opt/sideflame";

/// Where libasyncProfiler.so may lie, the best place first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JvmSettings {
    places: Vec<PathBuf>,
}

impl JvmSettings {
    /// The file the operator named; without one beside the executable, where `make` and a tarball put it, or where the
    /// image has it.
    pub fn new(named: Option<PathBuf>) -> Self {
        let beside = || {
            std::env::current_exe()
                .ok()?
                .parent()
                .map(|parent| parent.join(LIBRARY))
        };
        let places = match named {
            Some(named) => vec![named],
            None => beside().into_iter().chain([Path::new(IMAGE).join(LIBRARY)]).collect(),
        };
        Self { places }
    }

    /// The library, looked for now: it may be put there while the server runs.
    ///
    /// # Errors
    /// It is in none of the places, or cannot be read.
    pub fn library(&self) -> Result<&Path, Reason> {
        let is_readable = |place: &&PathBuf| {
            File::open(place)
                .and_then(|file| file.metadata())
                .is_ok_and(|m| m.is_file())
        };
        let found = self.places.iter().find(is_readable);
        found.map(PathBuf::as_path).ok_or_else(|| self.missing())
    }

    fn missing(&self) -> Reason {
        let places: Vec<String> = self.places.iter().map(|place| place.display().to_string()).collect();
        Reason::new(
            "profiler_library_missing",
            format!(
                "sideflame has no library of async-profiler to load into JVMs; it was looked for at {}",
                places.join(" and ")
            ),
            "put libasyncProfiler.so of async-profiler 4 beside the sideflame executable (make build does), or name it: \
             --async-profiler <file>",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_missing_at_the_places_it_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(LIBRARY);
        let settings = JvmSettings::new(Some(file.clone()));
        let reason = settings.library().unwrap_err();
        assert_eq!(reason.key, "profiler_library_missing");
        assert!(reason.sentence.ends_with(file.to_str().unwrap()), "{}", reason.sentence);
        std::fs::create_dir(&file).unwrap();
        assert!(settings.library().is_err(), "a folder is no library");
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, "").unwrap();
        assert_eq!(settings.library(), Ok(file.as_path()), "looked for again");
    }

    #[test]
    fn without_a_name_the_library_is_beside_the_executable_or_where_the_image_has_it() {
        let places = JvmSettings::new(None).places;
        assert_eq!(places[0].parent(), std::env::current_exe().unwrap().parent());
        assert_eq!(places[1], Path::new("/opt/sideflame/libasyncProfiler.so"));
    }
}
