//! Replicas against a cluster in memory, with a clock of the test's own. The rule behind all: a replica that is ready serves a
//! certificate that the API server trusts in every entry.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::bundle::bundle_of;
use super::content::Data;
use super::*;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use fake::Fake;

const LIVES: Lifetimes = Lifetimes {
    authority: 90_000,
    leaf: 3_000,
    interval: 5,
};
const START: i64 = 1_800_000_000;

fn replica(fake: &Fake) -> Keeper<Fake> {
    let names = vec!["sideflame-webhook.sideflame.svc".to_owned()];
    let readiness = Arc::new(Readiness::new("not yet"));
    Keeper::new(
        fake.clone(),
        names,
        LIVES,
        Arc::default(),
        readiness,
        Arc::new(Metrics::default()),
    )
}

/// A ready replica's leaf is trusted by every entry, and valid.
fn check(keeper: &Keeper<Fake>, fake: &Fake, now: i64) {
    if keeper.reason().is_none() {
        let leaf = keeper.leaf().expect("ready with a leaf");
        assert!(now < leaf.certificate.not_after, "a valid leaf at {now}");
        fake.state(|state| state.bundles.trust(&leaf.issuer))
            .unwrap_or_else(|error| panic!("at {now}: {error}"));
    }
}

async fn ready_pair(fake: &Fake) -> (Keeper<Fake>, Keeper<Fake>) {
    let (mut one, mut two) = (replica(fake), replica(fake));
    one.look_after(START).await;
    two.look_after(START).await;
    assert_eq!((one.reason(), two.reason()), (None, None));
    (one, two)
}

#[tokio::test]
async fn a_first_replica_is_ready_after_one_round() {
    let fake = Fake::installed();
    let mut one = replica(&fake);
    assert!(one.reason().is_some());
    one.look_after(START).await;
    assert_eq!(one.reason(), None);
    check(&one, &fake, START);
    assert_eq!(one.leaf().unwrap().certificate.not_after, START + LIVES.leaf);
}

#[tokio::test]
async fn replicas_that_start_at_once_agree_on_one_authority() {
    let fake = Fake::installed();
    let mut replicas: Vec<_> = (0..4).map(|_| replica(&fake)).collect();
    futures_util::future::join_all(replicas.iter_mut().map(|one| one.look_after(START))).await;
    // Losers of every race of the first round come to terms in the next one.
    futures_util::future::join_all(replicas.iter_mut().map(|one| one.look_after(START + 5))).await;
    assert_eq!(fake.state(|state| state.writes), 1, "one creation");
    let current = fake.content().current.certificate;
    for one in &replicas {
        assert_eq!(one.reason(), None);
        assert_eq!(one.leaf().unwrap().issuer, current);
    }
}

#[tokio::test]
async fn a_deleted_secret_comes_back_with_the_same_authority() {
    let fake = Fake::installed();
    let (mut one, mut two) = ready_pair(&fake).await;
    let before = fake.content();
    fake.set_secret(None);
    futures_util::future::join(one.look_after(START + 5), two.look_after(START + 5)).await;
    assert_eq!(fake.content(), before);
    assert_eq!(fake.state(|state| state.writes), 2, "one of the two wrote");
    check(&one, &fake, START + 5);
}

#[tokio::test]
async fn a_new_replica_leaves_the_restoring_to_one_that_remembers() {
    let fake = Fake::installed();
    let (mut one, _) = ready_pair(&fake).await;
    let before = fake.content();
    fake.set_secret(None);
    let mut new = replica(&fake);
    new.look_after(START + 1).await;
    assert!(
        fake.state(|state| state.secret.is_none()),
        "it waits, for the caBundle is claimed"
    );
    one.look_after(START + 3).await;
    new.look_after(START + 6).await;
    assert_eq!(fake.content(), before);
    assert_eq!(new.reason(), None);
}

#[tokio::test]
async fn if_no_replica_remembers_a_new_authority_is_made_within_two_intervals() {
    let fake = Fake::installed();
    drop(ready_pair(&fake).await);
    let before = fake.content();
    fake.set_secret(None);
    let mut new = replica(&fake);
    for elapsed in [0, 5, 10] {
        new.look_after(START + elapsed).await;
        check(&new, &fake, START + elapsed);
    }
    assert_ne!(fake.content().current, before.current);
    assert_eq!(new.reason(), None);
}

