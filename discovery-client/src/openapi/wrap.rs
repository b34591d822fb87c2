//! Lines of a limited width, broken where the library behind `kubectl explain` breaks them.

/// The no-break space, which is part of a word.
const NO_BREAK_SPACE: char = '\u{a0}';

/// Breaks lines at white space so that they have at most `limit` characters. A word that is longer stays whole.
///
/// Space before a break is dropped, other space is kept.
pub(super) fn wrap(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 40);
    let mut column = 0;
    let mut space = Run::default();
    let mut word = Run::default();
    for char in text.chars() {
        if char == '\n' {
            if !word.text.is_empty() || column + space.chars <= limit {
                space.move_to(&mut out);
                word.move_to(&mut out);
            }
            space.clear();
            out.push('\n');
            column = 0;
        } else if char.is_whitespace() && char != NO_BREAK_SPACE {
            if space.text.is_empty() || !word.text.is_empty() {
                column += space.move_to(&mut out) + word.move_to(&mut out);
            }
            space.push(char);
        } else {
            word.push(char);
            if column + space.chars + word.chars > limit && word.chars < limit {
                out.push('\n');
                column = 0;
                space.clear();
            }
        }
    }
    if !word.text.is_empty() || column + space.chars <= limit {
        space.move_to(&mut out);
        word.move_to(&mut out);
    }
    out
}

/// Characters that are not written yet.
#[derive(Default)]
struct Run {
    text: String,
    chars: usize,
}

impl Run {
    fn push(&mut self, char: char) {
        self.text.push(char);
        self.chars += 1;
    }

    /// Writes the characters, and tells how many they were.
    fn move_to(&mut self, out: &mut String) -> usize {
        out.push_str(&self.text);
        let chars = self.chars;
        self.clear();
        chars
    }

    fn clear(&mut self) {
        self.text.clear();
        self.chars = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_break_at_white_space() {
        for (text, limit, wrapped) in [
            ("", 5, ""),
            ("one two three", 8, "one two\nthree"),
            ("one two", 7, "one two"),
            ("one  two", 5, "one\ntwo"),
            ("a b\n\nc", 5, "a b\n\nc"),
            ("incomprehensibilities", 5, "incomprehensibilities"),
            ("a\u{a0}b c", 3, "a\u{a0}b\nc"),
            ("ends \n", 10, "ends \n"),
            ("äöü äöü", 5, "äöü\näöü"),
        ] {
            assert_eq!(wrap(text, limit), wrapped, "{text:?} {limit}");
        }
    }
}
