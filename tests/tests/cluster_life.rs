//! The sidecar through the life of a pod: it neither holds back its end nor lets the app notice its own.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use e2e::cluster::{assert_never_restarted, container_id, container_status, name};
use e2e::control_plane::wait;
use e2e::pod::{self, USER_IMAGE};
use e2e::{Client, Cluster, MemoryCgroup, Namespace, PortForward};
use serde_json::{Value, json};

/// Both forms of the sidecar, as `sideflame.io/sidecar` calls them.
const FORMS: [&str; 2] = ["native", "container"];

/// On the command line of an app.
const SECRET: &str = "hunter2";

fn java() -> Value {
    pod::limited(pod::container("java", USER_IMAGE, "cpu"), "200m")
}

fn with_sidecar(form: &str) -> Value {
    pod::with_annotation(pod::annotated(&[java()]), "sidecar", form)
}

fn assert_captures(sidecar: &PortForward) {
    let graph = sidecar.get("/profile?seconds=2&frequency=499").ok();
    assert!(graph.text().contains("demo.shop.Split"), "{:?}", graph.headers);
}

/// Spec of a Job with this container and, where it is possible, a sidecar of this form.
fn job(container: &Value, form: &str) -> Value {
    let mut template = pod::with_annotation(pod::annotated(std::slice::from_ref(container)), "sidecar", form);
    template["spec"]["restartPolicy"] = json!("Never");
    json!({"backoffLimit": 0, "template": {"metadata": template["metadata"], "spec": template["spec"]}})
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut conditions = object["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn is_over(job: &Value) -> bool {
    condition(job, "Complete")
        .or_else(|| condition(job, "Failed"))
        .is_some()
}

fn pod_of(cluster: &Cluster, namespace: &Namespace, job: &str) -> Value {
    let list = namespace.path(&format!("pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D{job}"));
    wait("pod of the job", Duration::from_secs(20), || {
        Some(cluster.plane.get(&list).ok().body["items"].get(0)?.clone())
    })
}

#[test]
fn a_job_completes_and_can_be_captured_while_it_runs() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let jobs = namespace.path_in("batch/v1", "jobs");
    let app =
        "/java/bin/java -Xmx64m -XX:+UseSerialGC -cp /apps/java demo.shop.Split cpu & read line < /tmp/end; kill $!";
    let batch = pod::script("batch", &format!("mkfifo /tmp/end; {app}"));
    for (name, container, form) in [
        ("done", &batch, "native"),
        ("failed", &pod::script("batch", "sleep 1; exit 3"), "native"),
        ("plain", &pod::script("batch", "sleep 1"), "container"),
    ] {
        let created = cluster.plane.create(
            &jobs,
            &json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": job(container, form)}),
        );
        created.ok();
    }

    let pod = cluster.wait_ready(&namespace, name(&pod_of(cluster, &namespace, "done")));
    let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{}", name(&pod)));
    assert_captures(&sidecar);
    let running = sidecar.capture("seconds=60");
    sidecar.wait_for(&running, &["sampling"]);
    let asked = Instant::now();
    cluster.exec(&namespace, name(&pod), "batch", &["sh", "-c", "echo now > /tmp/end"]);
    let done = cluster.wait_until(&format!("{jobs}/done"), Duration::from_secs(30), is_over);
    eprintln!(
        "job complete {:?} after its app was told to end, while a capture ran",
        asked.elapsed()
    );
    assert!(condition(&done, "Complete").is_some(), "{}", done["status"]);
    let pod = pod_of(cluster, &namespace, "done");
    assert_eq!(pod["status"]["phase"], "Succeeded", "{}", pod["status"]);
    let ended = &container_status(&pod, "sideflame")["state"]["terminated"];
    assert_eq!(ended["exitCode"], 0, "{ended}");

    let failed = cluster.wait_until(&format!("{jobs}/failed"), Duration::from_secs(30), is_over);
    assert!(condition(&failed, "Failed").is_some(), "{}", failed["status"]);
    let pod = pod_of(cluster, &namespace, "failed");
    assert_eq!(container_status(&pod, "batch")["state"]["terminated"]["exitCode"], 3);
    assert_eq!(
        container_status(&pod, "sideflame")["state"]["terminated"]["exitCode"],
        0,
        "{}",
        pod["status"]
    );

    let plain = cluster.wait_until(&format!("{jobs}/plain"), Duration::from_secs(30), is_over);
    assert!(condition(&plain, "Complete").is_some(), "{}", plain["status"]);
    let pod = pod_of(cluster, &namespace, "plain");
    assert_eq!(
        pod["spec"]["containers"].as_array().unwrap().len(),
        1,
        "{}",
        pod["spec"]
    );
    assert!(
        pod["metadata"]["labels"]["sideflame.io/injected"].is_null(),
        "{}",
        pod["metadata"]
    );
    let events = namespace.path("events?fieldSelector=reason%3DSideflameNotInjected");
    wait("event that says why", Duration::from_secs(20), || {
        let events = cluster.plane.get(&events).ok().body;
        let mut events = events["items"].as_array().into_iter().flatten();
        events
            .any(|event| {
                event["message"]
                    .as_str()
                    .unwrap_or_default()
                    .contains("would keep this pod from completing")
            })
            .then_some(())
    });
}

