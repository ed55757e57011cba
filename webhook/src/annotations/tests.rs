//! Tests.

use serde_json::{Map, Value, json};

use super::*;

fn map(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs
        .iter()
        .map(|(name, value)| (format!("{PREFIX}{name}"), json!(value)))
        .collect()
}

#[test]
fn every_row_has_a_key_of_its_own_and_reads_the_values_it_allows() {
    let good = [
        ("inject", "true"),
        ("container", "app, worker"),
        ("rights", "same-user"),
        ("run-as-user", "0"),
        ("run-as-group", "2147483647"),
        ("port", "65535"),
        ("metrics-port", "1024"),
        (
            "image",
            "registry.example:5000/sideflame@sha256:00000000000000000000000000000000",
        ),
        ("events", "cpu,cycles"),
        ("cpu-request", "1m"),
        ("cpu-limit", "2"),
        ("memory-request", "16Mi"),
        ("memory-limit", "1Gi"),
        ("capture-size", "16Mi"),
        ("tmp", "off"),
        ("jvm-debug-info", "true"),
        ("dotnet-sampling", "10ms"),
        ("dotnet-port", "true"),
        ("token-secret", "shop.token"),
        ("sidecar", "native"),
        ("on-error", "block"),
    ];
    let names: Vec<&str> = TABLE
        .iter()
        .map(|row| row.name)
        .filter(|name| *name != "status")
        .collect();
    assert_eq!(names, good.map(|(name, _)| name));
    let annotations = map(&good);
    let Reading {
        annotations,
        errors,
        warnings,
    } = read(Some(&annotations));
    assert_eq!((errors, warnings), (Vec::new(), Vec::new()));
    assert_eq!(annotations.inject, Some(true));
    assert_eq!(annotations.containers, ["app", "worker"]);
    assert_eq!(annotations.rights, Some(Rights::SameUser));
    assert_eq!(
        (annotations.run_as_user, annotations.run_as_group),
        (Some(0), Some(2_147_483_647))
    );
    assert_eq!((annotations.port, annotations.metrics_port), (Some(65_535), Some(1024)));
    assert_eq!(annotations.events, [Event::DEFAULT, Event::named("cycles").unwrap()]);
    assert!(annotations.no_tmp && annotations.jvm_debug_info && annotations.dotnet_port && annotations.block_on_error);
    assert_eq!(annotations.dotnet_sampling, Some(10));
    assert_eq!(annotations.token_secret, Some("shop.token"));
    assert_eq!(annotations.sidecar, Some(SidecarForm::Native));
    let texts = [
        &annotations.cpu_request,
        &annotations.cpu_limit,
        &annotations.memory_request,
        &annotations.memory_limit,
        &annotations.capture_size,
    ];
    assert_eq!(
        texts.map(|quantity| quantity.as_ref().unwrap().to_string()),
        ["1m", "2", "16Mi", "1Gi", "16Mi"]
    );
}

#[test]
fn a_bad_value_is_an_error_that_lists_the_allowed_ones() {
    for (name, value) in [
        ("inject", "enabled"),
        ("inject", "True"),
        ("container", "app,"),
        ("container", "App"),
        ("rights", "root"),
        ("run-as-user", "-1"),
        ("run-as-user", "2147483648"),
        ("run-as-group", "+1"),
        ("port", "80"),
        ("metrics-port", "80"),
        ("port", "65536"),
        ("image", "a b"),
        ("image", ""),
        ("image", "registry.example/Sideflame:1"),
        ("image", "sideflame:"),
        ("image", "sideflame@sha256:0"),
        ("image", "/sideflame"),
        ("image", "registry.example/sideflame/"),
        ("events", "cup"),
        ("cpu-limit", "0"),
        ("memory-limit", "1Mi"),
        ("capture-size", "1"),
        ("tmp", "on"),
        ("jvm-debug-info", "yes"),
        ("dotnet-sampling", "10"),
        ("dotnet-sampling", "0ms"),
        ("dotnet-sampling", "1s"),
        ("dotnet-port", "/tmp/port.sock"),
        ("token-secret", "Token"),
        ("token-secret", "a..b"),
        ("sidecar", "yes"),
        ("on-error", "fail"),
    ] {
        let annotations = map(&[(name, value)]);
        let reading = read(Some(&annotations));
        let row = TABLE.iter().find(|row| row.name == name).unwrap();
        assert_eq!(
            reading.errors,
            [format!("sideflame.io/{name}: {value:?} must be {}", row.allowed)]
        );
    }
}

#[test]
fn what_could_be_an_image_is_taken() {
    for image in [
        "sideflame",
        "sideflame:1.0_a",
        "team/sideflame",
        "localhost/sideflame",
        "localhost:5000/team/side-flame_x:latest",
        "Registry.example/team/sideflame:1",
        "[::1]:5000/sideflame",
    ] {
        let annotations = map(&[("image", image)]);
        assert_eq!(read(Some(&annotations)).annotations.image, Some(image));
    }
}

#[test]
fn an_unknown_key_is_a_warning_with_the_nearest_one() {
    let annotations = map(&[("memory-limits", "1Gi"), ("flavour", "sweet"), ("status", "{}")]);
    let reading = read(Some(&annotations));
    assert_eq!(reading.errors, [] as [&str; 0]);
    assert_eq!(reading.warnings.len(), 2, "{:?}", reading.warnings);
    assert!(reading.warnings[0].ends_with("did you mean sideflame.io/memory-limit?"));
}

#[test]
fn a_request_above_its_limit_is_an_error() {
    let annotations = map(&[("memory-request", "1Gi"), ("memory-limit", "1000Mi")]);
    assert_eq!(read(Some(&annotations)).errors.len(), 1);
    let annotations = map(&[("memory-request", "1Gi"), ("memory-limit", "1024Mi")]);
    assert_eq!(read(Some(&annotations)).errors.len(), 0);
}

#[test]
fn the_events_listed_for_users_are_all_events() {
    let row = TABLE.iter().find(|row| row.name == "events").unwrap();
    let listed = row.allowed.trim_start_matches("a list of ");
    let names: Vec<&str> = Event::ALL.iter().map(|event| event.name).collect();
    assert_eq!(listed.split(',').collect::<Vec<_>>(), names);
}

#[test]
fn nothing_a_user_wrote_brings_control_characters_into_a_warning() {
    let annotations = map(&[
        ("con\u{7}tainer", "app"),
        ("\u{9b}31mflavour", ""),
        ("rights", "\u{1b}[2Jauto\n"),
    ]);
    let reading = read(Some(&annotations));
    let said: Vec<_> = reading.errors.iter().chain(&reading.warnings).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said.iter().all(|text| !text.contains(char::is_control)), "{said:?}");
}

#[test]
fn a_long_value_is_shortened_at_a_character() {
    let annotations = map(&[("rights", &"é".repeat(1000))]);
    assert!(read(Some(&annotations)).errors[0].len() < 256);
}
