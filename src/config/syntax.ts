/** What a TOML syntax error says and where, in the words of who reads the file. May import smol-toml's types only. */
import type { TomlError } from 'smol-toml';

/** A syntax error; line and column count from 1. */
export interface SyntaxProblem {
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

const UNCLOSED = 'this string has no closing quote';

/** Places an unclosed string where it opens: the parser notices it only at the end of the line. */
export function syntaxProblem(error: TomlError, source: string): SyntaxProblem {
  const { line, column } = error;
  const [first = ''] = error.message.split('\n');
  const reason = first.replace('Invalid TOML document: ', '');
  if (reason === 'unfinished string') {
    return { line, column, message: `TOML syntax: ${UNCLOSED}` };
  }
  const text = source.split(/\r?\n/)[line - 1] ?? '';
  const opening = reason.startsWith('control characters') ? openQuote(text) : null;
  return opening === null || column <= text.length
    ? { line, column, message: `TOML syntax: ${reason}` }
    : { line, column: opening + 1, message: `TOML syntax: ${UNCLOSED}` };
}

/** The index of the quote that is still open at the end of a line. */
function openQuote(text: string): number | null {
  let open: number | null = null;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (open === null) {
      open = character === '"' || character === "'" ? index : null;
    } else if (character === '\\' && text[open] === '"') {
      index += 1;
    } else if (character === text[open]) {
      open = null;
    }
  }
  return open;
}
