/** Every configuration in the documents loads, every link and picture leads somewhere, and their tables are the code's. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCommand } from '../../src/cli/arguments.ts';
import { loadConfig } from '../../src/config/parse.ts';
import { makeDirectory, writeConfig } from '../config/fixture.ts';
import { ALL_DOCUMENTS, blocksOf, DOCUMENTS, ROOT, textOf } from './books.ts';

/** Text of all fenced blocks of that language. */
function blocks(document: string, language: string): string[] {
  return blocksOf([document], language).map(({ text }) => text);
}

const CONFIGURATIONS = ALL_DOCUMENTS.flatMap((document) =>
  blocks(document, 'toml')
    .filter((block) => block.includes('[[proxy]]'))
    .map((block, index) => [`${document}, ${index + 1}`, block] as const),
);

/** The same with files of a directory of its own, which are there. */
function withFiles(block: string): string {
  const directory = makeDirectory();
  const local = block.replaceAll(/"(\/[^"]+\.\w+)"/g, (whole, path: string) => {
    if (path.includes('/.s.PGSQL')) {
      return whole;
    }
    const file = join(directory, basename(path));
    writeFileSync(file, '', { mode: 0o600 });
    return `"${file}"`;
  });
  return writeConfig(local, directory);
}

describe('a configuration in the documents', () => {
  it.each(CONFIGURATIONS)('is right: %s', (_, block) => {
    expect(() => loadConfig(withFiles(block), {})).not.toThrow();
  });

  it('there are some', () => {
    expect(CONFIGURATIONS.length).toBeGreaterThan(12);
  });
});

describe('a command in the documents', () => {
  const commands = DOCUMENTS.flatMap((document) =>
    [...blocks(document, 'sh'), ...blocks(document, '')]
      .flatMap((block) => block.split('\n'))
      .filter((line) => line.startsWith('pgtls '))
      .map((line) => line.split(/ {2,}| #/)[0] ?? ''),
  );

  it.each([...new Set(commands)])('is one: %s', (line) => {
    expect(() => parseCommand(line.split(' ').slice(1))).not.toThrow();
  });
});

describe('a link in the documents', () => {
  const links = ALL_DOCUMENTS.flatMap((document) =>
    [...textOf(document).matchAll(/\]\(([^)\s]+)\)|src="([^"]+)"/g)]
      .map(([, target, source = '']) => target ?? source)
      .filter((target) => !/^[a-z]+:/.test(target))
      .map((target) => [document, target] as const),
  );

  it.each(links)('in %s leads somewhere: %s', (document, target) => {
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? document : join(dirname(document), path);
    expect(existsSync(join(ROOT, file))).toBe(true);
    if (anchor !== undefined) {
      expect(anchorsOf(file)).toContain(anchor);
    }
  });
});

/** As GitHub makes them of headings. */
function anchorsOf(document: string): string[] {
  const headings = textOf(document).matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

describe('docs/troubleshooting.md', () => {
  const text = textOf('docs/troubleshooting.md');
  /** The words of the first column below a heading. */
  const listed = (heading: string) => {
    const [, section = ''] = text.split(`\n${heading}\n`);
    const [table = ''] = section.split('\n## ');
    const cells = table
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) => line.split('|')[1] ?? '');
    return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word));
  };

  it('has every event of the log', () => {
    const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('demo'))
      .map((name) => textOf(join('src', name)));
    // Also those that stand alone, as in a table: words with a dot, but for file names and options of the library.
    const events = sources.flatMap((source) =>
      [...source.matchAll(/event: '([a-z._]+)'|'((?!(?:pgtls|options)\.)[a-z]+\.[a-z_]+)'/g)].map(
        ([, named, alone = '']) => named ?? alone,
      ),
    );
    const rows = listed('## Events of the log').filter((word) => word !== 'event');
    expect(rows).toEqual(expect.arrayContaining([...new Set(events)]));
    // Made of the side there.
    const composed = ['tls.client', 'tls.backend'];
    const invented = rows.filter(
      (event) =>
        !composed.includes(event) && !sources.some((source) => source.includes(`'${event}'`)),
    );
    expect(invented).toEqual([]);
  });

  it('has every reason of conn.close', () => {
    const native = textOf('crates/pgtls-core/src/report.rs');
    const [, arms = ''] = native.split('impl CloseReason');
    const [own = ''] = arms.split('impl ');
    const words = [...own.matchAll(/=> "([a-z_]+)"/g)].map(([, word = '']) => word);
    const typed = [
      'src/negotiation/state.ts',
      'src/listener/gate.ts',
      'src/listener/connection.ts',
    ];
    const unions = typed.flatMap((file) =>
      [...textOf(file).matchAll(/[|=] '([a-z]+(?:_[a-z]+)+)'/g)].map(([, word = '']) => word),
    );
    const known = new Set([...words, ...unions, ...typedReasons(typed)]);
    const reasons = listed('## Reasons of `conn.close`').filter((word) => word !== 'reason');
    expect(words.length).toBe(26);
    expect(reasons).toEqual(expect.arrayContaining([...words, ...unions]));
    expect(reasons.filter((word) => !known.has(word))).toEqual([]);
  });
});

/** Reasons that stand alone in a type. */
function typedReasons(files: readonly string[]): string[] {
  return [...files, 'src/listener/proxied-negotiation.ts'].flatMap((file) =>
    [...textOf(file).matchAll(/reason: ('[a-z_' |]+')/g)].flatMap(([, union = '']) =>
      union.split('|').map((word) => word.replaceAll(/[' ]/g, '')),
    ),
  );
}
