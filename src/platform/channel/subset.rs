//! Which part of a large fleet a client connects to: the members with the highest hash of
//! (client, member). Each client keeps its choice when others come and go, and clients spread
//! evenly over members. Pure.

use std::hash::{Hash, Hasher};

/// The indexes of at most `limit` members, in their given order. A limit of 0 means all.
pub fn subset<'a>(
    client: &str,
    members: impl Iterator<Item = &'a str>,
    limit: usize,
) -> Vec<usize> {
    let mut scored: Vec<(u64, usize)> = members
        .enumerate()
        .map(|(index, member)| (score(client, member), index))
        .collect();
    if limit > 0 && scored.len() > limit {
        scored.select_nth_unstable_by(limit - 1, |one, other| other.cmp(one));
        scored.truncate(limit);
    }
    let mut chosen: Vec<usize> = scored.into_iter().map(|(_, index)| index).collect();
    chosen.sort_unstable();
    chosen
}

fn score(client: &str, member: &str) -> u64 {
    // SipHash with fixed keys: the same in every process of one build, and well mixed.
    let mut hasher = std::hash::DefaultHasher::new();
    client.hash(&mut hasher);
    member.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("user-{number}")).collect()
    }

    fn chosen(client: &str, members: &[String], limit: usize) -> Vec<String> {
        subset(client, members.iter().map(String::as_str), limit)
            .into_iter()
            .map(|index| members[index].clone())
            .collect()
    }

    #[test]
    fn a_small_fleet_is_taken_whole() {
        assert_eq!(chosen("order-1", &members(3), 64).len(), 3);
        assert_eq!(chosen("order-1", &members(100), 0).len(), 100);
    }

    #[test]
    fn one_member_leaving_moves_one_connection_at_most() {
        let all = members(200);
        let before = chosen("order-1", &all, 20);
        for gone in 0..all.len() {
            let mut left = all.clone();
            left.remove(gone);
            let after = chosen("order-1", &left, 20);
            let kept = after.iter().filter(|name| before.contains(name)).count();
            assert!(kept >= 19, "{kept} of 20 kept when {gone} left");
        }
    }

    #[test]
    fn clients_spread_over_the_members() {
        let all = members(50);
        let mut hits = vec![0u32; all.len()];
        for client in 0..1000 {
            for index in subset(&format!("c{client}"), all.iter().map(String::as_str), 5) {
                hits[index] += 1;
            }
        }
        // 100 expected each; 5 standard deviations.
        assert!(hits.iter().all(|hits| (50..150).contains(hits)), "{hits:?}");
    }
}