#[tokio::test]
async fn a_corrupt_secret_is_repaired_and_foreign_keys_stay() {
    let fake = Fake::installed();
    let (mut one, _) = ready_pair(&fake).await;
    let before = fake.content();
    let other = Content::of(Ca::generate(START, 1000).unwrap());
    let mut mixed = Data::new();
    other.write(&mut mixed);
    let good = fake.state(|state| state.secret.clone().unwrap().data);
    mixed.insert("ca.key".to_owned(), good["ca.key"].clone());
    let leaf = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    let mut broken = good.clone();
    broken.insert("ca.crt".to_owned(), leaf);
    let mut keyless = good.clone();
    keyless.remove("ca.key");
    for mut data in [Data::new(), mixed, broken, keyless] {
        data.insert("note".to_owned(), b"mine".to_vec());
        fake.set_secret(Some(data));
        one.look_after(START + 5).await;
        assert_eq!(fake.content(), before);
        assert_eq!(
            fake.state(|state| state.secret.clone().unwrap().data["note"].clone()),
            b"mine"
        );
        check(&one, &fake, START + 5);
    }
}

#[tokio::test]
async fn an_empty_secret_made_by_a_chart_is_filled() {
    let fake = Fake::installed();
    fake.set_secret(Some(Data::new()));
    let mut one = replica(&fake);
    one.look_after(START).await;
    assert_eq!(one.reason(), None);
}

#[tokio::test]
async fn a_tampered_bundle_is_repaired_in_the_next_round() {
    let fake = Fake::installed();
    let (mut one, _) = ready_pair(&fake).await;
    let good = fake.state(|state| state.bundles.0[0].entries[0].bundle.clone());
    let stranger = Ca::generate(START, 1000).unwrap().certificate;
    let more = [good.clone(), bundle_of(&[&stranger])].concat();
    for (position, bundle) in [
        (0, Vec::new()),
        (1, b"hello".to_vec()),
        (0, bundle_of(&[&stranger])),
        (1, more),
    ] {
        fake.set_bundle(position, bundle);
        one.look_after(START + 5).await;
        assert_eq!(one.reason(), None);
        assert_eq!(
            fake.state(|state| state.bundles.0[0].entries[position].bundle.clone()),
            good
        );
    }
}

#[tokio::test]
async fn without_a_configuration_we_are_not_ready_and_say_why() {
    let fake = Fake::default();
    let mut one = replica(&fake);
    one.look_after(START).await;
    assert!(one.reason().unwrap().contains("--webhook-name"));
    let installed = Fake::installed();
    fake.state(|state| state.bundles = installed.state(|state| state.bundles.clone()));
    one.look_after(START + 5).await;
    assert_eq!(one.reason(), None);
}

#[tokio::test]
async fn a_leaf_is_renewed_at_two_thirds_of_its_life() {
    let fake = Fake::installed();
    let (mut one, _) = ready_pair(&fake).await;
    one.look_after(START + 1999).await;
    assert_eq!(one.leaf().unwrap().issued, START);
    one.look_after(START + 2000).await;
    assert_eq!(one.leaf().unwrap().issued, START + 2000);
}

#[tokio::test]
async fn authorities_rotate_with_an_overlap_and_no_replica_is_ever_untrusted() {
    let fake = Fake::installed();
    let (mut one, mut two) = ready_pair(&fake).await;
    let first = fake.content().current;
    let (mut overlapped, mut changed) = (false, false);
    // The second replica is slow: it looks once where the first one looks twice.
    let mut now = START + 59_990;
    two.look_after(now).await;
    while now < START + 64_000 {
        one.look_after(now).await;
        check(&one, &fake, now);
        check(&two, &fake, now);
        if now % 10 == 0 {
            two.look_after(now).await;
        }
        check(&one, &fake, now);
        check(&two, &fake, now);
        assert_eq!((one.reason(), two.reason()), (None, None), "at {now}");
        let content = fake.content();
        overlapped |= content.next.is_some() && one.leaf().unwrap().issuer == first.certificate;
        changed |= content.previous.is_some() && two.leaf().unwrap().issuer != first.certificate;
        now += 5;
    }
    assert!(overlapped && changed);
    let content = fake.content();
    assert_ne!(content.current, first);
    assert_eq!(
        (content.next.as_ref(), content.previous.as_ref()),
        (None, None),
        "the old one is gone"
    );
    assert_eq!(one.leaf().unwrap().issuer, content.current.certificate);
    assert_eq!(
        fake.state(|state| state.bundles.0[0].entries[0].bundle.clone()),
        bundle_of(&content.bundle())
    );
}

