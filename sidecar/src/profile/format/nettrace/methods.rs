//! Which method's code is where, as far as the trace has told; and names of modules.
//!
//! A method has code in several places (compiled again by tier, on-stack replacement, cold parts apart): each is an entry of its
//! own. Called by [`super::collector`].

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::addresses::Addresses;
use super::clr::MethodCode;
use super::cursor::Utf16;
use crate::profile::ModelError;
use crate::profile::frame_name::UNKNOWN;
use crate::profile::strings::{StringId, Strings};

/// Longest name of a type or a method, in characters. Nested generic types have some thousand.
const MAX_NAME: usize = 8 << 10;
/// Pieces of code at a time, of one process. The largest have some 300,000.
const MOST: usize = 8 << 20;
/// Modules of a process.
const MOST_MODULES: usize = 1 << 20;

/// A method that has or had code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MethodId(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Method {
    module: u64,
    jitted: bool,
    /// Where the trace has no name, the number by which the module's own tables know the method.
    name: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Full { type_name: StringId, method: StringId },
    Token(u32),
}

impl Method {
    fn is_the_same(&self, other: &Self) -> bool {
        let unnamed = |method: &Self| matches!(method.name, Name::Token(_));
        self.module == other.module && (self.name == other.name || unnamed(self) != unnamed(other))
    }
}

#[derive(Debug, Clone, Copy)]
struct Code {
    end: u64,
    method: MethodId,
}

/// The methods of one process.
#[derive(Debug, Default)]
pub(super) struct Methods {
    strings: Strings,
    rows: Vec<Method>,
    /// By start; no two overlap.
    code: BTreeMap<u64, Code>,
    modules: HashMap<u64, StringId, ahash::RandomState>,
    /// Reused: names are decoded into it.
    text: String,
}

impl Methods {
    /// There is code of a method. What was there before is gone.
    pub(super) fn add(&mut self, code: &MethodCode<'_>, addresses: &mut Addresses) -> Result<(), ModelError> {
        let Some(end) = end_of(code) else {
            return Ok(());
        };
        let name = match code.name {
            Some((type_name, method)) => Name::Full {
                type_name: self.intern(type_name)?,
                method: self.intern(method)?,
            },
            None => Name::Token(code.token),
        };
        let method = Method {
            module: code.module,
            jitted: code.jitted,
            name,
        };
        // Told at its start and again at the end, once of the two perhaps without its name.
        let known = self.code.get(&code.start).copied().filter(|known| known.end == end);
        if let Some(known) = known.and_then(|known| self.rows.get_mut(known.method.0 as usize))
            && known.is_the_same(&method)
        {
            if matches!(known.name, Name::Token(_)) {
                *known = method;
            }
            return Ok(());
        }
        self.remove(code.start, end, addresses);
        let too_many = ModelError::TooLarge {
            what: "methods",
            limit: MOST,
        };
        if self.rows.len() >= MOST {
            return Err(too_many);
        }
        let id = MethodId(u32::try_from(self.rows.len()).map_err(|_| too_many)?);
        self.rows.push(method);
        self.code.insert(code.start, Code { end, method: id });
        Ok(())
    }

    /// Code of a method is gone. If we did not know of it, its name is known now.
    pub(super) fn unload(&mut self, code: &MethodCode<'_>, addresses: &mut Addresses) -> Result<(), ModelError> {
        self.add(code, addresses)?;
        if let Some(end) = end_of(code) {
            self.remove(code.start, end, addresses);
        }
        Ok(())
    }

    /// A module with its file.
    pub(super) fn add_module(&mut self, id: u64, path: Utf16<'_>) -> Result<(), ModelError> {
        if self.modules.len() >= MOST_MODULES && !self.modules.contains_key(&id) {
            return Ok(());
        }
        let Self { strings, text, .. } = self;
        decode(path, text);
        let file = text.rsplit(['/', '\\']).next().unwrap_or_default();
        let name = [".dll", ".exe"].iter().find_map(|ending| file.strip_suffix(ending));
        let name = strings.intern(name.unwrap_or(file))?;
        self.modules.insert(id, name);
        Ok(())
    }

