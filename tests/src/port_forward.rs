//! `kubectl port-forward` to the sidecar of a pod, and a client at its other end.

use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::process::{Child, Command, Stdio};

use crate::cache;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::control_plane::Namespace;

/// Port of the sidecar unless told otherwise.
const PORT: u16 = 7117;

/// A running port-forward, ended when dropped.
#[derive(Debug)]
pub struct PortForward {
    child: Child,
    client: Client,
}

impl PortForward {
    /// Forwards a free local port to the sidecar of `target`, such as `pod/shop` or `deployment/shop`.
    ///
    /// # Panics
    /// kubectl gives up.
    pub fn to(cluster: &Cluster, namespace: &Namespace, target: &str) -> Self {
        let mut child = Command::new(cache::file("kube/kubectl"))
            .args(["--namespace", &namespace.name, "port-forward", target])
            .arg(format!(":{PORT}"))
            .env("KUBECONFIG", &cluster.plane.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("kubectl starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first = lines
            .next()
            .and_then(Result::ok)
            .expect("kubectl forwards; it said why not above");
        let address = first
            .split_whitespace()
            .find(|word| word.starts_with("127.0.0.1:"))
            .unwrap_or_else(|| panic!("{first}"));
        let client = Client {
            url: format!("http://{address}"),
        };
        // It reports every connection, and would block on a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, client }
    }

    /// Cuts the connection as a lost network does: nobody says goodbye.
    pub fn cut(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Deref for PortForward {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