#[tokio::test]
async fn a_next_authority_is_not_used_before_every_bundle_has_had_it_for_a_while() {
    let fake = Fake::installed();
    let (mut one, _) = ready_pair(&fake).await;
    let first = fake.content().current;
    one.look_after(START + 60_000).await;
    assert!(fake.content().next.is_some());
    one.look_after(START + 60_009).await;
    assert_eq!(fake.content().current, first);
    one.look_after(START + 60_010).await;
    assert_ne!(fake.content().current, first);
}

#[tokio::test]
async fn an_expired_authority_is_replaced_at_once() {
    let fake = Fake::installed();
    let (mut one, mut two) = ready_pair(&fake).await;
    let later = START + LIVES.authority + 1000;
    futures_util::future::join(one.look_after(later), two.look_after(later)).await;
    one.look_after(later + 5).await;
    two.look_after(later + 5).await;
    for keeper in [&one, &two] {
        assert_eq!(keeper.reason(), None);
        check(keeper, &fake, later + 5);
    }
    assert_eq!(one.leaf().unwrap().issuer, two.leaf().unwrap().issuer);
}

#[tokio::test]
async fn clocks_that_jump_forth_and_back_heal() {
    let fake = Fake::installed();
    let (mut one, _) = ready_pair(&fake).await;
    // Two hours ahead: the leaf has ended. Back: it lies in the future of a clock two days behind.
    for now in [START + 7200, START, START + 7200, START - 2 * 86_400, START] {
        one.look_after(now).await;
        let leaf = one.leaf().unwrap();
        assert!(
            leaf.certificate.not_before <= now && now < leaf.certificate.not_after,
            "at {now}"
        );
        assert_eq!(one.reason(), None, "at {now}");
        check(&one, &fake, now);
    }
}

#[tokio::test]
async fn an_api_server_that_is_down_does_not_stop_us() {
    let fake = Fake::installed();
    let (mut one, _) = ready_pair(&fake).await;
    fake.state(|state| state.down = true);
    one.look_after(START + 5).await;
    assert_eq!(one.reason(), None, "still ready");
    one.look_after(START + 2500).await;
    assert_eq!(one.leaf().unwrap().issued, START + 2500, "renewed from memory");
    let mut new = replica(&fake);
    new.look_after(START + 5).await;
    assert!(new.reason().is_some() && new.leaf().is_none());
    fake.state(|state| state.down = false);
    new.look_after(START + 10).await;
    assert_eq!(new.reason(), None);
}

/// Without the right, with a wrong name, or without an API server: for an hour.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_fails_is_asked_less_and_less_often() {
    let fake = Fake::installed();
    fake.state(|state| state.down = true);
    let keeping = replica(&fake).keep();
    assert!(
        timeout(Duration::from_secs(3600), keeping).await.is_err(),
        "it never ends"
    );
    let asked = fake.state(|state| state.asked);
    assert!((20..70).contains(&asked), "{asked} questions");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_comes_back_is_asked_at_the_interval_again() {
    let fake = Fake::installed();
    fake.state(|state| state.down = true);
    let keeping = tokio::spawn(replica(&fake).keep());
    sleep(Duration::from_secs(1800)).await;
    fake.state(|state| state.down = false);
    // The longest pause is over by then.
    sleep(Duration::from_secs(125)).await;
    let before = fake.state(|state| state.asked);
    sleep(Duration::from_secs(100)).await;
    let rounds = (fake.state(|state| state.asked) - before) / 2;
    assert!((19..=21).contains(&rounds), "{rounds} rounds of two questions in 100 s");
    keeping.abort();
}

