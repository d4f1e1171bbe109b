/** YAML and JSON in the documents: it parses, and a line of the log has the fields that pgtls writes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ALL_DOCUMENTS, blocksOf, placeOf, ROOT, textOf } from './books.ts';

const YAML = blocksOf(ALL_DOCUMENTS, 'yaml');
/** A line of the log each, broken up for people. */
const LINES = blocksOf(ALL_DOCUMENTS, 'json').map((block) => [placeOf(block), block.text] as const);

describe('YAML in the documents', () => {
  it.each(YAML.map((block) => [placeOf(block), block.text] as const))('parses: %s', (_, text) => {
    const documents = parseAllDocuments(text);
    expect([documents].flat().flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual(
      [],
    );
  });

  it('is there', () => {
    expect(YAML.length).toBeGreaterThan(3);
  });
});

describe('a line of the log in the documents', () => {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => textOf(join('src', name)));
  const isWritten = (field: string) =>
    sources.some((source) => new RegExp(`\\b${field}\\b`).test(source));
  /** pino's own, as observability/logger.ts has it. */
  const own = ['level', 'time', 'msg'];
  const troubleshooting = textOf('docs/troubleshooting.md');

  it.each(LINES)('has fields and words that pgtls writes: %s', (_, line) => {
    const fields: Record<string, unknown> = JSON.parse(line);
    expect(Object.keys(fields)).toEqual(expect.arrayContaining([...own, 'event']));
    const unknown = Object.keys(fields).filter((field) => !own.includes(field));
    expect(unknown.filter((field) => !isWritten(field))).toEqual([]);
    for (const word of ['event', 'reason', 'phase'].flatMap((name) => fields[name] ?? [])) {
      expect(troubleshooting).toContain(`\`${word}\``);
    }
    if (fields['tls_failure'] !== undefined) {
      expect(textOf('docs/errors.md')).toContain(`\`${fields['tls_failure']}\``);
    }
  });

  it('is there', () => {
    expect(LINES.length).toBeGreaterThan(2);
  });
});

describe('other blocks in the documents', () => {
  const looked = ['', 'hcl', 'ini', 'js', 'json', 'sh', 'text', 'toml', 'ts', 'yaml'];

  it('are of languages that a test looks at, or of none', () => {
    const fences = ALL_DOCUMENTS.flatMap((document) =>
      [...textOf(document).matchAll(/^```(.*)\n[\s\S]*?^```$/gm)].map(([, kind = '']) => kind),
    );
    expect(fences.filter((kind) => !looked.includes(kind))).toEqual([]);
  });

  it.each(blocksOf(ALL_DOCUMENTS, 'ini').map((block) => [placeOf(block), block.text] as const))(
    'have sections and settings: %s',
    (_, text) => {
      const lines = text.trim().split('\n');
      expect(lines.filter((line) => !/^(\[\w+\]|\w+ =( \S.*)?)$/.test(line))).toEqual([]);
    },
  );

  it.each(blocksOf(ALL_DOCUMENTS, 'js').map((block) => [placeOf(block), block.text] as const))(
    'are modules that parse: %s',
    (_, text) => {
      const file = join(mkdtempSync(join(tmpdir(), 'pgtls-docs-')), 'block.mjs');
      writeFileSync(file, text);
      const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8' });
      rmSync(dirname(file), { recursive: true });
      expect(stderr).toBe('');
    },
  );

  it.each(blocksOf(ALL_DOCUMENTS, 'hcl').map((block) => [placeOf(block), block.text] as const))(
    'close what they open: %s',
    (_, text) => {
      const counts = ['{', '}', '{{', '}}'].map((mark) => text.split(mark).length);
      expect([counts[0], counts[2]]).toEqual([counts[1], counts[3]]);
      expect(text.split('"').length % 2).toBe(1);
      expect(text.match(/\{\{-? (with|end) /g)?.map((tag) => tag.slice(-5, -1))).toEqual(
        expect.arrayContaining(['with']),
      );
    },
  );
});
