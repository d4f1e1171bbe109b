//! The lines of a `pg_ident.conf` as tokens: what `next_token` and `tokenize_auth_file` of PostgreSQL's `hba.c` do.
//!
//! Tokens are separated by white space; double quotes keep white space, `#` and keywords' letters; two of them within
//! quotes are one; `#` begins a comment; a backslash at the end of a line continues it.

/// One field of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Whether it began with a quote: then it is no keyword.
    pub(crate) is_quoted: bool,
}

/// A line's number, counted from 1, and its tokens.
pub(crate) type Line = (usize, Vec<Token>);

/// The tokens of every line that has some; the error is a line's number and what is wrong there.
pub(crate) fn tokens_of_lines(text: &str) -> Result<Vec<Line>, (usize, &'static str)> {
    let mut lines = Vec::new();
    let mut joined = String::new();
    let mut first = 1;
    for (index, line) in text.lines().enumerate() {
        if joined.is_empty() {
            first = index + 1;
        }
        if let Some(begun) = line.strip_suffix('\\') {
            joined.push_str(begun);
            continue;
        }
        joined.push_str(line);
        let tokens = tokens(&joined).map_err(|what| (first, what))?;
        joined.clear();
        if !tokens.is_empty() {
            lines.push((first, tokens));
        }
    }
    let rest = tokens(&joined).map_err(|what| (first, what))?;
    if !rest.is_empty() {
        lines.push((first, rest));
    }
    Ok(lines)
}

fn tokens(line: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut characters = line.chars().peekable();
    while let Some(&next) = characters.peek() {
        if next == '#' {
            break;
        }
        if next.is_ascii_whitespace() {
            characters.next();
            continue;
        }
        tokens.push(token(&mut characters)?);
    }
    Ok(tokens)
}

fn token(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    let is_quoted = characters.peek() == Some(&'"');
    let (mut text, mut in_quotes) = (String::new(), false);
    while let Some(&next) = characters.peek() {
        if !in_quotes && (next.is_ascii_whitespace() || next == '#') {
            break;
        }
        characters.next();
        match next {
            '"' if in_quotes && characters.peek() == Some(&'"') => {
                characters.next();
                text.push('"');
            }
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => {
                return Err("has a comma outside of quotes; put one name into each field");
            }
            _ => text.push(next),
        }
    }
    if in_quotes {
        return Err("has a quote that is not closed");
    }
    Ok(Token { text, is_quoted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, Vec<String>)> {
        let lines = tokens_of_lines(text).unwrap();
        lines
            .into_iter()
            .map(|(line, tokens)| (line, tokens.into_iter().map(|token| token.text).collect()))
            .collect()
    }

    #[test]
    fn lines_become_tokens() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            texts("a\tb  c\n# nothing\n\n  \"x # y\" \"say \"\"hi\"\"\" z#rest\r\n"),
            [
                (1, words(&["a", "b", "c"])),
                (4, words(&["x # y", "say \"hi\"", "z"]))
            ]
        );
        assert_eq!(
            texts("a b \\\nc\nd e f"),
            [(1, words(&["a", "b", "c"])), (3, words(&["d", "e", "f"]))]
        );
        assert_eq!(texts("a b c\\"), [(1, words(&["a", "b", "c"]))]);
        assert_eq!(texts("\"\" b c"), [(1, words(&["", "b", "c"]))]);
    }

    #[test]
    fn broken_lines_are_told() {
        assert_eq!(
            tokens_of_lines("a b c\na \"b"),
            Err((2, "has a quote that is not closed"))
        );
        assert!(tokens_of_lines("a b,c d").is_err());
    }
}
