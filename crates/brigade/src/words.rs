//! Numbers, money and time, for a person.

use serde::Serialize;

/// A number with its thousands apart: `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of objects: `1 object`, `1,234 objects`.
#[must_use]
pub fn objects(number: u64) -> String {
    if number == 1 { "1 object".to_owned() } else { format!("{} objects", grouped(number)) }
}

/// A name of the plan's, such as `deleteMarker`, in words.
#[must_use]
pub(crate) fn in_words(name: &impl Serialize) -> String {
    let name = serde_json::to_value(name).unwrap_or_default();
    let mut words = String::new();
    for letter in name.as_str().unwrap_or_default().chars() {
        if letter.is_uppercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// US dollars: `$1,234.50`, and `< $0.01` for less than a cent.
#[must_use]
pub fn dollars(amount: f64) -> String {
    let cents = (amount.max(0.0) * 100.0).round();
    if cents < 1.0 && amount > 0.0 {
        return "< $0.01".to_owned();
    }
    // A number of cents that no list price comes near saturates.
    let cents = cents as u64;
    format!("${}.{:02}", grouped(cents / 100), cents % 100)
}

/// Seconds as the one or two units that matter: `45 s`, `12 min`, `3 h 20 min`, `5 d 4 h`.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let two = |large: u64, of: &str, small: u64, part: &str| match small {
        0 => format!("{} {of}", grouped(large)),
        _ => format!("{} {of} {small} {part}", grouped(large)),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        3600..172_800 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.004, 0.006, 1234.5].map(dollars), ["$0.00", "< $0.01", "$0.01", "$1,234.50"]);
        assert_eq!(
            [0, 59, 61, 3600, 12_000, 447_000].map(duration),
            ["0 s", "59 s", "2 min", "1 h", "3 h 20 min", "5 d 4 h"]
        );
        assert_eq!([1, 2000].map(objects), ["1 object", "2,000 objects"]);
    }
}
