//! docs/playbook.md, run as it stands: from an alert of a real Prometheus to the function, and to evidence that verifies.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use e2e::{Cluster, cache};
use serde_json::{Value, json};

/// Run in front of the playbook: nothing of it stays, whatever becomes of it.
const BEFORE: &str = "set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null' EXIT
";

/// What a reader sees in Grafana, asked behind the last step: a line of JSON for each query of `queries`.
const AFTER: &str = "
while IFS= read -r query; do
  curl -sG --data-urlencode \"query=$query\" \"http://$PROMETHEUS/api/v1/query\"
  echo
done <\"$QUERIES\" >\"$OUT/answers\"
";

/// Minutes that a walk takes on a busy machine, with half of it to spare.
const LIMIT: &str = "300";

/// The commands of a document, in its order.
fn commands(document: &str) -> String {
    let blocks = document.split("\n```bash\n").skip(1);
    blocks
        .map(|block| {
            let (commands, _) = block.split_once("\n```\n").unwrap();
            format!("{commands}\n")
        })
        .collect()
}

/// The queries of the chart's dashboard as Grafana would send them, with their panels.
fn queries(dashboard: &Value, namespace: &str) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap().to_owned();
            let targets = panel["targets"].as_array().unwrap().iter();
            targets.map(move |target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
        })
        .map(|(title, query)| {
            let query = query
                .replace("$namespace", namespace)
                .replace("$pod", ".*")
                .replace("$runtime", ".*")
                .replace("$__rate_interval", "20s");
            (title, query)
        })
        .collect()
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The row of a function in a table; what stands above it begins at the margin.
fn row<'a>(table: &'a str, function: &str) -> Option<&'a str> {
    table
        .lines()
        .find(|line| line.starts_with(' ') && line.contains(function))
}

#[test]
fn every_step_of_the_playbook_does_what_it_says() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = std::env::temp_dir().join(format!("sideflame-playbook-{}", std::process::id()));
    fs::create_dir_all(&out).unwrap();
    let dashboard = fs::read_to_string(root.join("charts/sideflame/dashboard.json")).unwrap();
    let asked = queries(&serde_json::from_str(&dashboard).unwrap(), &namespace.name);
    let list: String = asked.iter().map(|(_, query)| format!("{query}\n")).collect();
    fs::write(out.join("queries"), list).unwrap();
    let document = fs::read_to_string(root.join("docs/playbook.md")).unwrap();
    let script = format!("{BEFORE}{}{AFTER}", commands(&document));
    let path = format!("{}:{}", cache::file("kube").display(), std::env::var("PATH").unwrap());
    let started = Instant::now();
    let said = Command::new("timeout")
        .args([LIMIT, "bash", "-c", &script])
        .current_dir(root)
        .env("PATH", path)
        .env("KUBECONFIG", &cluster.plane.kubeconfig)
        .env("NS", &namespace.name)
        .env("OUT", &out)
        .env("QUERIES", out.join("queries"))
        .envs(["SIDEFLAME", "METRICS", "SHOP", "PROMETHEUS"].map(|name| (name, free_address())))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    let file = |name: &str| fs::read_to_string(out.join(name)).unwrap_or_default();
    assert!(
        said.status.success(),
        "{}: {text}\n{}\n{}\n{}",
        said.status,
        String::from_utf8_lossy(&said.stderr),
        file("forward.log"),
        file("prometheus.log")
    );
    eprintln!("{text}\nafter {:?}", started.elapsed());

    assert!(text.contains("\"alertname\":\"ProcessBusy\""), "{text}");
    let (diff, verified) = (file("diff.txt"), file("verified.txt"));
    let gained = row(&diff, "applyDiscounts").unwrap();
    assert!(gained.contains('+'), "{diff}");
    let lost = row(&verified, "applyDiscounts").unwrap();
    assert!(lost.contains('-') || lost.contains('−'), "{verified}");
    for picture in ["spike.svg", "diff.svg"] {
        assert!(file(picture).contains("applyDiscounts"), "{picture}");
    }
    assert_eq!(text.matches(": OK").count(), 5, "{text}");
    // Its bytes are those of its arrays, which come first.
    let histogram = file("histogram.txt");
    let orders = histogram.lines().find(|line| line.contains("demo.shop.Service$Order"));
    let orders = orders.unwrap();
    assert!(
        orders.split_whitespace().any(|word| word.replace(',', "") == "73728"),
        "{histogram}"
    );

    let answers = file("answers");
    let mut answers = answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for (title, query) in asked {
        let answer = answers.next().unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let series = answer["data"]["result"].as_array().unwrap();
        assert!(!series.is_empty(), "{title}: {query}");
    }
    fs::remove_dir_all(&out).unwrap();
}
