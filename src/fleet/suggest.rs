//! The name that was probably meant.

/// The candidate nearest to a word, when it is near enough to be worth naming. Case counts as half
/// an edit, so that `userservice` finds `UserService`.
#[must_use]
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count().max(3) / 3) * 2;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Twice the edit distance with transpositions; a change of case counts one.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let width = right.len() + 1;
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..width).map(|i| i * 2).collect();
    for (row, l) in left.iter().enumerate() {
        let mut line = Vec::with_capacity(width);
        line.push((row + 1) * 2);
        for (column, r) in right.iter().enumerate() {
            let change = if l == r {
                0
            } else if l.eq_ignore_ascii_case(r) {
                1
            } else {
                2
            };
            let mut best = (above[column] + change)
                .min(above[column + 1] + 2)
                .min(line[column] + 2);
            let swapped = row > 0
                && column > 0
                && left[row - 1].eq_ignore_ascii_case(r)
                && l.eq_ignore_ascii_case(&right[column - 1]);
            if swapped {
                best = best.min(before[column - 1] + 2);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_a_guess_is_not_made() {
        let names = ["Create", "Get", "List", "Update", "Watch"];
        for (word, expected) in [
            ("Gte", Some("Get")),
            ("get", Some("Get")),
            ("Lst", Some("List")),
            ("udpate", Some("Update")),
            ("Frobnicate", None),
            ("", None),
        ] {
            assert_eq!(closest(word, names), expected, "{word}");
        }
        assert_eq!(closest("ordr", ["user", "order"]), Some("order"));
    }
}
