//! The patterns that name tables and schemas, as psql takes them. Pure.

/// A name as psql takes it: `*` and `?` are wildcards, letters outside of double quotes are lower case.
pub(super) struct Pattern(Vec<Piece>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Letter(char),
    One,
    Many,
    Dot,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut quoted = false;
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '"' if quoted && letters.peek() == Some(&'"') => {
                    letters.next();
                    pieces.push(Piece::Letter('"'));
                }
                '"' => quoted = !quoted,
                '*' if !quoted => pieces.push(Piece::Many),
                '?' if !quoted => pieces.push(Piece::One),
                '.' if !quoted => pieces.push(Piece::Dot),
                _ if quoted => pieces.push(Piece::Letter(letter)),
                _ => pieces.extend(letter.to_lowercase().map(Piece::Letter)),
            }
        }
        Self(pieces)
    }

    /// `schema.name`, or a name in any schema.
    pub(super) fn qualified(text: &str) -> (Option<Self>, Self) {
        let all = Self::new(text).0;
        match all.iter().position(|piece| *piece == Piece::Dot) {
            Some(at) => (Some(Self(all[..at].to_vec())), Self(all[at + 1..].to_vec())),
            None => (None, Self(all)),
        }
    }

    pub(super) fn names(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        fits(&self.0, &name)
    }
}

fn fits(pieces: &[Piece], name: &[char]) -> bool {
    match (pieces.split_first(), name.split_first()) {
        (None, _) => name.is_empty(),
        (Some((Piece::Many, rest)), _) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        (Some(_), None) => false,
        (Some((piece, rest)), Some((letter, after))) => {
            let one = match piece {
                Piece::Letter(wanted) => wanted == letter,
                Piece::Dot => *letter == '.',
                Piece::One | Piece::Many => true,
            };
            one && fits(rest, after)
        }
    }
}
