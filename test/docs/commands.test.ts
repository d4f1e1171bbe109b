/** Every command in the documents: it tokenises, its program is known, and what can be run here is run. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCommand } from '../../src/cli/arguments.ts';
import { COMMAND_NAMES } from '../../src/cli/commands.ts';
import { isInstalled } from '../support/programs.ts';
import { ALL_DOCUMENTS, blocksOf, placeOf, ROOT, textOf } from './books.ts';
import { conninfoProblem } from './conninfo.ts';
import { simpleCommands, type Words, wholeLines } from './shell.ts';

const BLOCKS = blocksOf(ALL_DOCUMENTS, 'sh');

/** Commands in code spans, such as `psql "host=…"`; `pgtls validate` alone is a name. */
const INLINE = ALL_DOCUMENTS.flatMap((document) =>
  [...textOf(document).matchAll(/`((?:[A-Z]+=\S+ )?(?:psql "|pgtls [^`\s]+ )[^`]+)`/g)].map(
    ([, text = '']) => [`${document}: ${text}`, text] as const,
  ),
);

const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const NPM_SCRIPTS: readonly string[] = Object.keys(PACKAGE.scripts);

/** What is checked of each program's commands; one that isn't here is a typing error, or wants a line here. */
const PROGRAMS: Readonly<Record<string, (words: Words) => void>> = {
  pgtls: (words) => void parseCommand(words.slice(1)),
  psql: ([, conninfo = '', ...others]) => {
    expect(conninfoProblem(conninfo)).toBeNull();
    expect(others).toEqual([]);
  },
  npm: ([, command = '', script = '']) => {
    if (command === 'install') {
      expect(script).toBe(PACKAGE.name);
    } else {
      expect(NPM_SCRIPTS).toContain(command === 'run' ? script : command);
    }
  },
  npx: ([, program = '', ...words]) => {
    expect(program).toBe('pgtls');
    parseCommand(words);
  },
  openssl: ([, command = '']) => {
    expect(['ecparam', 'rand', 'req', 's_client', 'x509']).toContain(command);
  },
  certbot: ([, command, ...options]) => {
    expect(command).toBe('certonly');
    expect(options).toContain('-d');
  },
  vault: ([, command, ...rest]) => {
    expect(command).toBe('write');
    const pairs = rest.filter((word) => !word.startsWith('-')).slice(1);
    expect(pairs.every((pair) => pair.includes('='))).toBe(true);
  },
  kubectl: (words) => {
    expect(words.some((word) => ['get', 'apply', 'create'].includes(word))).toBe(true);
  },
  sh: ([, script = '']) => {
    expect(spawnSync('sh', ['-n', join(ROOT, script)]).status).toBe(0);
  },
};

/** Those whose arguments say nothing that could be checked without changing the machine. */
const PLAIN_PROGRAMS = [
  'base64',
  'chgrp',
  'chmod',
  'cp',
  'curl',
  'grep',
  'id',
  'install',
  'tr',
  'umask',
  'useradd',
];

function check(words: Words): void {
  const [program = ''] = words;
  const own = PROGRAMS[program];
  expect([...Object.keys(PROGRAMS), ...PLAIN_PROGRAMS]).toContain(program);
  own?.(words);
}

describe('a command in the documents', () => {
  it.each(BLOCKS.map((block) => [placeOf(block), block.text] as const))(
    'is one: %s',
    (_, script) => {
      const { status, stderr } = spawnSync('sh', ['-n'], { input: script, encoding: 'utf8' });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      const commands = simpleCommands(script);
      expect(commands.length).toBeGreaterThan(0);
      for (const words of commands) {
        check(words);
      }
    },
  );

  it.each(INLINE)('is one: %s', (_, text) => {
    const [words = []] = simpleCommands(text);
    // With what is to be filled in: `-c FILE`, `…`.
    if (!text.includes('…') && !/\b(COMMAND|SHELL)\b/.test(text)) {
      check(words);
    }
  });

  it('there are some of each', () => {
    const programs = BLOCKS.flatMap(({ text }) => simpleCommands(text)).map(([program]) => program);
    expect(programs).toEqual(expect.arrayContaining(Object.keys(PROGRAMS)));
    expect(INLINE.length).toBeGreaterThan(10);
  });
});

describe.runIf(isInstalled('psql'))('a connection string in the documents', () => {
  const strings = [...BLOCKS.map(({ text }) => text), ...INLINE.map(([, text]) => text)]
    .flatMap((text) => simpleCommands(text))
    .filter(([program]) => program === 'psql')
    .map(([, conninfo = '']) => conninfo);

  it.each([...new Set(strings)])('is taken by libpq: %s', (conninfo) => {
    // Where nobody listens: libpq says what it does not understand before it connects.
    const { stderr } = spawnSync('psql', [`${conninfo} hostaddr=127.0.0.1 port=1`], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    });
    expect(stderr).toContain('Connection refused');
  });
});

/** Names of commands that stand alone. */
const MENTIONED = ALL_DOCUMENTS.flatMap((document) =>
  [...textOf(document).matchAll(/`pgtls ([a-z-]+)`/g)].map(([, name = '']) => name),
);

it.each([...new Set(MENTIONED)])('pgtls %s, which the documents mention, is a command', (name) => {
  expect([...COMMAND_NAMES, '-c', '-h', '-v', '--help', '--version']).toContain(name);
});

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

describe.runIf(hasOpenssl)('what the documents do with openssl', () => {
  /** What a line may run besides it: nothing that needs a network, root, or other programs. */
  const harmless = ['openssl', 'cp', 'tr', 'umask', 'sh', 'id'];
  const isHarmless = (line: string) => {
    const commands = simpleCommands(line);
    return (
      /openssl|make-certificates/.test(line) &&
      commands.every(([program = '']) => harmless.includes(program)) &&
      !line.includes('s_client')
    );
  };
  const lines = BLOCKS.flatMap(({ document, text }) =>
    wholeLines(text)
      .filter(isHarmless)
      .map((line) => [document, line] as const),
  ).sort(([left], [right]) => Number(isFirst(right)) - Number(isFirst(left)));
  let directory = '';

  /** Which makes the certificate that others look at. */
  function isFirst(document: string): boolean {
    return document.endsWith('getting-started.md');
  }

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'pgtls-docs-'));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  it('are some lines, in several documents', () => {
    expect(lines.length).toBeGreaterThan(5);
    expect(new Set(lines.map(([document]) => document)).size).toBeGreaterThan(3);
  });

  it.each(lines)('works, in %s: %s', (_, line) => {
    const here = line.replaceAll('/etc/pgtls/', './').replace('examples/', `${ROOT}examples/`);
    const script = join(directory, 'line.sh');
    writeFileSync(script, here);
    expect(() =>
      execFileSync('sh', ['-e', script], { cwd: directory, stdio: 'pipe' }),
    ).not.toThrow();
  });
});
