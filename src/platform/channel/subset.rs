//! Which part of a large fleet a client connects to: the members with the highest hash of
//! (client, member). Each client keeps its choice when others come and go, and clients spread
//! evenly over members. Members of the client's own zone come first. Pure.

use std::hash::{Hash, Hasher};

/// The indexes of at most `limit` members, in their given order. A limit of 0 means all.
pub fn subset<'a>(
    client: &str,
    members: impl Iterator<Item = &'a str>,
    limit: usize,
) -> Vec<usize> {
    near_first(client, members.map(|member| (member, false)), limit)
}

/// Of a full subset so large a part is kept for members further away, where there are any: a zone
/// that fails as a whole must find others connected.
const AFAR: usize = 8;

/// As [`subset`], of members that say whether they are near: those are taken first, the rest is
/// filled up, and an eighth of the limit is left to those further away in any case.
pub fn near_first<'a>(
    client: &str,
    members: impl Iterator<Item = (&'a str, bool)>,
    limit: usize,
) -> Vec<usize> {
    let members: Vec<(&str, bool)> = members.collect();
    if limit == 0 || members.len() <= limit {
        return (0..members.len()).collect();
    }
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for (index, (member, is_near)) in members.into_iter().enumerate() {
        let side = if is_near { &mut near } else { &mut far };
        side.push((score(client, member), index));
    }
    let from_near = near.len().min(limit - far.len().min(limit / AFAR));
    let mut chosen = highest(near, from_near);
    chosen.extend(highest(far, limit - from_near));
    chosen.sort_unstable();
    chosen
}

fn highest(mut scored: Vec<(u64, usize)>, count: usize) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    if scored.len() > count {
        scored.select_nth_unstable_by(count - 1, |one, other| other.cmp(one));
        scored.truncate(count);
    }
    scored.into_iter().map(|(_, index)| index).collect()
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
    fn members_of_the_own_zone_come_first_and_others_are_kept_for_the_worst() {
        let all = members(500);
        // How many of the members are near, and how many of the 64 chosen then are.
        for (near, expected) in [
            (0, 0),
            (3, 3),
            (40, 40),
            (56, 56),
            (57, 56),
            (499, 63),
            (500, 64),
        ] {
            let marked = all.iter().enumerate();
            let marked = marked.map(|(index, name)| (name.as_str(), index < near));
            let chosen = near_first("order-1", marked, 64);
            assert_eq!(chosen.len(), 64, "{near}");
            let found = chosen.iter().filter(|index| **index < near).count();
            assert_eq!(found, expected, "{near}");
        }
        let one = near_first("order-1", [("a", false), ("b", true)].into_iter(), 1);
        assert_eq!(one, [1]);
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
