//! The kept tree against the whole tree.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::profile::builder::ProfileBuilder;
use crate::profile::model::{Profile, ValueType};

fn profile(stacks: &[(Vec<u8>, i64)]) -> Profile {
    let mut builder = ProfileBuilder::new(vec![ValueType::new("samples", "count")]).unwrap();
    for (root_first, value) in stacks {
        let leaf_first = root_first.iter().rev();
        let stack: Vec<_> = leaf_first
            .map(|name| builder.frame(&format!("f{name}"), FrameKind::Jit).unwrap())
            .collect();
        builder.sample(&stack, &[*value], &[]).unwrap();
    }
    builder.finish()
}

fn paths(stacks: &FlatStacks<'_>, tree: &FlameTree) -> BTreeMap<String, u64> {
    let mut paths = BTreeMap::new();
    let mut open = vec![(0, String::new())];
    while let Some((index, path)) = open.pop() {
        let node = &tree.nodes[index];
        let children: u64 = node.children.iter().map(|&child| tree.nodes[child].total).sum();
        assert_eq!(node.total, node.own + children);
        for &child in &node.children {
            open.push((child, format!("{path};{}", stacks.names[tree.nodes[child].rank])));
        }
        paths.insert(path, node.total);
    }
    paths
}

fn every_path(stacks: &[(Vec<u8>, i64)]) -> BTreeMap<String, u64> {
    let mut paths = BTreeMap::from([(String::new(), 0)]);
    for (stack, value) in stacks.iter().filter(|(_, value)| *value > 0) {
        let mut path = String::new();
        *paths.entry(path.clone()).or_default() += value.cast_unsigned();
        for name in stack {
            path.push_str(";f");
            path.push_str(&name.to_string());
            *paths.entry(path.clone()).or_default() += value.cast_unsigned();
        }
    }
    paths
}

proptest! {
    #[test]
    fn a_budget_keeps_the_heaviest_nodes_and_no_other(
        stacks in prop::collection::vec((prop::collection::vec(0..5_u8, 1..6), 0..100_i64), 0..40),
        budget in 0..50_usize,
        min_share in prop_oneof![Just(0.0), 0.0..0.3],
    ) {
        let whole = every_path(&stacks);
        let profile = profile(&stacks);
        let flat = FlatStacks::new(&profile, 0, None).unwrap();
        let budget = Budget { min_share, cost: budget, path_bytes: usize::MAX };
        let tree = FlameTree::grow(&flat, budget, |_| 1);
        let kept = paths(&flat, &tree);
        prop_assert!(kept.iter().all(|(path, total)| whole[path] == *total));
        let hidden = whole.iter().filter(|(path, _)| !kept.contains_key(*path)).map(|(_, total)| *total).max();
        prop_assert_eq!(hidden.unwrap_or(0), tree.heaviest_hidden);
        let lightest = kept.iter().filter(|(path, _)| !path.is_empty()).map(|(_, total)| *total).min();
        prop_assert!(lightest.unwrap_or(u64::MAX) >= tree.heaviest_hidden);
        prop_assert!(kept.len() <= budget.cost + 1);
        if min_share == 0.0 && whole.len() <= budget.cost {
            prop_assert_eq!(kept.len(), whole.len());
        }
    }
}
