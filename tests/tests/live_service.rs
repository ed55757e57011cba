//! The services of the playbook in each language: what they do wrong is found.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::load::Stopping;
use e2e::{Client, Server, cache, shares};

/// A language, what its service is busy with, and what its heap is told by.
const SERVICES: [(&str, &str, &str); 3] = [
    ("java", "demo.shop.Service.applyDiscounts", "demo.shop.Service$Order"),
    ("dotnet", "Demo.Shop.Service.ApplyDiscounts", "Demo.Shop.Order"),
    ("go", "main.applyDiscounts", "main.remember"),
];

fn service(language: &str) -> (App, Client) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = match language {
        "java" => app::java("25", &["-Xmx128m"], "service"),
        "dotnet" => app::dotnet("3.1", "service"),
        _ => {
            let mut command = Command::new(cache::file("apps/go/split"));
            command.args(["-pprof", "127.0.0.1:0", "-service", &address.to_string()]);
            command
        }
    };
    if language != "go" {
        command.arg(address.port().to_string());
    }
    let url = format!("http://{address}");
    (App::start(command), Client { url })
}

fn assert_faults_are_found(server: &Server, (language, busy, leaked): (&str, &str, &str)) {
    let (app, service) = service(language);
    wait("the service", Duration::from_secs(20), || {
        (service.get("/").status == 200).then_some(())
    });
    let stop = AtomicBool::new(false);
    let collapsed = std::thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                service.get("/high-cpu?ms=200").ok();
            }
        });
        let profile = format!("/profile?pid={}&seconds=4&format=collapsed", app.pid);
        server.get(&profile).whole().text()
    });
    let share = shares::of(&collapsed, busy);
    assert!(share > 0.7, "{language}: {share} in {collapsed}");

    service.get("/memory-leak?kb=20480").ok();
    let histogram = server.get(&format!("/histogram?pid={}", app.pid)).ok().text();
    let beginning: Vec<&str> = histogram.lines().take(12).collect();
    assert!(
        beginning.iter().any(|row| row.contains(leaked)),
        "{language}: {histogram}"
    );
}

#[test]
fn what_the_services_of_the_playbook_do_wrong_is_found() {
    let server = Server::default();
    std::thread::scope(|scope| {
        for service in SERVICES {
            let server = &server;
            scope.spawn(move || assert_faults_are_found(server, service));
        }
    });
}