    /// The method whose code is at `address` now.
    pub(super) fn at(&self, address: u64) -> Option<MethodId> {
        let (_, code) = self.code.range(..=address).next_back()?;
        (address < code.end).then_some(code.method)
    }

    /// What a frame of the method is called, `Namespace.Type.Method`; `module!` and a number where the trace has no name.
    pub(super) fn name(&self, id: MethodId) -> String {
        let Some(method) = self.method(id) else {
            return UNKNOWN.to_owned();
        };
        match method.name {
            Name::Token(token) => format!("{}!{token:#x}", self.module_name(method.module).unwrap_or("?")),
            Name::Full { type_name, method } => {
                let (type_name, method) = (self.strings.get(type_name), self.strings.get(method));
                if type_name.is_empty() {
                    method.to_owned()
                } else {
                    format!("{type_name}.{method}")
                }
            }
        }
    }

    /// What a frame without a method is called. A module's file is mapped whole: between two methods of one file there is nothing
    /// of another.
    pub(super) fn name_without_method(&self, address: u64) -> String {
        let before = self.code.range(..=address).next_back();
        let after = self.code.range(address..).next();
        let file = |code: Option<(&u64, &Code)>| {
            let method = self.method(code?.1.method)?;
            (!method.jitted).then_some(method.module)
        };
        let module = file(before).filter(|module| file(after) == Some(*module));
        match module.and_then(|module| self.module_name(module)) {
            Some(module) => format!("{module}!{UNKNOWN}"),
            None => UNKNOWN.to_owned(),
        }
    }

    fn module_name(&self, id: u64) -> Option<&str> {
        let name = self.modules.get(&id).map(|&name| self.strings.get(name));
        name.filter(|name| !name.is_empty())
    }

    fn method(&self, id: MethodId) -> Option<Method> {
        self.rows.get(id.0 as usize).copied()
    }

    fn intern(&mut self, name: Utf16<'_>) -> Result<StringId, ModelError> {
        let Self { strings, text, .. } = self;
        decode(name, text);
        strings.intern(text)
    }

    fn remove(&mut self, start: u64, end: u64, addresses: &mut Addresses) {
        while let Some((&at, &Code { end: behind, method })) = self.code.range(..end).next_back() {
            if behind <= start {
                break;
            }
            self.code.remove(&at);
            addresses.settle(at, behind, method);
        }
    }
}

fn end_of(code: &MethodCode<'_>) -> Option<u64> {
    code.start
        .checked_add(u64::from(code.size))
        .filter(|end| *end > code.start)
}

