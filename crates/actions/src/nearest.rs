//! Finds the valid name that a wrong name was probably meant to be ("did you mean").

/// Returns the candidate that is most like `name`; `None` if every candidate has too many differences. At most a third
/// of the number of characters of `name` may be different, but one difference is always allowed. Two neighbouring
/// characters that are swapped count as one difference. Capital and small letters count as equal.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (name.chars().count() / 3).max(1);
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the number of differences between two names. Dashes and underscores count as the same character, since
/// people confuse them.
fn distance(a: &str, b: &str) -> usize {
    strsim::damerau_levenshtein(&a.replace('-', "_"), &b.replace('-', "_"))
}

/// Returns the help text for a message about a wrong name. It names the nearest valid name, or all valid names if no
/// valid name is near.
pub fn advice<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, candidates.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let all: Vec<String> = candidates.into_iter().map(|candidate| format!("`{candidate}`")).collect();
            format!("valid here: {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_the_list() {
        let words = ["connect", "read", "total", "per_success"];
        for (typo, word) in
            [("conect", "connect"), ("raed", "read"), ("Total", "total"), ("per-succes", "per_success")]
        {
            assert_eq!(nearest(typo, words), Some(word), "{typo}");
        }
        assert_eq!(advice("zebra", words), "valid here: `connect`, `read`, `total`, `per_success`");
    }
}
