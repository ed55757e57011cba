//! Sets of Linux capabilities, by the names of `capabilities.add` and `drop`.

/// Numbered as in `linux/capability.h`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CapabilitySet(u64);

impl CapabilitySet {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self((1 << NAMES.len()) - 1);
    pub(crate) const DAC_OVERRIDE: Self = Self(1 << 1);
    pub(crate) const KILL: Self = Self(1 << 5);
    pub(crate) const SETGID: Self = Self(1 << 6);
    pub(crate) const SETUID: Self = Self(1 << 7);
    pub(crate) const NET_BIND_SERVICE: Self = Self(1 << 10);
    pub(crate) const NET_RAW: Self = Self(1 << 13);
    pub(crate) const SYS_PTRACE: Self = Self(1 << 19);
    pub(crate) const SYSLOG: Self = Self(1 << 34);
    pub(crate) const PERFMON: Self = Self(1 << 38);
    /// What shows the kernel's frames, and their names.
    pub(crate) const KERNEL: Self = Self(Self::SYSLOG.0 | Self::PERFMON.0);
    /// What becomes another user.
    pub(crate) const SWITCH: Self = Self(Self::SETGID.0 | Self::SETUID.0);
    /// What Pod Security *baseline* lets a container add: 13.
    pub(crate) const BASELINE: Self = Self(
        Self::SWITCH.0
            | Self::DAC_OVERRIDE.0
            | Self::KILL.0
            | Self::NET_BIND_SERVICE.0
            | 1 // CHOWN
            | 1 << 3 // FOWNER
            | 1 << 4 // FSETID
            | 1 << 8 // SETPCAP
            | 1 << 18 // SYS_CHROOT
            | 1 << 27 // MKNOD
            | 1 << 29 // AUDIT_WRITE
            | 1 << 31, // SETFCAP
    );
    /// What containerd gives a container that states nothing: 14. CRI-O gives a subset, to the app and to us alike.
    pub(crate) const RUNTIME_DEFAULT: Self = Self(Self::BASELINE.0 | Self::NET_RAW.0);

    /// The capability called `name`, with or without `CAP_`; `ALL` is all.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        if name == "ALL" {
            return Some(Self::ALL);
        }
        let number = NAMES.iter().position(|known| *known == name)?;
        Some(Self(1 << number))
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Names as in `capabilities.add`, in the kernel's order.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        let held = move |number: usize| self.0 & (1 << number) != 0;
        NAMES
            .iter()
            .enumerate()
            .filter_map(move |(number, name)| held(number).then_some(*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (name, set) in [
            ("DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE),
            ("KILL", CapabilitySet::KILL),
            ("SETGID", CapabilitySet::SETGID),
            ("SETUID", CapabilitySet::SETUID),
            ("NET_BIND_SERVICE", CapabilitySet::NET_BIND_SERVICE),
            ("CAP_NET_RAW", CapabilitySet::NET_RAW),
            ("SYS_PTRACE", CapabilitySet::SYS_PTRACE),
            ("SYSLOG", CapabilitySet::SYSLOG),
            ("PERFMON", CapabilitySet::PERFMON),
            ("ALL", CapabilitySet::ALL),
        ] {
            assert_eq!(CapabilitySet::named(name), Some(set), "{name}");
        }
        assert_eq!(CapabilitySet::named("NO_SUCH"), None);
    }

    #[test]
    fn the_defaults_are_the_fourteen_and_baseline_lets_add_all_but_net_raw() {
        let mut names: Vec<_> = CapabilitySet::RUNTIME_DEFAULT.names().collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "AUDIT_WRITE",
                "CHOWN",
                "DAC_OVERRIDE",
                "FOWNER",
                "FSETID",
                "KILL",
                "MKNOD",
                "NET_BIND_SERVICE",
                "NET_RAW",
                "SETFCAP",
                "SETGID",
                "SETPCAP",
                "SETUID",
                "SYS_CHROOT"
            ]
        );
        assert_eq!(CapabilitySet::BASELINE.names().count(), 13);
    }
}