#[test]
fn a_cron_job_starts_a_pod_with_the_sidecar_that_completes() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let cron_jobs = namespace.path_in("batch/v1", "cronjobs");
    let cron_job = json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {
            "schedule": "* * * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": job(&pod::script("batch", "sleep 2"), "auto")},
        },
    });
    cluster.plane.create(&cron_jobs, &cron_job).ok();
    let list = namespace.path_in("batch/v1", "jobs");
    let job = wait("job of the minute", Duration::from_secs(90), || {
        Some(name(cluster.plane.get(&list).ok().body["items"].get(0)?).to_owned())
    });
    let done = cluster.wait_until(&format!("{list}/{job}"), Duration::from_secs(30), is_over);
    assert!(condition(&done, "Complete").is_some(), "{}", done["status"]);
    let pod = pod_of(cluster, &namespace, &job);
    assert_eq!(pod["status"]["phase"], "Succeeded", "{}", pod["status"]);
    let ended = &container_status(&pod, "sideflame")["state"]["terminated"];
    assert_eq!(ended["exitCode"], 0, "{ended}");
}

#[test]
fn a_graceful_stop_takes_as_long_as_without_a_sidecar() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let round = || {
        let mut pods = vec![("bare", None, pod::bare(&[java()]))];
        for form in FORMS {
            pods.push((form, None, with_sidecar(form)));
            pods.push((form, Some("seconds=120"), with_sidecar(form)));
        }
        let mut stopping = Vec::new();
        for (form, capture, mut pod) in pods {
            // The default, 30 s: whoever does not react to SIGTERM is seen.
            pod["spec"]
                .as_object_mut()
                .unwrap()
                .remove("terminationGracePeriodSeconds");
            let created = cluster.plane.create(&namespace.path("pods"), &pod).ok().body;
            stopping.push((form, capture, name(&created).to_owned()));
        }
        for (_, capture, pod) in &stopping {
            cluster.wait_ready(&namespace, pod);
            if let Some(query) = capture {
                let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{pod}"));
                let id = sidecar.capture(query);
                sidecar.wait_for(&id, &["sampling"]);
            }
        }
        // All at once, so that they wait for the same kubelet.
        std::thread::scope(|scope| {
            let all: Vec<_> = stopping
                .iter()
                .map(|(form, capture, pod)| scope.spawn(|| (*form, capture.is_some(), stop(cluster, &namespace, pod))))
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        })
    };
    // A delay of ours would be in every round; one of a busy machine is not.
    let within_a_second = (1..=3).any(|_| {
        let took = round();
        eprintln!("from DELETE to gone (form, while a capture ran): {took:?}");
        let bare = took[0].2;
        took.iter().all(|(.., with)| *with < bare + Duration::from_secs(1))
    });
    assert!(within_a_second, "see the times above");
}

