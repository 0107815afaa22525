//! What a document shows of an output, beside what came.
//!
//! `…` within a line is any text, and a line `…` is any lines. What the block says to vary is any text too.

/// What is wrong, in words, if it is not as it is shown.
#[must_use]
pub fn differs(shown: &[String], came: &[String], varies: &[String], any_order: bool) -> Option<String> {
    let shown: Vec<Vec<String>> = shown.iter().map(|line| pattern(line.trim_end(), varies)).collect();
    let came: Vec<&str> = came.iter().map(|line| line.trim_end()).collect();
    let is_same = if any_order { in_any_order(&shown, &came) } else { in_order(&shown, &came) };
    let show = |line: &Vec<String>| line.join("…");
    (!is_same).then(|| {
        format!("shown:\n{}\ncame:\n{}", shown.iter().map(show).collect::<Vec<_>>().join("\n"), came.join("\n"))
    })
}

/// A line as the texts between what may be anything.
fn pattern(line: &str, varies: &[String]) -> Vec<String> {
    let mut line = line.to_owned();
    for word in varies {
        let mut from = 0;
        while let Some(at) = line[from..].find(word.as_str()).map(|at| from + at) {
            let end = at + word.len();
            let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            if is_part(line[..at].chars().next_back()) || is_part(line[end..].chars().next()) {
                from = end;
            } else {
                line.replace_range(at..end, "…");
                from = at + "…".len();
            }
        }
    }
    line.split('…').map(str::to_owned).collect()
}

fn is_any(line: &[String]) -> bool {
    line.len() == 2 && line.iter().all(String::is_empty)
}

fn line_fits(shown: &[String], came: &str) -> bool {
    let [only] = shown else {
        let (first, last) = (shown.first().map_or("", String::as_str), shown.last().map_or("", String::as_str));
        let Some(mut rest) = came.strip_prefix(first) else { return false };
        for part in shown.iter().skip(1).take(shown.len().saturating_sub(2)) {
            match rest.split_once(part.as_str()) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        return rest.ends_with(last);
    };
    only == came
}

fn in_order(shown: &[Vec<String>], came: &[&str]) -> bool {
    match (shown.split_first(), came.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((line, rest)), _) if is_any(line) => (0..=came.len()).any(|skipped| in_order(rest, &came[skipped..])),
        (Some(_), None) => false,
        (Some((line, rest)), Some((first, behind))) => line_fits(line, first) && in_order(rest, behind),
    }
}

fn in_any_order(shown: &[Vec<String>], came: &[&str]) -> bool {
    let mut left = came.to_vec();
    let (any, lines): (Vec<_>, Vec<_>) = shown.iter().partition(|line| is_any(line));
    for line in lines {
        match left.iter().position(|came| line_fits(line, came)) {
            Some(at) => drop(left.remove(at)),
            None => return false,
        }
    }
    left.is_empty() || !any.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn is_same(shown: &str, came: &str, varies: &[&str]) -> bool {
        let varies: Vec<String> = varies.iter().map(|word| (*word).to_owned()).collect();
        differs(&lines(shown), &lines(came), &varies, false).is_none()
    }

    #[test]
    fn placeholders_are_any_text_and_nothing_else_is() {
        assert!(is_same("a b", "a b  ", &[]) && !is_same("a b", "a c", &[]));
        assert!(is_same("a … c", "a b b c", &[]) && !is_same("a … c", "a b", &[]));
        assert!(
            is_same("a\n…\nz", "a\nb\nc\nz", &[])
                && is_same("a\n…\nz", "a\nz", &[])
                && !is_same("a\n…\nz", "a\nb", &[])
        );
        assert!(
            is_same("pid 12", "pid 7", &["12"])
                && !is_same("pid 12", "id 7", &["12"])
                && !is_same("a12", "a7", &["12"])
        );
        assert!(!is_same("a", "a\nb", &[]) && !is_same("a\nb", "a", &[]) && !is_same("", "a", &[]));
    }

    #[test]
    fn any_order_wants_the_same_lines() {
        let same = |shown: &str, came: &str| differs(&lines(shown), &lines(came), &[], true).is_none();
        assert!(same("a\nb", "b\na") && !same("a\nb", "b\nb") && !same("a", "a\nb") && same("a\n…", "b\na"));
    }
}
