//! `kubectl port-forward` to the sidecar of a pod, and a client at its other end.

use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cache;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::control_plane::{Namespace, wait};

/// Port of the sidecar unless told otherwise.
const PORT: u16 = 7117;

/// A running port-forward, ended when dropped.
#[derive(Debug)]
pub struct PortForward {
    child: Child,
    clients: Vec<Client>,
}

impl PortForward {
    /// Forwards a free local port to the sidecar of `target`, such as `pod/shop` or `deployment/shop`.
    ///
    /// # Panics
    /// kubectl gives up.
    pub fn to(cluster: &Cluster, namespace: &Namespace, target: &str) -> Self {
        Self::to_ports(cluster, namespace, target, &[PORT])
    }

    /// Forwards a free local port to each of `ports`; [`Self::clients`] are in the same order.
    ///
    /// # Panics
    /// kubectl gives up.
    pub fn to_ports(cluster: &Cluster, namespace: &Namespace, target: &str, ports: &[u16]) -> Self {
        let mut child = Command::new(cache::file("kube/kubectl"))
            .args(["--namespace", &namespace.name, "port-forward", target])
            .args(ports.iter().map(|port| format!(":{port}")))
            .env("KUBECONFIG", &cluster.plane.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("kubectl starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let client = |line: String| {
            let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:"))?;
            Some(Client {
                url: format!("http://{address}"),
            })
        };
        let clients = lines.by_ref().map_while(Result::ok).filter_map(client);
        let clients: Vec<Client> = clients.take(ports.len()).collect();
        assert_eq!(clients.len(), ports.len(), "kubectl forwards; it said why not above");
        // It reports every connection, and would block on a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, clients }
    }

    /// A client for each port.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// The same, to a sidecar that may still be starting.
    ///
    /// # Panics
    /// It does not answer within half a minute.
    pub fn when_up(cluster: &Cluster, namespace: &Namespace, target: &str) -> Self {
        wait("sidecar", Duration::from_secs(30), || {
            let forward = Self::to(cluster, namespace, target);
            let answer = forward.try_send("GET", "/healthz", &[]);
            answer.is_ok_and(|answer| answer.status == 200).then_some(forward)
        })
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
        &self.clients[0]
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