/// Time from the deletion of a pod until it is gone.
fn stop(cluster: &Cluster, namespace: &Namespace, pod: &str) -> Duration {
    let path = namespace.path(&format!("pods/{pod}"));
    let started = Instant::now();
    cluster.plane.delete(&path).ok();
    wait("end of the pod", Duration::from_secs(60), || {
        (cluster.plane.get(&path).status == 404).then(|| started.elapsed())
    })
}

/// What must not change: which start of the container runs, since when, and how often it was restarted.
fn incarnation(pod: &Value, container: &str) -> Value {
    let status = container_status(pod, container);
    json!([status["restartCount"], status["state"], container_id(status)])
}

#[test]
fn the_app_does_not_notice_when_the_sidecar_is_killed_or_out_of_memory() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    std::thread::scope(|scope| {
        scope.spawn(|| survives(cluster, &namespace, "native", "OOMKilled", run_out_of_memory));
        scope.spawn(|| survives(cluster, &namespace, "container", "Error", kill_it));
    });
}

fn survives(
    cluster: &Cluster,
    namespace: &Namespace,
    form: &str,
    reason: &str,
    end: fn(&Cluster, &Value, &PortForward),
) {
    let pod = cluster.run(namespace, &with_sidecar(form));
    let path = namespace.path(&format!("pods/{}", name(&pod)));
    let target = format!("pod/{}", name(&pod));
    let sidecar = PortForward::to(cluster, namespace, &target);
    // Profiled at that moment: the worst case.
    let running = sidecar.capture("seconds=120");
    sidecar.wait_for(&running, &["sampling"]);
    end(cluster, &pod, &sidecar);
    let after = cluster.wait_until(&path, Duration::from_secs(60), |pod| {
        let status = container_status(pod, "sideflame");
        // The kubelet may say later how the one before ended.
        status["restartCount"] == 1 && status["ready"] == true && status["lastState"]["terminated"].is_object()
    });
    let last = &container_status(&after, "sideflame")["lastState"]["terminated"];
    assert_eq!(last["reason"], reason, "{form}: {last}");
    let sidecar = PortForward::when_up(cluster, namespace, &target);
    assert_captures(&sidecar);
    let now = cluster.plane.get(&path).ok().body;
    assert_eq!(incarnation(&now, "java"), incarnation(&pod, "java"), "{form}");
}

/// As the kernel does it: the first process of the container gets SIGKILL.
fn kill_it(cluster: &Cluster, pod: &Value, _: &PortForward) {
    let id = container_id(container_status(pod, "sideflame"));
    cluster.ctr(&["tasks", "kill", "--signal", "SIGKILL", id]);
}

/// Takes away its memory, then asks for something: the kernel kills it.
fn run_out_of_memory(cluster: &Cluster, pod: &Value, sidecar: &PortForward) {
    let pid = cluster.node_pid(container_status(pod, "sideflame"));
    let cgroup = MemoryCgroup::of_container(pod, "sideflame");
    // Small steps: a limit is refused that the kernel cannot reach at once.
    for kibibytes in (256..=4096).rev().step_by(32) {
        let _ = cgroup.set_limit(kibibytes << 10);
        if sidecar.try_send("GET", "/doctor", &[]).is_err() {
            return;
        }
    }
    assert!(
        !std::path::Path::new(&format!("/proc/{pid}")).exists(),
        "it lives with 256 KiB"
    );
}

