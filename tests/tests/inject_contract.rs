//! The contract between the two binaries: what the webhook writes into a pod, the sidecar understands.
//!
//! The injected container's arguments and environment are read by the sidecar's real argument parser. A variable that it
//! does not declare is ignored at run time, in silence: here it fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set up must fail loudly"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, CommandFactory, Parser};
use serde_json::{Value, json};
use sideflame_webhook::choices;
use sideflame_webhook::container;
use sideflame_webhook::inject::{Decision, inject};
use sideflame_webhook::settings::{Facts, InjectSettings};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: InjectSettings,
}

/// The injected container of a pod with these annotations.
fn injected(annotations: Value) -> Value {
    let mut pod = json!({
        "metadata": { "annotations": { "sideflame.io/inject": "true" } },
        "spec": { "containers": [{ "name": "app", "securityContext": { "runAsUser": 1000, "runAsGroup": 1000 } }] },
    });
    for (key, value) in annotations.as_object().unwrap() {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    let settings = Flags::parse_from(["sideflame-webhook"]).settings;
    let facts = Facts {
        namespace_labels: Some([].into()),
        server_version: Some((1, 33)),
        ..Facts::default()
    };
    let Decision::Inject(injection) = inject(&pod, &settings, &facts) else {
        panic!("not injected")
    };
    json_patch::patch(&mut pod, &injection.patch).unwrap();
    pod["spec"]["initContainers"][0].clone()
}

/// What the sidecar makes of the container: its own parser, with each variable as the flag that declares it.
fn parsed(container: &Value) -> ArgMatches {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut line = vec!["sideflame".to_owned()];
    line.extend(container["args"].as_array().unwrap().iter().map(text));
    let command = sideflame::args::Args::command();
    let serve = command.find_subcommand(&line[1]).unwrap();
    for variable in container["env"].as_array().unwrap() {
        let name = text(&variable["name"]);
        let flag = serve
            .get_arguments()
            .find(|argument| argument.get_env() == Some(name.as_ref()));
        let flag = flag.unwrap_or_else(|| panic!("the sidecar has no variable {name}"));
        let (flag, takes_value) = (flag.get_long().unwrap(), flag.get_action().takes_values());
        line.push(match text(&variable["value"]).as_str() {
            "true" if !takes_value => format!("--{flag}"),
            value => format!("--{flag}={value}"),
        });
    }
    sideflame::args::Args::try_parse_from(&line).unwrap_or_else(|error| panic!("{error}"));
    let (name, matches) = command
        .try_get_matches_from(&line)
        .unwrap()
        .remove_subcommand()
        .unwrap();
    assert_eq!(name, "serve");
    matches
}

#[test]
fn the_sidecar_understands_the_injected_container() {
    let container = injected(json!({}));
    let matches = parsed(&container);
    assert_eq!(matches.get_one::<u64>("store_size"), Some(&(256 << 20)));
    assert!(matches.get_flag("retry_start"));
    let store = matches.get_one::<PathBuf>("store_dir").unwrap();
    let mounts = container["volumeMounts"].as_array().unwrap();
    let writable = mounts
        .iter()
        .find(|mount| mount["mountPath"] == store.to_str().unwrap())
        .unwrap();
    assert_eq!(
        (&writable["name"], &writable["readOnly"]),
        (&json!(container::STORE_VOLUME), &Value::Null)
    );
    // Nothing is said about the address: the sidecar's own default must be the port that the webhook checks for clashes.
    assert!(matches.get_many::<SocketAddr>("listen").is_none());
    assert!(
        sideflame::cli::serve::default_listen()
            .iter()
            .all(|address| address.port() == container::DEFAULT_PORT)
    );
}

#[test]
fn the_sidecar_understands_port_size_and_token() {
    let annotations = json!({
        "sideflame.io/port": "7200", "sideflame.io/capture-size": "1Gi", "sideflame.io/token-secret": "shop-token",
    });
    let container = injected(annotations);
    let matches = parsed(&container);
    let listen: Vec<&SocketAddr> = matches.get_many("listen").unwrap().collect();
    assert_eq!(listen, [&SocketAddr::from(([127, 0, 0, 1], 7200))]);
    assert_eq!(matches.get_one::<u64>("store_size"), Some(&(1 << 30)));
    let token = matches.get_one::<PathBuf>("token_file").unwrap();
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mount = mounts
        .iter()
        .find(|mount| mount["name"] == container::TOKEN_VOLUME)
        .unwrap();
    assert!(
        token.starts_with(mount["mountPath"].as_str().unwrap()),
        "{token:?} is not in {mount}"
    );
}

#[test]
fn the_runtimes_are_told_the_port_at_which_the_sidecar_listens() {
    let container = injected(json!({ "sideflame.io/dotnet-port": "true" }));
    let matches = parsed(&container);
    let port = matches.get_one::<PathBuf>("dotnet_port").unwrap();
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mount = mounts
        .iter()
        .find(|mount| mount["name"] == container::DOTNET_VOLUME)
        .unwrap();
    assert_eq!(port.parent(), Some(Path::new(mount["mountPath"].as_str().unwrap())));
    assert_eq!(mount["readOnly"], Value::Null);
    assert_eq!(port, Path::new(container::DOTNET_PORT));
}

#[test]
fn events_have_the_same_names_in_both() {
    let ours: Vec<&str> = choices::Event::ALL.iter().map(|event| event.name).collect();
    for event in sideflame::event::Event::ALL {
        assert!(ours.contains(&event.name()), "the webhook does not know event {event}");
    }
    for name in ours {
        name.parse::<sideflame::event::Event>()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
