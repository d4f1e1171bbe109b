/** YAML and JSON in the documents: it parses, and a line of the log has the fields that pgtls writes. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ALL_DOCUMENTS, blocksOf, placeOf, ROOT, textOf } from './books.ts';

const YAML = blocksOf(ALL_DOCUMENTS, 'yaml');
const LINES = blocksOf(ALL_DOCUMENTS, 'json').flatMap((block) =>
  block.text
    .trim()
    .split('\n')
    .map((line) => [placeOf(block), line] as const),
);

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
