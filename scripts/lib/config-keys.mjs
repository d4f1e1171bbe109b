/** What the keys of src/config/keys.ts take, as the generators of the JSON schema and of the types of an object read it. */
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { ROOT } from './paths.mjs';

/** @typedef {{ values: string, fallback: string, meaning: string }} KeyDescription as in src/config/keys.ts */
/** @typedef {Record<string, Record<string, KeyDescription>>} Keys by table and name */
/** @typedef {{ keys: Keys, titles: Record<string, string>, aliases: (table: string) => readonly (readonly [string, string])[] }} ConfigKeys */
/**
 * What can stand behind a key.
 * @typedef {{ kind: 'integer' | 'duration' | 'boolean' | 'string' | 'octal' | 'strings' | 'cache' }
 *   | { kind: 'choice', words: readonly string[] }
 *   | { kind: 'table' | 'tables' | 'list-of-tables', table: string }} Shape
 */

/** The words of the column "values" that stand for a kind. @type {Readonly<Record<string, Shape['kind']>>} */
const KINDS = {
  integer: 'integer',
  duration: 'duration',
  boolean: 'boolean',
  string: 'string',
  path: 'string',
  pattern: 'string',
  'path or "system"': 'string',
  'octal string': 'octal',
  list: 'strings',
  'list of CIDR': 'strings',
  'string or list': 'strings',
  'path or list': 'strings',
};

/** The tables by the words for them. @type {Readonly<Record<string, 'table' | 'tables' | 'list-of-tables'>>} */
const TABLES = { table: 'table', tables: 'tables', 'list of tables': 'list-of-tables' };

/** Keys that hold tables whose name is another one. @type {Readonly<Record<string, string>>} */
const TABLE_OF_KEY = { backends: 'backend' };

/** The tables of the code as it stands, which no build has to precede. @returns {Promise<ConfigKeys>} */
export async function readConfigKeys() {
  const [{ KEYS: keys, TABLE_TITLES: titles }, { aliasPairs: aliases }] = await Promise.all([
    importSource('src/config/keys.ts'),
    importSource('src/config/aliases.ts'),
  ]);
  return { keys, titles, aliases };
}

/** @param {KeyDescription} description @param {string} key @returns {Shape} */
export function shapeOf({ values }, key) {
  if (key === 'cache') {
    return { kind: 'cache' };
  }
  const table = TABLES[values];
  if (table !== undefined) {
    return { kind: table, table: TABLE_OF_KEY[key] ?? key };
  }
  const kind = KINDS[values];
  if (kind !== undefined) {
    return /** @type {Shape} */ ({ kind });
  }
  const words = values.split(', ').map((word) => (word === '""' ? '' : word));
  if (words.length < 2 || words.some((word) => !/^[\w.-]*$/.test(word))) {
    throw new Error(`scripts/lib/config-keys.mjs does not know what "${values}" of ${key} takes`);
  }
  return { kind: 'choice', words };
}

/** Whether a table without the key is wrong. @param {KeyDescription} description */
export function isRequired({ fallback }) {
  return fallback === 'required' || fallback === 'at least one';
}

/** The default as a value, undefined when it is told in words. @param {KeyDescription} description @returns {unknown} */
export function defaultOf({ fallback }) {
  return /^("|\[|\d|true$|false$)/.test(fallback) ? JSON.parse(fallback) : undefined;
}

/** A module of ours without its types; Node.js 20 reads none. @param {string} file */
async function importSource(file) {
  const bundle = await rolldown({ input: join(ROOT, file), platform: 'node' });
  const { output } = await bundle.generate({ format: 'esm' });
  await bundle.close();
  return import(`data:text/javascript,${encodeURIComponent(output[0].code)}`);
}
