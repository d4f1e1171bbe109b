/** The JSON schema that editors read: it takes what pgtls takes, as far as a schema can, and refuses typical mistakes. */
import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import { STARTER } from '../../src/cli/starter.ts';
import { aliasPairs } from '../../src/config/aliases.ts';
import { KEYS, type TableName } from '../../src/config/keys.ts';
import { copiedConfigurations } from '../support/toml-blocks.ts';
import { errorsOf, LISTENER, route } from './fixture.ts';

interface KeySchema {
  readonly description: string;
  readonly type?: unknown;
  readonly default?: unknown;
  readonly deprecated?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
}

interface TableSchema {
  readonly properties: Readonly<Record<string, KeySchema>>;
}

type Schema = TableSchema & { readonly definitions: Readonly<Record<string, TableSchema>> };

const SCHEMA: Schema = JSON.parse(
  readFileSync(new URL('../../schema/pgtls.schema.json', import.meta.url), 'utf8'),
);

const validate = new Ajv({ allowUnionTypes: true, strictRequired: false, allErrors: true }).compile(
  SCHEMA,
);

/** Where and why the schema refuses a file; empty = it does not. */
function refusals(toml: string): string[] {
  return validate(parse(toml))
    ? []
    : (validate.errors ?? []).map(({ instancePath, message, params }) =>
        `${instancePath} ${message} ${JSON.stringify(params)}`.trim(),
      );
}

function tableOf(name: TableName): TableSchema {
  return name === 'top' ? SCHEMA : (SCHEMA.definitions[name] ?? { properties: {} });
}

const TABLES = Object.keys(KEYS) as TableName[];

describe('the JSON schema', () => {
  it.each(copiedConfigurations())('takes the configuration of %s', (_, toml) => {
    expect(refusals(toml)).toEqual([]);
  });

  it('takes what pgtls init writes, all of it uncommented, too', () => {
    expect(refusals(STARTER)).toEqual([]);
    expect(refusals(STARTER.replace(/^#(?=[^\s:])/gm, ''))).toEqual([]);
  });

  it('is named in the first line of what pgtls init writes, as editors look for it', () => {
    const { files } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    );
    expect(STARTER.split('\n')[0]).toBe('#:schema ./node_modules/pgtls/schema/pgtls.schema.json');
    expect(files).toContain('schema');
  });

  it.each<[string, string, string]>([
    ['a misspelt key', route('bind_addres = "a:1"'), 'additional properties'],
    ['a missing address', route(LISTENER, 'sslmode = "disable"'), "required property 'address'"],
    ['a number that is a string', `workers = "2"\n${route(LISTENER)}`, '/workers must be integer'],
    ['a number out of bounds', `workers = 1025\n${route(LISTENER)}`, 'must be <= 1024'],
    ['a boolean that is a string', route(`${LISTENER}\ntcp_keepalive = "on"`), 'must be boolean'],
    ['a wrong word', route(`${LISTENER}\nsslmode = "allow"`), 'allowed values'],
    ['a wrong duration', `shutdown_delay = "5 parsecs"\n${route(LISTENER)}`, 'must match pattern'],
    ['an empty string', route('bind_address = ""'), 'fewer than 1 characters'],
    ['one pair of brackets too few', '[proxy]\nname = "a"', '/proxy must be array'],
    ['no proxy at all', 'workers = 2', "required property 'proxy'"],
    [
      'both spellings of a key',
      route(`${LISTENER}\nssl_cert_file = "a"\nserver_cert = "b"`),
      'must NOT be valid',
    ],
    ['a rule for nobody', `${route(LISTENER)}[[proxy.route]]\nbackend = "b"`, "'database'"],
    ['a cache', `${route(LISTENER)}[proxy.cache]\nenabled = true`, 'equal to constant'],
  ])('refuses %s', (_, toml, reason) => {
    expect(refusals(toml).join('\n')).toContain(reason);
    expect(errorsOf(toml)).not.toEqual([]);
  });

  it('leaves to the start what only the start knows', () => {
    const written = `sslmode = "\${MODE}"\nssl_cert_file = "\${DIRECTORY}/tls.crt"`;
    expect(refusals(route(`${LISTENER}\n${written}\ntcp_keepidle = "\${IDLE}"`))).toEqual([]);
  });

  it.each(TABLES)('has the keys of %s with their meanings, and marks old names', (table) => {
    const { properties } = tableOf(table);
    const meanings = Object.entries(KEYS[table]).map(([key, { meaning }]) => [key, meaning]);
    const described = Object.entries(properties).map(([key, { description }]) => [
      key,
      description,
    ]);
    expect(described).toEqual(meanings);
    const old = Object.keys(properties).filter((key) => properties[key]?.deprecated === true);
    expect(old.sort()).toEqual(
      aliasPairs(table)
        .map(([, alias]) => alias)
        .sort(),
    );
  });

  const integers = TABLES.flatMap((table) =>
    Object.entries(tableOf(table).properties)
      .filter(([, { type }]) => type === 'integer')
      .map(([key, { minimum = 0, maximum = 0 }]) => ({ table, key, minimum, maximum })),
  );

  it.each(integers)('has the bounds of $table $key', ({ table, key, minimum, maximum }) => {
    const isRefused = (value: number) =>
      errorsOf(withKey(table, `${key} = ${value}`)).some(
        ({ keyPath, message }) => keyPath.endsWith(key) && message.includes('expected an integer'),
      );
    expect([minimum - 1, minimum, maximum, maximum + 1].map(isRefused)).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });
});

function withKey(table: TableName, line: string): string {
  const backend = 'address = "127.0.0.1"';
  return table === 'top'
    ? `${line}\n${route(LISTENER)}`
    : table === 'listener'
      ? route(`${LISTENER}\n${line}`)
      : route(LISTENER, `${backend}\n${line}`);
}
