//! Words as a POSIX shell takes them, so that a line that is pasted means what it says, whatever things are called.

/// A word of a command that people are told to type.
#[must_use]
pub fn word(word: &str) -> String {
    if word.is_empty() { String::from("''") } else { unless_all_of(word, "-_./:@%+=,") }
}

/// A file's name in the line that restores it, which stands in manifests: also what is plain to a shell, but may not be to a person, is quoted.
#[must_use]
pub fn file(name: &str) -> String {
    // No program may take it for an option.
    let here = if name.starts_with('-') { "./" } else { "" };
    unless_all_of(&format!("{here}{name}"), "._-/")
}

/// Whether a character turns the direction in which what stands around it is shown, or breaks its line, though it is no control character: a name
/// that holds one passes for another.
#[must_use]
pub fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Quoted, unless every character is a letter, a digit or one of these.
fn unless_all_of(text: &str, plain: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || plain.contains(c)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_not_take_as_it_is_is_quoted() {
        assert_eq!(["shop", "shop@latest", "a b", "it's", ""].map(word), ["shop", "shop@latest", "'a b'", "'it'\\''s'", "''"]);
        assert_eq!(["/x/a.dump", "a%20b", "it's", "-z"].map(file), ["/x/a.dump", "'a%20b'", "'it'\\''s'", "./-z"]);
    }
}