#[test]
fn an_app_that_restarts_in_the_pod_is_found_again() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    for form in FORMS {
        let mut pod = with_sidecar(form);
        let command = pod["spec"]["containers"][0]["command"].as_array_mut().unwrap();
        command.extend([json!("1"), json!(format!("--password={SECRET}"))]);
        let before = cluster.run(&namespace, &pod);
        let path = namespace.path(&format!("pods/{}", name(&before)));
        let sidecar = PortForward::to(cluster, &namespace, &format!("pod/{}", name(&before)));
        let kept = sidecar.capture("seconds=1");
        sidecar.wait_for(&kept, &["finished"]);
        let running = sidecar.capture("seconds=120");
        let pid = sidecar.wait_for(&running, &["sampling"])["pid"].clone();
        cluster.exec(&namespace, name(&before), "java", &["kill", "-KILL", &pid.to_string()]);

        let failed = sidecar.wait_for(&running, &["failed"]);
        assert_eq!(failed["problem"]["code"], "target_exited", "{form}: {failed}");
        let after = cluster.wait_until(&path, Duration::from_secs(60), |pod| {
            let status = container_status(pod, "java");
            status["restartCount"] == 1 && status["ready"] == true
        });
        // The same port-forward: the pod is still the pod.
        wait("new process", Duration::from_secs(10), || {
            let processes = sidecar.get("/processes").ok().json();
            let mut targets = processes.as_array()?.iter().filter(|row| row["runtime"] == "jvm");
            targets.any(|row| row["pid"] != pid).then_some(())
        });
        assert_captures(&sidecar);
        let unwanted = sidecar.capture("seconds=120");
        sidecar.wait_for(&unwanted, &["sampling"]);
        assert_eq!(
            sidecar.send("DELETE", &format!("/captures/{unwanted}"), &[]).status,
            204
        );
        sidecar.get(&format!("/captures/{kept}/artifact")).ok();
        assert_eq!(
            incarnation(&after, "sideflame"),
            incarnation(&before, "sideflame"),
            "{form}"
        );
    }
}

/// A pod with a container that has ended is not ready: a Service would send it nothing.
#[test]
fn a_sidecar_that_cannot_start_leaves_the_pod_ready_and_tries_again() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    // On the node's network, so it must stay free once we let go of it: below the ports that the kernel hands out.
    let mut ports = 17117..17217;
    let taken = ports
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let mut pod = pod::with_annotation(pod::annotated(&[java()]), "port", &port);
    pod["spec"]["hostNetwork"] = json!(true);
    let pod = cluster.run(&namespace, &pod);
    let path = namespace.path(&format!("pods/{}", name(&pod)));
    // The second try: the first one had ended it.
    wait("two tries", Duration::from_secs(40), || {
        let log = cluster.kubectl(&namespace, &["logs", name(&pod), "--container", "sideflame"]);
        (log.stdout.matches("trying again").count() >= 2).then_some(())
    });
    let tried = cluster.plane.get(&path).ok().body;
    assert_eq!(incarnation(&tried, "sideflame"), incarnation(&pod, "sideflame"));
    assert_eq!(incarnation(&tried, "java"), incarnation(&pod, "java"));
    drop(taken);
    let sidecar = Client {
        url: format!("http://{address}"),
    };
    wait("sidecar", Duration::from_secs(30), || {
        let answer = sidecar.try_send("GET", "/healthz", &[]);
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    });
    assert_never_restarted(&cluster.plane.get(&path).ok().body, &["java", "sideflame"]);
}

#[test]
fn kubectl_without_a_container_reaches_the_app() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace(&json!({}));
    let script = |name: &str| {
        let mut container = pod::script(name, &format!("echo I am {name}; exec sleep 3600"));
        container["env"] = json!([{"name": "ME", "value": name}]);
        container
    };
    let pods: Vec<_> = FORMS
        .into_iter()
        .flat_map(|form| ["one", "two"].map(|profiled| (form, profiled)))
        .map(|(form, profiled)| {
            let pod = pod::annotated(&["one", "two"].map(script));
            let pod = pod::with_annotation(pod::with_annotation(pod, "sidecar", form), "container", profiled);
            let created = cluster.plane.create(&namespace.path("pods"), &pod).ok().body;
            (form, profiled, name(&created).to_owned())
        })
        .collect();
    for (form, profiled, pod) in pods {
        cluster.wait_ready(&namespace, &pod);
        let logs = cluster.kubectl(&namespace, &["logs", &pod]).ok();
        assert_eq!(logs.stdout, "I am one\n", "{form}, {profiled} profiled: {logs:?}");
        let exec = cluster
            .kubectl(&namespace, &["exec", &pod, "--", "sh", "-c", "echo $ME"])
            .ok();
        assert_eq!(exec.stdout, "one\n", "{form}, {profiled} profiled: {exec:?}");
    }
}