fn decode(name: Utf16<'_>, text: &mut String) {
    name.decode_into(text);
    if let Some((end, _)) = text.char_indices().nth(MAX_NAME) {
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::nettrace::cursor::Cursor;
    use crate::profile::format::nettrace::example::utf16;

    #[derive(Default)]
    struct Process {
        methods: Methods,
        addresses: Addresses,
    }

    impl Process {
        fn method(&mut self, name: &str, start: u64, size: u32, jitted: bool, gone: bool) {
            let (type_name, method) = (utf16("Shop"), utf16(name));
            let text = |bytes| Cursor::new(bytes).utf16().unwrap();
            let code = MethodCode {
                module: 1,
                start,
                size,
                token: 7,
                jitted,
                name: Some((text(&type_name), text(&method))),
            };
            if gone {
                self.methods.unload(&code, &mut self.addresses).unwrap();
            } else {
                self.methods.add(&code, &mut self.addresses).unwrap();
            }
        }

        fn load(&mut self, name: &str, start: u64, size: u32) {
            self.method(name, start, size, true, false);
        }

        fn module(&mut self, path: &str) {
            let path = utf16(path);
            let path = Cursor::new(&path).utf16().unwrap();
            self.methods.add_module(1, path).unwrap();
        }

        fn name(&self, id: u32) -> String {
            let (address, settled) = self.addresses.get(id);
            match settled.or_else(|| self.methods.at(address)) {
                Some(method) => self.methods.name(method),
                None => self.methods.name_without_method(address),
            }
        }
    }

    #[test]
    fn a_method_has_code_in_several_places_and_none_beside_them() {
        let mut process = Process::default();
        process.load("Buy", 0x1000, 0x10);
        process.load("Buy", 0x5000, 0x10);
        process.load("Sell", 0x1010, 0x10);
        let names: Vec<_> = [0xfff, 0x1000, 0x100f, 0x1010, 0x1020, 0x5008]
            .into_iter()
            .map(|address| {
                let id = process.addresses.id(address).unwrap();
                process.name(id)
            })
            .collect();
        assert_eq!(
            names,
            [
                "[unknown]",
                "Shop.Buy",
                "Shop.Buy",
                "Shop.Sell",
                "[unknown]",
                "Shop.Buy"
            ]
        );
    }

    #[test]
    fn an_address_keeps_the_method_that_was_there_when_it_was_seen() {
        let mut process = Process::default();
        process.load("Old", 0x1000, 0x40);
        let old = process.addresses.id(0x1008).unwrap();
        process.method("Old", 0x1000, 0x40, true, true);
        let between = process.addresses.id(0x1008).unwrap();
        assert_ne!(old, between);
        process.load("New", 0x1000, 0x20);
        let new = process.addresses.id(0x1008).unwrap();
        assert_eq!(between, new, "nothing says when the new one came");
        // Its unloading was lost.
        process.load("Newest", 0x1008, 0x20);
        let newest = process.addresses.id(0x1008).unwrap();
        let names = [old, new, newest].map(|id| process.name(id));
        assert_eq!(names, ["Shop.Old", "Shop.New", "Shop.Newest"]);
    }

    #[test]
    fn code_that_is_only_told_of_when_it_goes_away_has_a_name() {
        let mut process = Process::default();
        let seen = process.addresses.id(0x1008).unwrap();
        process.method("Dynamic", 0x1000, 0x40, true, true);
        process.load("Later", 0x1000, 0x40);
        assert_eq!(process.name(seen), "Shop.Dynamic");
    }

    #[test]
    fn a_name_that_comes_later_is_that_of_the_code_seen_before() {
        let mut process = Process::default();
        let mut code = MethodCode {
            module: 1,
            start: 0x1000,
            size: 0x40,
            token: 0x0600_0007,
            jitted: true,
            name: None,
        };
        process.methods.add(&code, &mut process.addresses).unwrap();
        process.module("Shop.dll");
        let seen = process.addresses.id(0x1008).unwrap();
        assert_eq!(process.name(seen), "Shop!0x6000007");
        process.load("Buy", 0x1000, 0x40);
        process.methods.add(&code, &mut process.addresses).unwrap();
        assert_eq!(process.name(seen), "Shop.Buy");
        code.module = 2;
        process.methods.add(&code, &mut process.addresses).unwrap();
        assert_eq!(process.name(seen), "Shop.Buy", "another method came");
    }

    #[test]
    fn a_hole_between_methods_of_one_file_is_named_by_it() {
        let mut process = Process::default();
        process.method("First", 0x1000, 0x10, false, false);
        process.method("Last", 0x9000, 0x10, false, false);
        process.load("Jitted", 0xf000, 0x10);
        let name = |process: &Process, address| process.methods.name_without_method(address);
        assert_eq!(name(&process, 0x5000), "[unknown]", "whose name is not known");
        process.module("/app/Shop.Core.dll");
        assert_eq!(name(&process, 0x5000), "Shop.Core![unknown]");
        assert_eq!(name(&process, 0xa000), "[unknown]", "behind the last");
        assert_eq!(name(&process, 0x500), "[unknown]");
    }

    #[test]
    fn absurd_code_is_nowhere() {
        let mut process = Process::default();
        process.load("Empty", 0x1000, 0);
        process.load("Wrapped", u64::MAX - 2, 0x10);
        assert!(process.methods.code.is_empty());
    }
}