#[tokio::test]
async fn a_secret_replaced_by_hand_is_adopted_by_all() {
    let fake = Fake::installed();
    let (mut one, mut two) = ready_pair(&fake).await;
    let other = Content::of(Ca::generate(START, 80_000).unwrap());
    let mut data = Data::new();
    other.write(&mut data);
    fake.set_secret(Some(data));
    one.look_after(START + 5).await;
    two.look_after(START + 6).await;
    for keeper in [&one, &two] {
        assert_eq!(keeper.leaf().unwrap().issuer, other.current.certificate);
        check(keeper, &fake, START + 6);
    }
}

#[tokio::test]
async fn a_previous_authority_without_a_date_stays_until_it_ends() {
    let content = Content {
        previous: Some(Previous {
            certificate: Ca::generate(START, 500).unwrap().certificate,
            until: START + 100,
        }),
        next: Some(Ca::generate(START, 1000).unwrap()),
        ..Content::of(Ca::generate(START, 1000).unwrap())
    };
    let mut data = Data::new();
    content.write(&mut data);
    assert_eq!(Content::read(&data).unwrap(), content);
    data.remove("previous-ca.until");
    assert_eq!(Content::read(&data).unwrap().previous.unwrap().until, START + 500);
}

#[test]
fn keys_never_show_in_debug_output() {
    let ca = Ca::generate(START, 1000).unwrap();
    let text = format!("{:?}", Content::of(ca));
    assert!(!text.contains("PRIVATE"), "{text}");
}

/// What may happen between two looks of a replica.
#[derive(Debug, Clone)]
enum Step {
    /// These look at the same time.
    Look(Vec<usize>),
    Wait(i64),
    Restart(usize),
    DeleteSecret,
    CorruptSecret,
    TamperBundle(usize),
    Down(bool),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let step = prop_oneof![
        6 => proptest::collection::vec(0..3_usize, 1..4).prop_map(Step::Look),
        4 => prop_oneof![1..20_i64, 500..3_000_i64, 20_000..95_000_i64].prop_map(Step::Wait),
        1 => (0..3_usize).prop_map(Step::Restart),
        1 => Just(Step::DeleteSecret),
        1 => Just(Step::CorruptSecret),
        1 => (0..2_usize).prop_map(Step::TamperBundle),
        1 => any::<bool>().prop_map(Step::Down),
    ];
    proptest::collection::vec(step, 1..40)
}

async fn play(steps: Vec<Step>) {
    let fake = Fake::installed();
    let mut replicas: Vec<_> = (0..3).map(|_| replica(&fake)).collect();
    let mut now = START;
    for step in steps {
        match step {
            Step::Look(who) => {
                let chosen = replicas.iter_mut().enumerate().filter(|(index, _)| who.contains(index));
                futures_util::future::join_all(chosen.map(|(_, one)| one.look_after(now))).await;
            }
            Step::Wait(seconds) => now += seconds,
            Step::Restart(index) => replicas[index] = replica(&fake),
            Step::DeleteSecret => fake.set_secret(None),
            Step::CorruptSecret => fake.set_secret(Some(Data::from([("ca.crt".to_owned(), b"x".to_vec())]))),
            Step::TamperBundle(position) => fake.set_bundle(position, b"x".to_vec()),
            Step::Down(down) => fake.state(|state| state.down = down),
        }
    }
    fake.state(|state| state.down = false);
    for _ in 0..5 {
        now += LIVES.interval;
        futures_util::future::join_all(replicas.iter_mut().map(|one| one.look_after(now))).await;
    }
    for one in &replicas {
        assert_eq!(one.reason(), None);
        check(one, &fake, now);
    }
    let content = fake.content();
    let drifted = |one: &Configuration| !one.drifted(&content.bundle()).is_empty();
    assert!(!fake.state(|state| state.bundles.0.iter().any(drifted)));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_happened_all_replicas_agree_and_are_ready_within_five_intervals(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(play(steps));
    }
}
