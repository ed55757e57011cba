use super::*;

fn url(text: &str) -> ServerUrl {
    ServerUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn policy(allowed: &[&str]) -> UrlPolicy {
    UrlPolicy {
        allowed: allowed.iter().map(|entry| AllowedUrl::parse(entry).unwrap()).collect(),
        own: vec!["10.1.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
    }
}

/// Where a URL leads whose host is an address, or the words against it.
fn judged(allowed: &[&str], text: &str) -> Result<String, String> {
    match policy(allowed).destination(&url(text)) {
        Ok(Some(places)) => Ok(places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        Ok(None) => Ok("a name".to_owned()),
        Err(reason) => {
            assert_eq!(reason.key, URL_NOT_ALLOWED);
            Err(reason.sentence)
        }
    }
}

fn answered(allowed: &[&str], text: &str, answer: &[&str]) -> Result<usize, String> {
    let answer: Vec<_> = answer.iter().map(|one| one.parse().unwrap()).collect();
    let places = policy(allowed).answered(&url(text), &answer);
    places.map(|places| places.len()).map_err(|reason| reason.sentence)
}

#[test]
fn a_url_is_read_as_it_is_written() {
    for (text, shown, index) in [
        ("http://127.0.0.1:6060", "http://127.0.0.1:6060", "/debug/pprof/"),
        (
            "HTTPS://Shop.Default.svc",
            "https://shop.default.svc:443",
            "/debug/pprof/",
        ),
        ("http://localhost/", "http://localhost:80", "/debug/pprof/"),
        (
            "https://[fd00::1]:6443/admin/",
            "https://[fd00::1]:6443/admin",
            "/admin/debug/pprof/",
        ),
        (
            "http://a-b_c.example:1/debug/pprof",
            "http://a-b_c.example:1",
            "/debug/pprof/",
        ),
        ("http://x:1/~a.b/debug/pprof/", "http://x:1/~a.b", "/~a.b/debug/pprof/"),
        // What is mapped is what it stands for, so that it is also connected to.
        ("http://[::ffff:127.0.0.1]:1", "http://127.0.0.1:1", "/debug/pprof/"),
    ] {
        let parsed = url(text);
        assert_eq!((parsed.to_string().as_str(), parsed.index()), (shown, index), "{text}");
        assert_eq!(url(&parsed.to_string()), parsed);
    }
    assert!(url("https://x").is_encrypted() && !url("http://x").is_encrypted());
}

#[test]
fn what_programs_read_differently_is_no_url() {
    use UrlError::{Characters, Credentials, Host, Number, Path, Port, Scheme};
    for (text, error) in [
        ("file:///etc/passwd", Scheme),
        ("gopher://127.0.0.1:70/_x", Scheme),
        ("ftp://127.0.0.1", Scheme),
        ("127.0.0.1:6060", Scheme),
        ("", Scheme),
        ("http:/127.0.0.1", Scheme),
        ("http://user:secret@127.0.0.1:6060", Credentials),
        ("http://127.0.0.1:6060@evil.example", Credentials),
        ("http://evil.example\\@127.0.0.1", Characters),
        ("http://127.0.0.1:6060\r\nHost: evil", Characters),
        ("http://127.0.0.1:6060/\u{0}", Characters),
        (" http://127.0.0.1", Characters),
        ("http://127.0.0.1\t", Characters),
        ("http://b\u{fc}cher.example", Characters),
        ("http://\u{ff11}27.0.0.1", Characters),
        ("http://2130706433:6060", Number),
        ("http://017700000001", Number),
        ("http://0177.0.0.1", Number),
        ("http://127.0.0.01", Number),
        ("http://0x7f000001", Number),
        ("http://0x7f.1", Number),
        ("http://127.1", Number),
        ("http://127.0.1", Number),
        ("http://1.2.3.4.5", Number),
        ("http://256.0.0.1", Number),
        ("http://a.0x", Number),
        ("http://127.0.0.1.", Host),
        ("http://", Host),
        ("http:///x", Host),
        ("http://::1:80", Port),
        ("http://[::1", Port),
        ("http://[::1]x", Host),
        ("http://[fe80::1%25eth0]", Host),
        ("http://[127.0.0.1]", Host),
        ("http://%31%32%37.0.0.1", Host),
        ("http://-a.example", Host),
        ("http://a..example", Host),
        ("http://a,b", Host),
        ("http://x:0", Port),
        ("http://x:", Port),
        ("http://x:65536", Port),
        ("http://x:+80", Port),
        ("http://x:80:81", Port),
        ("http://x/?a=b", Path),
        ("http://x?url=http://y", Path),
        ("http://x#y", Path),
        ("http://x/../admin", Path),
        ("http://x/./", Path),
        ("http://x//y", Path),
        ("http://x/%2e%2e/", Path),
        ("http://x/;a", Path),
    ] {
        assert_eq!(ServerUrl::parse(text), Err(error), "{text:?}");
    }
    assert_eq!(
        ServerUrl::parse(&format!("http://x/{}", "a".repeat(LONGEST))),
        Err(Characters)
    );
    assert_eq!(
        ServerUrl::parse(&format!("http://{}", "a.".repeat(200) + "a")),
        Err(Host)
    );
}

#[test]
fn loopback_and_our_own_addresses_need_no_entry() {
    for (text, place) in [
        ("http://127.0.0.1:6060", "127.0.0.1:6060"),
        ("http://127.255.1.2", "127.255.1.2:80"),
        ("https://[::1]:1", "[::1]:1"),
        ("http://localhost:1", "127.0.0.1:1 [::1]:1"),
        ("http://10.1.0.7:1", "10.1.0.7:1"),
        ("http://[fd00::7]:1", "[fd00::7]:1"),
        ("http://[::ffff:a01:7]:1", "10.1.0.7:1"),
    ] {
        assert_eq!(judged(&[], text).unwrap(), place, "{text}");
    }
    for text in [
        "http://10.1.0.8:1",
        "http://1.1.1.1",
        "http://[fd00::8]:1",
        "http://shop:1",
        "http://localhost.evil.example",
    ] {
        assert!(judged(&[], text).unwrap_err().contains("not among"), "{text}");
    }
}

#[test]
fn an_entry_is_of_a_scheme_a_port_and_a_host() {
    let list = [
        "https://10.0.0.0/8:6443",
        "http://shop.default.svc:6060",
        "https://[fd00:10::/64]:6443",
        "http://192.0.2.9",
    ];
    for good in [
        "https://10.0.0.0:6443",
        "https://10.255.255.255:6443",
        "http://shop.default.svc:6060",
        "https://[fd00:10::9]:6443",
        "http://192.0.2.9:80",
        "https://[::ffff:10.0.0.9]:6443",
        // It leads to the same server by way of a translator.
        "https://[64:ff9b::10.0.0.9]:6443",
        // A name may turn out to be in a network.
        "https://any.example:6443",
    ] {
        judged(&list, good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for bad in [
        "http://10.0.0.1:6443",
        "https://10.0.0.1:443",
        "https://11.0.0.1:6443",
        "http://shop.default.svc:6061",
        "http://shop.default.svc.evil.example:6060",
        "http://xshop.default.svc:6060",
        "https://[fd00:11::9]:6443",
        "http://192.0.2.8",
        "https://any.example:443",
    ] {
        assert!(judged(&list, bad).unwrap_err().contains("not among"), "{bad}");
    }
    let everything = ["http://0.0.0.0/0:80", "http://[::/0]:80"];
    assert!(judged(&everything, "http://1.2.3.4").is_ok() && judged(&everything, "http://[2606::1]").is_ok());
}

#[test]
fn an_entry_says_what_is_wrong_with_it() {
    for bad in [
        "10.0.0.0/8:6443",
        "ftp://10.0.0.0/8:21",
        "https://10.0.0.0/33:1",
        "https://10.0.0.0/:1",
        "https://10.0.0.0/+8:1",
        "https://[::/129]:1",
        "https://[10.0.0.0/8]:1",
        "https://fd00::/8:1",
        "https://*:1",
        "https://127.1:1",
        "https://a@b:1",
        "https://a:0",
        "http://169.254.169.254",
        "http://[fd00:ec2::254]",
    ] {
        assert!(AllowedUrl::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn some_addresses_are_never_asked() {
    let everything = ["http://0.0.0.0/0:80", "http://[::/0]:80"];
    for never in [
        "169.254.169.254",
        "169.254.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "[::]",
        "[fe80::1]",
        "[febf::1]",
        "[ff02::1]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "[::ffff:169.254.169.254]",
        "[::169.254.169.254]",
        "[::ffff:0:169.254.169.254]",
        "[::feff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[2001:0:1::5601:5601]",
        "[2001:db8::5efe:a9fe:a9fe]",
        "[2001:db8::200:5efe:a9fe:a9fe]",
        "[::ffff:0.0.0.0]",
    ] {
        let words = judged(&everything, &format!("http://{never}")).unwrap_err();
        assert!(words.contains("never asked"), "{never}: {words}");
        let answer = never.trim_matches(['[', ']']);
        let words = answered(&["http://shop:80"], "http://shop", &["10.0.0.1", answer]).unwrap_err();
        assert!(words.contains("never asked"), "{never}: {words}");
    }
}

#[test]
fn what_only_stands_for_loopback_is_not_our_own() {
    for text in [
        "http://[64:ff9b::7f00:1]",
        "http://[2002:7f00:1::1]",
        "http://[::127.0.0.1]",
    ] {
        assert!(judged(&[], text).is_err(), "{text}");
    }
}

#[test]
fn every_address_of_a_name_is_judged() {
    let named = ["http://shop:6060"];
    let network = ["http://10.0.0.0/8:6060"];
    assert_eq!(
        answered(&named, "http://shop:6060", &["192.0.2.1", "2001:db8::1"]),
        Ok(2)
    );
    assert_eq!(answered(&network, "http://shop:6060", &["10.0.0.1", "10.0.0.2"]), Ok(2));
    for (list, answer, word) in [
        (&network, &["10.0.0.1", "11.0.0.1"][..], "11.0.0.1"),
        (&named, &["192.0.2.1", "127.0.0.1"], "loopback"),
        (&named, &["::1"], "loopback"),
        (&named, &["::ffff:127.0.0.1"], "loopback"),
        (&named, &["64:ff9b::7f00:1"], "loopback"),
        // Our own address needs no entry only where it is written.
        (&network, &["fd00::7"], "not among"),
        (&named, &[], "no address"),
    ] {
        let words = answered(list, "http://shop:6060", answer).unwrap_err();
        assert!(words.contains(word), "{answer:?}: {words}");
    }
    let many = ["192.0.2.1"; MOST_ADDRESSES + 1];
    assert!(
        answered(&named, "http://shop:6060", &many)
            .unwrap_err()
            .contains("17 addresses")
    );
}
