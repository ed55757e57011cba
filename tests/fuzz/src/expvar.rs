//! What a Go program publishes at `/debug/vars`, all of it the app's words. However deep and long it is, what is told of it is little,
//! and fits into a line of text for Prometheus.

use sideflame::runtime::go::fuzz::memstats;

use crate::Seed;

pub(crate) fn run(bytes: &[u8]) {
    let Some(values) = memstats(bytes) else { return };
    assert!(values.len() <= 128, "{}", values.len());
    for value in values {
        assert!(value.is_shared() && value.value.is_finite());
        assert!(value.name.starts_with("go_") && value.tags.len() <= 4 * 128 + 4);
        assert!(value.tags.matches(['=', ',']).count() <= 1 && !value.tags.contains(char::is_control));
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let own = br#"{"cmdline": ["/shop", "-v"], "shop.carts": 2, "shop.paths": {"/": 7}, "shop.name": "x", "shop.load": 0.25,
"memstats": {"Alloc":1,"TotalAlloc":2,"Sys":3,"Mallocs":4,"Frees":5,"HeapObjects":6,"PauseTotalNs":7,"NumGC":8,"LastGC":9,"GCCPUFraction":1e-3,"BySize":[{"Size":0,"Mallocs":0}]}}"#;
    vec![("own", own.to_vec()), ("least", br#"{"memstats":{"TotalAlloc":0}}"#.to_vec())]
}
