use super::*;

/// A record as the kernel writes it, little or big as the machine is.
struct Written(Vec<u8>);

impl Written {
    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend(text.as_bytes());
        // At least one zero, to a multiple of 8.
        self.0.resize((self.0.len() / 8 + 1) * 8, 0);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// With the header of its size.
    fn done(self, kind: u32, misc: u16) -> Vec<u8> {
        let size = u16::try_from(self.0.len() + HEADER).unwrap();
        let mut all = kind.to_ne_bytes().to_vec();
        all.extend(misc.to_ne_bytes());
        all.extend(size.to_ne_bytes());
        all.extend(self.0);
        all
    }

    /// Any record but a sample, of event 5 in thread 8 of process 7.
    fn told(self, kind: u32, misc: u16, time: u64) -> Vec<u8> {
        self.u32(7).u32(8).u64(time).u64(5).done(kind, misc)
    }
}

fn begin() -> Written {
    Written(Vec::new())
}

/// The begin of a sample of event 5 in thread 8 of process 7 with this stack.
fn sampled(time: u64, chain: &[u64]) -> Written {
    let head = begin().u64(5).u32(7).u32(8).u64(time).u64(10_101_010);
    chain
        .iter()
        .fold(head.u64(chain.len() as u64), |written, address| written.u64(*address))
}

fn ring_with(used: u64, records: &[&[u8]]) -> Ring {
    let ring = Ring::example(1, used);
    for record in records {
        assert!(ring.push(record));
    }
    ring
}

fn envelope(bytes: &[u8]) -> Envelope {
    Envelope::at(&ring_with(0, &[bytes]), 0).unwrap().unwrap()
}

