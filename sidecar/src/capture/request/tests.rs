use super::*;

fn parse(pairs: &[(&str, &str)]) -> Result<CaptureRequest, RequestError> {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    CaptureRequest::parse(&pairs, 600)
}

#[test]
fn nothing_given_means_thirty_seconds_of_cpu_of_the_default_target() {
    let request = parse(&[]).unwrap();
    assert_eq!(request, CaptureRequest::default());
    assert_eq!((request.seconds, &request.event), (30, &Event::Cpu));
}

#[test]
fn numbers_are_plain_digits_within_bounds() {
    for bad in ["0", "-1", "601", "1e3", " 5", "+5", "", "99999999999999999999", "٣"] {
        assert!(
            matches!(
                parse(&[("seconds", bad)]),
                Err(RequestError::Invalid { name: "seconds", .. })
            ),
            "{bad}"
        );
    }
    assert_eq!(parse(&[("seconds", "600")]).unwrap().seconds, 600);
    for bad in ["0", "-7", "4294967297", "x"] {
        assert!(parse(&[("pid", bad)]).is_err(), "{bad}");
    }
}

#[test]
fn pods_and_containers_have_names_of_kubernetes() {
    for good in ["shop-1", "prod/shop-1", "a.b"] {
        assert_eq!(parse(&[("pod", good)]).unwrap().selector.pod.as_deref(), Some(good));
    }
    for bad in ["", "/", "prod/", "/shop", "a/b/c", "Shop", "shop_1", "sh\u{1b}op"] {
        assert!(parse(&[("pod", bad)]).is_err(), "{bad:?}");
    }
    for bad in ["", "a/b", "a.b", "A"] {
        assert!(parse(&[("container", bad)]).is_err(), "{bad:?}");
    }
    let both = parse(&[("pid", "7"), ("container", "app")]).unwrap().selector;
    assert_eq!((both.pid, both.container.as_deref()), (Some(7), Some("app")));
}

#[test]
fn every_refusal_names_what_is_allowed() {
    assert!(
        parse(&[("format", "gif")])
            .unwrap_err()
            .to_string()
            .contains("svg, collapsed, pprof")
    );
    assert!(
        parse(&[("event", "cpu,file=/etc/passwd")])
            .unwrap_err()
            .to_string()
            .contains("cpu, wall, alloc")
    );
    assert!(parse(&[("secs", "5")]).unwrap_err().to_string().contains("seconds"));
    assert!(
        parse(&[("profile", "nonsense")])
            .unwrap_err()
            .to_string()
            .contains("gc-verbose")
    );
}

#[test]
fn contradictions_are_refused() {
    assert!(matches!(
        parse(&[("pid", "1"), ("name", "a")]),
        Err(RequestError::Conflict(..))
    ));
    assert!(matches!(
        parse(&[("frequency", "99"), ("interval", "1ms")]),
        Err(RequestError::Conflict(..))
    ));
    assert!(matches!(
        parse(&[("seconds", "1"), ("seconds", "2")]),
        Err(RequestError::Repeated { .. })
    ));
}

#[test]
fn what_is_repeated_to_the_caller_is_short_and_printable() {
    let error = parse(&[("name", &"\u{1b}[31m".repeat(100))]).unwrap_err().to_string();
    assert!(!error.contains('\u{1b}') && error.len() < 300, "{error}");
}

#[test]
fn both_words_of_a_parameter_mean_the_same() {
    for pairs in [
        [("seconds", "90"), ("format", "svg")],
        [("duration", "1m 30s"), ("output", "svg")],
    ] {
        let request = parse(&pairs).unwrap();
        assert_eq!((request.seconds, request.format), (90, Some(Format::Svg)), "{pairs:?}");
    }
    assert_eq!(
        parse(&[("seconds", "1"), ("duration", "1")]),
        Err(RequestError::Repeated { name: "seconds" })
    );
}

#[test]
fn what_is_allowed_is_a_list_of_values_that_are_taken() {
    for (_, parameter) in CaptureRequest::parameters() {
        let name = parameter.name;
        let Err(RequestError::Invalid { allowed, expected, .. }) = parse(&[(name, "\u{1b},;:")]) else {
            panic!("{name} takes anything");
        };
        assert!(!expected.is_empty(), "{name}");
        assert_eq!(allowed.is_empty(), parameter.takes.allowed().is_empty(), "{name}");
        for value in allowed {
            assert!(parse(&[(name, &value)]).is_ok(), "{name}={value}");
        }
    }
}

#[test]
fn a_default_is_what_leaving_the_parameter_out_means() {
    let with_defaults = CaptureRequest::parameters()
        .filter_map(|(_, parameter)| Some((parameter.name, parameter.default?)))
        .collect::<Vec<_>>();
    assert_eq!(with_defaults.len(), 13);
    assert_eq!(parse(&with_defaults).unwrap(), CaptureRequest::default());
}

#[test]
fn no_word_names_two_parameters() {
    let words = CaptureRequest::parameters().flat_map(|(_, parameter)| {
        let flag = Some(parameter.flag).filter(|flag| *flag != parameter.name);
        [Some(parameter.name), flag].into_iter().flatten()
    });
    let mut words: Vec<_> = words.collect();
    words.sort_unstable();
    assert!(words.windows(2).all(|two| two[0] != two[1]), "{words:?}");
}

/// Parameters are declared once; README.md shows them. `UPDATE_GOLDEN=1` writes its table anew.
#[test]
fn the_table_of_parameters_in_the_readme_is_the_declaration() {
    const HEAD: &str = "| parameter | flag | value | default | for |";
    let readme = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let begin = text.find(HEAD).expect("README.md has no table of parameters");
    let end = begin + text[begin..].find("\n\n").unwrap() + 1;
    let row = |(of, parameter): (&[Runtime], &Parameter)| {
        let flag = match (parameter.positional, parameter.short) {
            (true, _) => parameter.placeholder.to_owned(),
            (_, Some(letter)) => format!("`-{letter}` `--{}`", parameter.flag),
            (_, None) => format!("`--{}`", parameter.flag),
        };
        let repeatable = if parameter.repeatable { " (repeatable)" } else { "" };
        format!(
            "| `{}` | {flag} | {}{repeatable} | {} | {} | {} |\n",
            parameter.name,
            parameter.takes.expected(),
            parameter.default.unwrap_or("-"),
            Runtime::labels(of).as_deref().unwrap_or("all"),
            parameter.help,
        )
    };
    let rows: String = CaptureRequest::parameters().map(row).collect();
    let table = format!("{HEAD} what it does |\n|---|---|---|---|---|---|\n{rows}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&readme, format!("{}{table}{}", &text[..begin], &text[end..])).unwrap();
    } else {
        assert_eq!(&text[begin..end], table, "UPDATE_GOLDEN=1 writes it anew");
    }
}

#[test]
fn a_whole_node_is_no_process_of_it() {
    assert!(
        parse(&[("scope", "node"), ("event", "page-faults")])
            .unwrap()
            .whole_node
    );
    assert!(!parse(&[("pid", "7")]).unwrap().whole_node);
    assert!(matches!(
        parse(&[("scope", "pod")]),
        Err(RequestError::Invalid { name: "scope", .. })
    ));
    for other in [("pid", "7"), ("name", "shop"), ("pod", "shop"), ("container", "app")] {
        assert_eq!(
            parse(&[other, ("scope", "node")]).unwrap_err(),
            RequestError::Conflict("scope", other.0)
        );
    }
}
