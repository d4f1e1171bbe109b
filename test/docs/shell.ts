/** As much of a shell's grammar as the documents use: text to commands, and a command to its words. */

/** A simple command: its words without quotes, assignments before it and redirections left out. */
export type Words = readonly string[];

const OPERATORS = /^(\|\||&&|;;|[|&;()\n])/;

/** All simple commands of a script, those in `$(…)` and `<(…)` included. Throws when quotes or parentheses are not closed. */
export function simpleCommands(script: string): Words[] {
  const commands: Words[] = [];
  const reader = new Reader(script.replaceAll('\\\n', ' '), commands);
  reader.readAll();
  return commands
    .map((words) => withoutAssignments(words))
    .filter((words) => words.length > 0 && !words[0]?.startsWith('#!'));
}

/** Whole lines of a script, each with the continuations that belong to it. */
export function wholeLines(script: string): string[] {
  return script
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
}

function withoutAssignments(words: Words): Words {
  const first = words.findIndex((word) => !/^[A-Za-z_]\w*=/.test(word));
  return first < 0 ? [] : words.slice(first);
}

class Reader {
  #at = 0;
  readonly #text: string;
  readonly #commands: Words[];

  constructor(text: string, commands: Words[]) {
    this.#text = text;
    this.#commands = commands;
  }

  readAll(): void {
    let words: string[] = [];
    while (this.#at < this.#text.length) {
      const rest = this.#text.slice(this.#at);
      const [operator = ''] = OPERATORS.exec(rest) ?? [];
      const [blank = ''] = /^[ \t]+|^#.*/.exec(rest) ?? [];
      const [redirection = ''] = /^\d?(>>|>|<)(?!\()\s*/.exec(rest) ?? [];
      if (operator !== '') {
        this.#commands.push(words);
        words = [];
        this.#at += operator.length;
      } else if (blank !== '') {
        this.#at += blank.length;
      } else if (redirection !== '') {
        this.#at += redirection.length;
        this.#word();
      } else {
        words.push(this.#word());
      }
    }
    this.#commands.push(words);
  }

  #word(): string {
    let word = '';
    while (this.#at < this.#text.length && !/[\s|&;()]/.test(this.#text.charAt(this.#at))) {
      word += this.#piece();
    }
    return word;
  }

  #piece(): string {
    const rest = this.#text.slice(this.#at);
    const [single] = /^'[^']*'/.exec(rest) ?? [];
    if (single !== undefined) {
      this.#at += single.length;
      return single.slice(1, -1);
    }
    if (rest.startsWith('"')) {
      return this.#doubleQuoted();
    }
    if (/^(\$|<|>)\(/.test(rest)) {
      return this.#substitution();
    }
    if (rest.startsWith("'")) {
      throw new Error(`a quote is not closed: ${rest}`);
    }
    this.#at += rest.startsWith('\\') ? 2 : 1;
    return rest.startsWith('\\') ? rest.charAt(1) : rest.charAt(0);
  }

  #doubleQuoted(): string {
    let text = '';
    this.#at += 1;
    while (this.#text.charAt(this.#at) !== '"') {
      if (this.#at >= this.#text.length) {
        throw new Error(`a quote is not closed: ${this.#text}`);
      }
      const isSubstitution = this.#text.startsWith('$(', this.#at);
      text += isSubstitution ? this.#substitution() : this.#text.charAt(this.#at);
      this.#at += isSubstitution ? 0 : 1;
    }
    this.#at += 1;
    return text;
  }

  /** What is between the parentheses is read as a script of its own. */
  #substitution(): string {
    let depth = 0;
    const from = this.#at;
    do {
      const character = this.#text.charAt(this.#at);
      depth += Number(character === '(') - Number(character === ')');
      this.#at += 1;
      if (this.#at > this.#text.length) {
        throw new Error(`a parenthesis is not closed: ${this.#text}`);
      }
    } while (depth > 0 || this.#at < from + 2);
    const inner = this.#text.slice(from + 2, this.#at - 1);
    new Reader(inner, this.#commands).readAll();
    return `$(${inner})`;
  }
}
