//! Server names, and the lines of a user map.

use pgtls_testkit::fuzz::Fuzz;

use crate::host_table::HostTable;
use crate::user_map::UserMap;
use crate::user_map_line::tokens_of_lines;

const ROWS: [&[&str]; 3] = [
    &["a.example", "*.b.example"],
    &["*.example", "A.EXAMPLE"],
    &["*.c.example", "deep.c.example"],
];

/// The row by the definition: exact names first, then wildcards of exactly one label.
fn row_of(name: &str) -> Option<usize> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let row = |matches: &dyn Fn(&str) -> bool| {
        ROWS.iter()
            .position(|names| names.iter().any(|pattern| matches(pattern)))
    };
    row(&|pattern| pattern.eq_ignore_ascii_case(name)).or_else(|| {
        let label = name.split('.').next()?;
        let domain = name.get(label.len()..).filter(|_| !label.is_empty())?;
        row(&|pattern| {
            pattern
                .strip_prefix('*')
                .is_some_and(|pattern| pattern.eq_ignore_ascii_case(domain))
        })
    })
}

#[test]
fn a_server_name_finds_the_row_that_the_definition_says() {
    let rows: Vec<Vec<String>> = ROWS
        .iter()
        .map(|names| names.iter().map(ToString::to_string).collect())
        .collect();
    let table = HostTable::new(rows.iter().map(Vec::as_slice));
    Fuzz::new("host-table", 60_000)
        .from([
            "a.example",
            "x.b.example",
            "X.Example.",
            "deep.c.example",
            "*.example",
        ])
        .with_words(&[b".", b"example", b"*.", b".b.example", b"c.example", b"A"])
        .run(|input| {
            let name = String::from_utf8_lossy(input);
            // A wildcard as a name is one that no ClientHello can have.
            if name.contains('*') {
                let _ = table.find(&name);
                return None;
            }
            let row = table.find(&name);
            assert_eq!(row, row_of(&name), "{name:?}");
            row
        });
}

#[test]
fn the_tokens_of_a_user_map_written_again_are_the_same_tokens() {
    Fuzz::new("user-map-line", 60_000)
        .from([
            "map alice alice\n# comment\n\nmap \"x # y\" \"say \"\"hi\"\"\"\r\n",
            "map /^(.*)@example$ \\1 # to the user\n",
            "a b \\\nc\nd e f",
            "\"\" all +group",
        ])
        .with_words(&[b"\"", b"\\\n", b"#", b"\\1", b"\r\n", b",", b"\xc2\xa0"])
        .run(|input| {
            let text = String::from_utf8_lossy(input);
            let lines = match tokens_of_lines(&text) {
                Ok(lines) => lines,
                Err((line, what)) => {
                    assert!((1..=text.lines().count() + 1).contains(&line));
                    return (0, what.len());
                }
            };
            let mut tokens = 0;
            for (number, line) in &lines {
                assert!((1..=text.lines().count()).contains(number));
                tokens += line.len();
                let written: Vec<String> = line
                    .iter()
                    .map(|token| format!("\"{}\"", token.text.replace('"', "\"\"")))
                    .collect();
                let again = tokens_of_lines(&written.join(" "));
                // A backslash at the end joins lines, and none of these has a line's end in it.
                if written.join(" ").contains(['\n', '\r']) {
                    continue;
                }
                let again = again.expect("what was quoted is read");
                let texts: Vec<_> = again.iter().flat_map(|(_, line)| line).collect();
                assert_eq!(texts.len(), line.len());
                for (new, old) in texts.iter().zip(line) {
                    assert_eq!(new.text, old.text);
                }
            }
            (1 + lines.len().min(8), tokens.min(16))
        });
}

#[test]
fn a_user_map_allows_nobody_whom_no_row_names() {
    let names = ["alice".to_owned(), "bob@example.com".to_owned()];
    Fuzz::new("user-map", 3_000)
        .from([
            "alice alice\n\"bob@example.com\" bob\n",
            "/^(.*)@example\\.com$ \\1\n",
            "alice all\n",
            "map alice /^a.*e$\n",
            "/^([a-z]+)$ \"\\1\"\nalice +group\n",
        ])
        .at_most(600)
        .with_words(&[
            b"alice", b"/", b"\\1", b"all", b"^(.*)$", b"\"", b"\n", b"bob", b"{3}",
        ])
        .run(|input| {
            let text = String::from_utf8_lossy(input);
            match UserMap::parse(&text) {
                Ok(map) => {
                    let allowed =
                        ["alice", "bob", "nobody-at-all"].map(|user| map.allows(&names, user));
                    assert!(
                        !map.allows(&[], "alice"),
                        "without a name nobody is anybody"
                    );
                    (0, usize::from(allowed[0]) * 2 + usize::from(allowed[1]))
                }
                Err(error) => {
                    assert!(error.line <= text.lines().count().max(1));
                    assert!(!error.detail.is_empty());
                    (
                        1,
                        error
                            .detail
                            .chars()
                            .take_while(|c| !"\"/".contains(*c))
                            .count(),
                    )
                }
            }
        });
}