fn told(bytes: &[u8], check: impl FnOnce(Option<Record<'_>>)) {
    let mut scratch = Scratch::default();
    check(record(&envelope(bytes), bytes, &mut scratch));
}

fn registers_of(ip: u64) -> Written {
    let abi = begin().u64(2);
    if cfg!(target_arch = "x86_64") {
        abi.u64(0xf).u64(0x5).u64(ip)
    } else {
        abi.u64(0xf).u64(0x1).u64(0x5).u64(ip)
    }
}

#[test]
fn an_envelope_is_the_same_wherever_the_ring_wraps() {
    let sample = sampled(99, &[CONTEXT_USER, 1]).done(PERF_RECORD_SAMPLE, 2);
    let exit = begin()
        .u32(7)
        .u32(1)
        .u32(8)
        .u32(1)
        .u64(100)
        .told(PERF_RECORD_EXIT, 0, 101);
    for used in 4096 - 120..4096 {
        let ring = ring_with(used, &[&sample, &exit]);
        let first = Envelope::at(&ring, 0).unwrap().unwrap();
        assert_eq!((first.pid, first.tid, first.time, first.event), (7, 8, 99, 5));
        let second = Envelope::at(&ring, first.size).unwrap().unwrap();
        assert_eq!(
            (second.kind, second.tid, second.time, second.event),
            (PERF_RECORD_EXIT, 8, 101, 5)
        );
        assert_eq!(Envelope::at(&ring, first.size + second.size), Ok(None));
    }
}

#[test]
fn a_record_of_an_impossible_size_breaks_the_ring_and_nothing_else() {
    for size in [0_u16, 7, 8, 31, 33, 65_535] {
        let mut bytes = PERF_RECORD_SAMPLE.to_ne_bytes().to_vec();
        bytes.extend(0_u16.to_ne_bytes());
        bytes.extend(size.to_ne_bytes());
        bytes.extend([0; 24]);
        assert_eq!(Envelope::at(&ring_with(0, &[&bytes]), 0), Err(Broken), "{size}");
    }
    assert_eq!(Envelope::at(&ring_with(0, &[&[0; 4]]), 0), Err(Broken));
}

#[test]
fn a_stack_is_split_at_the_border_of_the_kernel() {
    let kernel = [CONTEXT_KERNEL, 0xffff_8000_0000_0001, 0xffff_8000_0000_0002];
    let user = [CONTEXT_USER, 0x5501, 0x5502, 0x5503];
    let both = [kernel.as_slice(), &user].concat();
    for (chain, in_kernel, in_user) in [(&both[..], 2, 3), (&kernel, 2, 0), (&user, 0, 3), (&[], 0, 0)] {
        let bytes = sampled(99, chain).done(PERF_RECORD_SAMPLE, 0);
        let mut scratch = Scratch::default();
        let sample = sample(&envelope(&bytes), &bytes, (None, false), &mut scratch).unwrap();
        assert_eq!((sample.kernel.len(), sample.user.len()), (in_kernel, in_user));
        assert_eq!(
            (sample.period, sample.pid, sample.tid, sample.time),
            (10_101_010, 7, 8, 99)
        );
        assert!(sample.registers.is_none() && sample.stack.is_empty());
    }
}

#[test]
fn of_a_copied_stack_only_what_was_there_is_told() {
    let written = |size: u64, used: u64| {
        let head = sampled(99, &[CONTEXT_USER, 0x5501])
            .bytes(&registers_of(0x5501).0)
            .u64(size);
        let head = head.bytes(&vec![7; usize::try_from(size).unwrap()]);
        let all = if size > 0 { head.u64(used) } else { head };
        all.done(PERF_RECORD_SAMPLE, 0)
    };
    for (size, used, told) in [(64, 24, 24), (64, 64, 64), (64, u64::MAX, 64), (0, 0, 0)] {
        let bytes = written(size, used);
        let mut scratch = Scratch::default();
        let sample = sample(&envelope(&bytes), &bytes, (None, true), &mut scratch).unwrap();
        let registers = sample.registers.unwrap();
        assert_eq!((registers.ip, registers.sp, registers.fp), (0x5501, 0x5, 0xf));
        assert_eq!(sample.stack.len(), told);
    }
    // A thread of the kernel has neither.
    let bytes = sampled(99, &[]).u64(0).u64(0).done(PERF_RECORD_SAMPLE, 0);
    let mut scratch = Scratch::default();
    let sample = sample(&envelope(&bytes), &bytes, (None, true), &mut scratch).unwrap();
    assert!(sample.registers.is_none() && sample.stack.is_empty());
}

#[test]
fn every_truncation_of_a_sample_is_none() {
    let whole = sampled(99, &[CONTEXT_USER, 0x5501])
        .bytes(&registers_of(0x5501).0)
        .u64(16)
        .bytes(&[7; 16])
        .u64(16);
    let bytes = whole.done(PERF_RECORD_SAMPLE, 0);
    let envelope = envelope(&bytes);
    let mut scratch = Scratch::default();
    assert!(sample(&envelope, &bytes, (None, true), &mut scratch).is_some());
    for end in 0..bytes.len() {
        assert!(
            sample(&envelope, &bytes[..end], (None, true), &mut scratch).is_none(),
            "{end}"
        );
    }
    // Sizes within it that cannot be.
    let endless = begin()
        .u64(5)
        .u32(7)
        .u32(8)
        .u64(99)
        .u64(1)
        .u64(u64::MAX)
        .done(PERF_RECORD_SAMPLE, 0);
    assert!(sample(&envelope, &endless, (None, false), &mut scratch).is_none());
    let endless = sampled(99, &[])
        .bytes(&registers_of(1).0)
        .u64(u64::MAX)
        .done(PERF_RECORD_SAMPLE, 0);
    assert!(sample(&envelope, &endless, (None, true), &mut scratch).is_none());
}

#[test]
fn a_mapping_is_a_file_the_vdso_or_neither() {
    let id = FileId {
        device: (8, 1),
        inode: 42,
    };
    let file = |path: &str| Backing::File { path: path.into(), id };
    for (name, expected) in [
        ("/usr/lib/libc.so.6", file("/usr/lib/libc.so.6")),
        ("/app/shop (deleted)", file("/app/shop")),
        ("[vdso]", Backing::Vdso),
        ("[heap]", Backing::Anonymous),
        ("//anon", Backing::Anonymous),
        ("//toolong", Backing::Anonymous),
        ("", Backing::Anonymous),
        ("/memfd:doublemapper (deleted)", Backing::Anonymous),
        ("/dev/zero (deleted)", Backing::Anonymous),
    ] {
        let head = begin()
            .u32(7)
            .u32(8)
            .u64(0x1000)
            .u64(0x2000)
            .u64(0x3000)
            .u32(8)
            .u32(1)
            .u64(42)
            .u64(0);
        let bytes = head.u32(5).u32(2).text(name).told(PERF_RECORD_MMAP2, 0, 99);
        told(&bytes, |record| match record {
            Some(Record::Mapped { pid: 7, mapping }) => {
                assert_eq!((mapping.start, mapping.end, mapping.offset), (0x1000, 0x3000, 0x3000));
                assert_eq!(mapping.backing, expected, "{name}");
            }
            other => panic!("{other:?}"),
        });
    }
    // One that would end beyond all addresses.
    let head = begin()
        .u32(7)
        .u32(8)
        .u64(u64::MAX)
        .u64(2)
        .u64(0)
        .u32(8)
        .u32(1)
        .u64(42)
        .u64(0);
    let bytes = head.u32(5).u32(2).text("/x").told(PERF_RECORD_MMAP2, 0, 99);
    told(&bytes, |record| assert!(record.is_none()));
}

#[test]
fn forks_ends_and_programs_are_told() {
    let four = || begin().u32(70).u32(7).u32(80).u32(8).u64(99);
    told(&four().told(PERF_RECORD_FORK, 0, 99), |record| {
        assert!(
            matches!(record, Some(Record::Forked { pid: 70, parent: 7 })),
            "{record:?}"
        );
    });
    told(&four().told(PERF_RECORD_EXIT, 0, 99), |record| {
        assert!(
            matches!(record, Some(Record::Exited { pid: 70, tid: 80 })),
            "{record:?}"
        );
    });
    let named = || begin().u32(7).u32(7).text("shop");
    told(&named().told(PERF_RECORD_COMM, MISC_EXEC_OR_OUT, 99), |record| {
        assert!(matches!(record, Some(Record::Executed { pid: 7 })), "{record:?}");
    });
    told(&named().told(PERF_RECORD_COMM, 0, 99), |record| {
        assert!(record.is_none(), "only a new name")
    });
}

#[test]
fn what_is_lost_and_throttled_is_told() {
    told(&begin().u64(5).u64(1234).told(PERF_RECORD_LOST, 0, 99), |record| {
        assert!(matches!(record, Some(Record::Lost(1234))), "{record:?}");
    });
    told(
        &begin().u64(99).u64(5).u64(5).told(PERF_RECORD_THROTTLE, 0, 99),
        |record| {
            assert!(matches!(record, Some(Record::Throttled)), "{record:?}");
        },
    );
}

#[test]
fn who_comes_to_a_cpu_is_told_and_who_leaves_says_whether_it_would_go_on() {
    let switch = |misc| begin().told(PERF_RECORD_SWITCH, misc, 99);
    told(&switch(0), |record| {
        assert!(
            matches!(
                record,
                Some(Record::SwitchIn {
                    pid: 7,
                    tid: 8,
                    time: 99
                })
            ),
            "{record:?}"
        );
    });
    told(&switch(MISC_EXEC_OR_OUT), |record| {
        assert!(record.is_none(), "its sample tells it")
    });
    assert_eq!(envelope(&switch(0)).leaves(), None);
    assert_eq!(envelope(&switch(MISC_EXEC_OR_OUT)).leaves(), Some(false));
    assert_eq!(
        envelope(&switch(MISC_EXEC_OR_OUT | MISC_PREEMPTED)).leaves(),
        Some(true)
    );
}
