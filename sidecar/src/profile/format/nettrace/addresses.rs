//! Every address of code that a stack had, once; and which method was there while it was seen.
//!
//! Names come late: the runtime tells of all methods when the trace ends. But code can be gone by then and other code be in
//! its place, so an address is settled when its method goes away, and is a new one afterwards. Called by
//! [`super::collector`].

use std::collections::BTreeMap;

use super::methods::MethodId;
use crate::profile::ModelError;

/// Distinct addresses. A process of 100,000 methods has some million.
const MOST: usize = 16 << 20;

/// A row of [`Addresses`].
pub(super) type AddressId = u32;

#[derive(Debug)]
struct Address {
    address: u64,
    /// Whose code was there, if that is settled.
    method: Option<MethodId>,
}

/// Addresses in the order in which they were seen.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    rows: Vec<Address>,
    /// Those that are not settled.
    open: BTreeMap<u64, AddressId>,
}

impl Addresses {
    /// The id of an address as of now.
    pub(super) fn id(&mut self, address: u64) -> Result<AddressId, ModelError> {
        if let Some(&id) = self.open.get(&address) {
            return Ok(id);
        }
        let too_many = ModelError::TooLarge {
            what: "addresses of code",
            limit: MOST,
        };
        if self.rows.len() >= MOST {
            return Err(too_many);
        }
        let id = u32::try_from(self.rows.len()).map_err(|_| too_many)?;
        self.rows.push(Address { address, method: None });
        self.open.insert(address, id);
        Ok(id)
    }

    /// Code of `method`, from `start` to before `end`, is gone.
    pub(super) fn settle(&mut self, start: u64, end: u64, method: MethodId) {
        let gone: Vec<_> = self
            .open
            .range(start..end)
            .map(|(&address, &id)| (address, id))
            .collect();
        for (address, id) in gone {
            self.open.remove(&address);
            if let Some(row) = self.rows.get_mut(id as usize) {
                row.method = Some(method);
            }
        }
    }

    /// The address of an id, and its method if that is settled.
    pub(super) fn get(&self, id: AddressId) -> (u64, Option<MethodId>) {
        self.rows
            .get(id as usize)
            .map_or((0, None), |row| (row.address, row.method))
    }
}
