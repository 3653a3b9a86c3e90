//! As much of JSONata as it takes to see what an expression of a state machine refers to.

/// A variable that an expression reads, and the members it reads of it: `$plan.copy.objects`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The variable's name, without `$`.
    pub variable: String,
    /// The members, outermost first.
    pub path: Vec<String>,
    /// Whether this is a question about existence: the argument of `$exists(…)`.
    pub guard: bool,
    /// The text it is compared to, if it is.
    pub compared: Option<String>,
}

/// The expression between `{%` and `%}`, if a text is one.
#[must_use]
pub fn expression(text: &str) -> Option<&str> {
    text.strip_prefix("{%")?.strip_suffix("%}").map(str::trim)
}

/// The only reference of an expression that is nothing else.
#[must_use]
pub fn whole(expression: &str) -> Option<Reference> {
    let mut references = references(expression);
    let reference = references.pop().filter(|_| references.is_empty())?;
    let written = std::iter::once(&reference.variable).chain(&reference.path);
    let written = written.map(String::as_str).collect::<Vec<_>>().join(".");
    (expression == format!("${written}")).then_some(reference)
}

/// Every variable that an expression reads.
#[must_use]
pub fn references(expression: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut rest = expression;
    let mut before = "";
    while let Some(at) = rest.find(['$', '\'', '"']) {
        let (skipped, next) = rest.split_at(at);
        if !skipped.trim().is_empty() {
            before = skipped;
        }
        let quote = next.chars().next().unwrap_or('$');
        if quote != '$' {
            rest = next[1..].split_once(quote).map_or("", |(_, after)| after);
            before = "";
            continue;
        }
        let name = word(&next[1..]);
        let mut after = &next[1 + name.len()..];
        if name.is_empty() {
            rest = after;
        } else if after.trim_start().starts_with('(') {
            before = if name == "exists" { "$exists(" } else { "" };
            rest = &after[after.find('(').map_or(0, |at| at + 1)..];
        } else {
            let mut path = Vec::new();
            while let Some(member) = after.strip_prefix('.').map(word).filter(|member| !member.is_empty()) {
                path.push(member.to_owned());
                after = &after[1 + member.len()..];
            }
            found.push(Reference {
                variable: name.to_owned(),
                path,
                guard: before == "$exists(",
                compared: compared(after),
            });
            before = "";
            rest = after;
        }
    }
    found
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn compared(after: &str) -> Option<String> {
    let literal = after.trim_start().strip_prefix('=')?.trim_start().strip_prefix('\'')?;
    literal.split_once('\'').map(|(literal, _)| literal.to_owned())
}

/// Whether an expression can answer `null`.
#[must_use]
pub fn may_be_null(expression: &str) -> bool {
    expression.split(|c: char| c.is_whitespace() || "?:(){}[]".contains(c)).any(|word| word == "null")
}

/// Whether an expression picks of each item where it looks as if it picked one: `a.b[0]` is the
/// first `b` of every `a`, `(a.b)[0]` the first of all.
#[must_use]
pub fn picks_of_each(expression: &str) -> bool {
    let mut before = expression.split('[');
    before.next_back();
    before.any(|text| {
        let name = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        name.len() < text.len() && name.ends_with('.')
    })
}

/// Whether an expression makes variables of its own, which [`references`] would take for others.
#[must_use]
pub fn binds(expression: &str) -> bool {
    expression.contains(":=") || expression.contains("function") || expression.contains('λ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let name = |r: &Reference| {
            let path: String = r.path.iter().map(|member| format!(".{member}")).collect();
            format!("{}{}{path}", if r.guard { "?" } else { "" }, r.variable)
        };
        references(text).iter().map(name).collect()
    }

    #[test]
    fn references_are_found_and_texts_are_not() {
        assert_eq!(names("$plan.copy.objects = 0"), ["plan.copy.objects"]);
        assert_eq!(names("'$no ' & $string($hours * 3600) & \" $no\""), ["hours"]);
        assert_eq!(
            names("$exists($states.result.told) ? $states.result.told : null"),
            ["?states.result.told", "states.result.told"]
        );
        assert_eq!(names("$exists($a) and $b"), ["?a", "b"]);
        assert_eq!(names("($states.result.failure)[0]"), ["states.result.failure"]);
    }

    #[test]
    fn a_reference_alone_is_told_from_more() {
        assert_eq!(whole("$a.b").map(|r| r.path), Some(vec!["b".to_owned()]));
        assert_eq!(whole("$a.b + 1"), None);
        assert_eq!(whole("$string($a)"), None);
        assert_eq!(expression("{% $a %}"), Some("$a"));
        assert_eq!(expression("a"), None);
    }

    #[test]
    fn comparisons_and_nulls() {
        let reference = references("$status = 'READY'").remove(0);
        assert_eq!(reference.compared.as_deref(), Some("READY"));
        assert!(may_be_null("$a ? $b : null") && !may_be_null("'nullable' & $a"));
        assert!(binds("( $x := 1; $x )"));
        assert!(picks_of_each("$states.result.failure[0]") && !picks_of_each("($states.result.failure)[0]"));
    }
}
