import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { KEYS, type KeyTable, type TableName } from '../../src/config/keys.ts';
import { ERROR_CODES } from '../../src/errors.ts';
import { LISTENER, load, route } from './fixture.ts';

const CONFIG_DOC = readFileSync(new URL('../../docs/config.md', import.meta.url), 'utf8');
const ERRORS_DOC = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
const IDENTITY = 'ssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"';

function keyRows(table: KeyTable): string[] {
  return Object.entries(table).map(
    ([name, { values, fallback, meaning }]) =>
      `| \`${name}\` | ${values} | ${fallback} | ${meaning} |`,
  );
}

/** The table rows below a heading, up to the next one, without the formatter's padding. */
function rowsBelow(document: string, heading: string): string[] {
  const [, section = ''] = document.split(`\n${heading}\n`);
  const [body = ''] = section.split('\n#');
  const rows = body.split('\n').filter((line) => line.startsWith('| `'));
  return rows.map((row) => row.replaceAll(/ +/g, ' '));
}

describe('docs/config.md', () => {
  it.each<[string, TableName]>([
    ['## Top level', 'top'],
    ['## `[admin]`', 'admin'],
    ['## `[[proxy]]`', 'proxy'],
    ['## `[proxy.listener]`', 'listener'],
    ['## `[[proxy.listener.host]]`', 'host'],
    ['## `[proxy.backend]`', 'backend'],
    ['## `[[proxy.route]]`', 'route'],
  ])('has below %s exactly the keys of the code', (heading, table) => {
    expect(rowsBelow(CONFIG_DOC, heading)).toEqual(keyRows(KEYS[table]));
  });

  it('has an example that loads without an error', () => {
    const [, example = ''] = /```toml\n([\s\S]*?)```/.exec(CONFIG_DOC) ?? [];
    const written = example.replaceAll(/\/etc\/pgtls\//g, '');
    expect(load(written).warnings).toEqual([]);
  });
});

describe('the documented defaults', () => {
  const isToml = (fallback: string) => /^("|\[|\d|true|false)/.test(fallback);
  const written = (table: KeyTable) =>
    Object.entries(table)
      .filter(([, { fallback }]) => isToml(fallback))
      .map(([name, { fallback }]) => `${name} = ${fallback}`);

  it('are the defaults of the code', () => {
    const listener = `${LISTENER}\n${IDENTITY}`;
    const backend = 'address = "127.0.0.1"';
    const explicit = [
      ...written(KEYS.top),
      route(
        [listener, ...written(KEYS.listener)].join('\n'),
        [backend, ...written(KEYS.backend)].join('\n'),
      ),
    ].join('\n');
    const plain = (source: string) =>
      JSON.stringify(load(source).config).replaceAll(/"[^"]*\/(tls\.\w+)"/g, '"$1"');
    expect(written(KEYS.listener).length).toBeGreaterThan(15);
    expect(plain(explicit)).toBe(plain(route(listener, backend)));
  });
});

describe('docs/errors.md', () => {
  it('has exactly the codes of the code', () => {
    const rows = Object.entries(ERROR_CODES).map(
      ([code, { meaning, remedy }]) => `| \`${code}\` | ${meaning} | ${remedy} |`,
    );
    expect(rowsBelow(ERRORS_DOC, '## Codes')).toEqual(rows);
  });
});
