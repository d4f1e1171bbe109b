/** `--help` and `pgtls help`: complete, narrow enough, and every example in it is a command. */
import { describe, expect, it } from 'vitest';
import { EXIT_CODES, parseCommand } from '../../src/cli/arguments.ts';
import {
  COMMAND_NAMES,
  COMMANDS,
  EXIT_MEANINGS,
  OPTION_HELP,
  OPTIONS,
} from '../../src/cli/commands.ts';
import { helpText } from '../../src/cli/help.ts';
import { PLAIN, styleFor } from '../../src/cli/style.ts';

const ALL = helpText(null, PLAIN);
const optionNames = Object.keys(OPTIONS) as (keyof typeof OPTIONS)[];

describe('pgtls --help', () => {
  it('names every command, option and exit code', () => {
    const words = ['pgtls -c FILE', ...COMMAND_NAMES, ...optionNames.map((name) => `--${name}`)];
    for (const word of [...words, ...EXIT_MEANINGS, 'SIGHUP', 'SIGUSR2', 'NO_COLOR']) {
      expect(ALL).toContain(word);
    }
    expect(EXIT_MEANINGS).toHaveLength(Object.keys(EXIT_CODES).length);
  });

  it('looks the same with colours, but for them', () => {
    const rich = helpText(null, styleFor(true, {}));
    expect(rich).toContain('\x1b[1mUsage');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what colours are
    expect(rich.replaceAll(/\x1b\[\d+m/g, '')).toBe(ALL);
  });
});

describe.each(COMMAND_NAMES)('pgtls help %s', (name) => {
  const text = helpText(name, PLAIN);

  it('has usage, its own options only, examples and exit codes', () => {
    expect(text).toContain(COMMANDS[name].usage[0]);
    const own = optionNames.filter((option) => text.includes(`--${option}`));
    const expected = optionNames.filter(
      (option) => COMMANDS[name].options.includes(option) || /^(help|version)$/.test(option),
    );
    expect(own.filter((option) => text.includes(OPTION_HELP[option].meaning))).toEqual(expected);
    for (const { line } of COMMANDS[name].examples) {
      expect(text).toContain(line);
    }
    expect(text).toContain('Exit codes:');
  });

  it('has examples that are commands', () => {
    const lines = COMMANDS[name].examples.map(({ line }) => line);
    for (const line of lines) {
      const [, argv = ''] = /pgtls( [^|&)]*)/.exec(line) ?? [];
      expect(parseCommand(argv.trim().split(' ')).kind).toBe(name);
    }
    expect(lines.length).toBeGreaterThan(0);
  });
});

it('no help is wider than 100 columns', () => {
  for (const text of [ALL, ...COMMAND_NAMES.map((name) => helpText(name, PLAIN))]) {
    expect(text.split('\n').filter((line) => line.length > 100)).toEqual([]);
  }
});
