/**
 * Reads the keys of one TOML table with the types they must have: wrong ones are noted and the default goes on.
 *
 * May import the other files of config/ only. Invariant: a reader never throws, and notes a problem at most once a key.
 */
import type {
  TomlTableWithoutBigInt as TomlTable,
  TomlValueWithoutBigInt as TomlValue,
} from 'smol-toml';
import { aliasOf, aliasPairs } from './aliases.ts';
import { type KeyPath, Problems } from './diagnostics.ts';
import {
  DURATION_EXPECTATION,
  formatDuration,
  MAX_DURATION_MILLIS,
  parseDuration,
} from './duration.ts';
import { type Environment, substituteEnvironment } from './environment.ts';
import { hintOn } from './foreign-keys.ts';
import { KEYS, TABLE_TITLES, type TableName } from './keys.ts';
import { nearest } from './suggestion.ts';

/** What every reader of one file shares. */
export interface ReadContext {
  readonly problems: Problems;
  readonly environment: Environment;
  /** Absolute; relative paths in the file start here. */
  readonly directory: string;
  /** Whether a program may name backends that nothing in the configuration leads to. */
  readonly hasRouteHook: boolean;
}

/** A value with the key it came from, for problems found later. */
export interface Located {
  readonly text: string;
  readonly path: KeyPath;
}

/** Inclusive bounds of a number or a duration in milliseconds. */
export interface Bounds {
  readonly min: number;
  readonly max?: number;
}

/** The largest integer setting, PostgreSQL's INT_MAX. */
const MAX_INTEGER = 2_147_483_647;

/** One table of the file, or an empty one in place of a missing or wrong one. */
export class TableReader {
  readonly context: ReadContext;
  readonly path: KeyPath;
  readonly #table: TomlTable;
  readonly #name: TableName;

  constructor(name: TableName, table: TomlTable, path: KeyPath, context: ReadContext) {
    this.#name = name;
    this.#table = table;
    this.path = path;
    this.context = context;
  }

  /** Notes every key that is unknown, of a later version, or there in both spellings. */
  checkKeys(): void {
    for (const key of Object.keys(this.#table)) {
      if (!Object.hasOwn(KEYS[this.#name], key)) {
        this.#refuseKey(key);
      }
    }
    for (const [key, alias] of aliasPairs(this.#name)) {
      if (Object.hasOwn(this.#table, key) && Object.hasOwn(this.#table, alias)) {
        const message = `"${alias}" is the first pgtls's spelling of "${key}"; expected one of the two`;
        this.context.problems.error([...this.path, alias], message);
      }
    }
  }

  /** Whether the key is there under exactly this name. */
  has(key: string): boolean {
    return Object.hasOwn(this.#table, key);
  }

  /** The path of `key` as the file spells it. */
  pathOf(key: string): KeyPath {
    return [...this.path, this.#spelling(key)];
  }

  /** Notes an error at `key`. */
  error(key: string, message: string, suggestion: string | null = null): void {
    this.context.problems.error(this.pathOf(key), message, suggestion);
  }

  /** The value as TOML has it, undefined when absent. */
  raw(key: string): TomlValue | undefined {
    const spelling = this.#spelling(key);
    return Object.hasOwn(this.#table, spelling) ? this.#table[spelling] : undefined;
  }

  /** A string that is not empty, its variables filled in; null when absent or wrong. */
  string(key: string): string | null {
    const value = this.raw(key);
    return value === undefined ? null : this.#text(value, this.pathOf(key), 'a string');
  }

  /** A string or a list of strings; empty when absent or wrong. */
  strings(key: string, expectation = 'a string or a list of strings'): Located[] {
    const value = this.raw(key);
    const path = this.pathOf(key);
    if (value === undefined) {
      return [];
    }
    const elements = Array.isArray(value) ? value : [value];
    return elements.flatMap((element, index) => {
      const elementPath = Array.isArray(value) ? [...path, index] : path;
      const text = this.#text(
        element,
        elementPath,
        Array.isArray(value) ? 'a string' : expectation,
      );
      return text === null ? [] : [{ text, path: elementPath }];
    });
  }

  /** One of `values`; `reasons` says why a value that one might expect is refused. */
  choice<T extends string>(
    key: string,
    values: readonly T[],
    fallback: T,
    reasons: Readonly<Record<string, string>> = {},
  ): T {
    const value = this.raw(key);
    if (value === undefined) {
      return fallback;
    }
    const text = this.#substituted(value, this.pathOf(key));
    const found = values.find((candidate) => candidate === text);
    if (found === undefined && text !== null) {
      this.error(key, ...wrongChoice(text, values, reasons));
    }
    return found ?? fallback;
  }

  /** true or false. */
  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key);
    if (value === undefined || typeof value === 'boolean') {
      return value ?? fallback;
    }
    this.error(key, `expected true or false, got ${describe(value)}`);
    return fallback;
  }

  /** An integer within `bounds`. */
  integer(key: string, fallback: number, { min, max = MAX_INTEGER }: Bounds): number {
    const value = this.raw(key);
    if (value === undefined) {
      return fallback;
    }
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
      return value;
    }
    this.error(key, `expected an integer from ${min} to ${max}, got ${describe(value)}`);
    return fallback;
  }

  /** A duration within `bounds`, in milliseconds. */
  duration(key: string, fallback: number, { min, max = MAX_DURATION_MILLIS }: Bounds): number {
    const value = this.raw(key);
    const plain = typeof value === 'string' ? this.#substituted(value, this.pathOf(key)) : value;
    const hasFailed = typeof value === 'string' && plain === null;
    if (value === undefined || hasFailed) {
      return fallback;
    }
    const millis = parseDuration(plain);
    if (millis !== null && millis >= min && millis <= max) {
      return millis;
    }
    const upper = max < MAX_DURATION_MILLIS ? ` to ${formatDuration(max)}` : ', less than 25 days';
    const bounds = `from ${formatDuration(min)}${upper}`;
    this.error(key, `expected ${DURATION_EXPECTATION} (${bounds}), got ${describe(plain)}`);
    return fallback;
  }

  /** The table under `key`; an empty one in its stead, and an error, when it is absent or no table. */
  table(key: TableName & string): TableReader {
    const value = this.raw(key);
    const path = [...this.path, key];
    if (isTable(value)) {
      return new TableReader(key, value, path, this.context);
    }
    const title = TABLE_TITLES[key];
    const message =
      value === undefined
        ? `missing; expected a table ${title}`
        : `expected a table ${title}, got ${describe(value)}`;
    this.context.problems.error(path, message);
    return new TableReader(key, {}, path, { ...this.context, problems: new Problems() });
  }

  /** The tables of the list under `key`; what is no table is an error and left out. */
  tables(key: string, name: TableName): TableReader[] {
    const value = this.raw(key);
    if (value === undefined) {
      return [];
    }
    if (!Array.isArray(value)) {
      const hint = isTable(value) ? '; write it with two brackets' : `, got ${describe(value)}`;
      this.error(key, `expected a list of tables ${TABLE_TITLES[name]}${hint}`);
      return [];
    }
    return value.flatMap((element, index) => {
      const path = [...this.path, key, index];
      if (isTable(element)) {
        return [new TableReader(name, element, path, this.context)];
      }
      this.context.problems.error(path, `expected a table, got ${describe(element)}`);
      return [];
    });
  }

  #spelling(key: string): string {
    const alias = this.has(key) ? null : aliasOf(this.#name, key);
    return alias !== null && this.has(alias) ? alias : key;
  }

  #text(value: TomlValue, path: KeyPath, expectation: string): string | null {
    if (typeof value !== 'string') {
      this.context.problems.error(path, `expected ${expectation}, got ${describe(value)}`);
      return null;
    }
    const text = this.#substituted(value, path);
    if (text === '') {
      this.context.problems.error(path, `expected ${expectation}, got an empty string`);
      return null;
    }
    return text;
  }

  #substituted(value: TomlValue, path: KeyPath): string | null {
    if (typeof value !== 'string') {
      this.context.problems.error(path, `expected a string, got ${describe(value)}`);
      return null;
    }
    const { environment, problems } = this.context;
    const substitution = substituteEnvironment(value, environment, (name, text) =>
      problems.conceal(name, text),
    );
    if (!substitution.ok) {
      this.context.problems.error(path, substitution.message);
      return null;
    }
    return substitution.text;
  }

  #refuseKey(key: string): void {
    const path = [...this.path, key];
    const hint = hintOn(this.#name, key);
    if (hint !== null) {
      this.context.problems.error(path, `unknown key in ${TABLE_TITLES[this.#name]}; ${hint}`);
      return;
    }
    const homes = homesOf(key);
    if (homes.length > 0) {
      this.context.problems.error(path, `unknown key here; it belongs to ${homes.join(' or ')}`);
      return;
    }
    const own = nearest(key, Object.keys(KEYS[this.#name]));
    this.context.problems.error(path, `unknown key in ${TABLE_TITLES[this.#name]}`, own);
  }
}

/** A value in words, for `expected …, got …`; also what TOML cannot say, but an object of JavaScript can. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value === '' ? 'an empty string' : JSON.stringify(value);
    case 'bigint':
      return `${value}n`;
    case 'function':
    case 'symbol':
      return `a ${typeof value}`;
    case 'object':
      return value === null ? 'null' : describeObject(value);
    default:
      return String(value);
  }
}

function describeObject(value: object): string {
  if (Array.isArray(value)) {
    return 'a list';
  }
  return isTable(value) ? 'a table' : value instanceof Date ? 'a date' : 'an object of a class';
}

/** Whether `value` is a table, not a list, a date or a plain value. */
export function isTable(value: unknown): value is TomlTable {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  // Another realm's plain objects are plain, too.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The tables where `key` would be right. */
function homesOf(key: string): string[] {
  const within = (...tables: TableName[]) =>
    tables.filter((table) => Object.hasOwn(KEYS[table], key)).map((table) => TABLE_TITLES[table]);
  const homes = within('top', 'proxy', 'listener', 'backend');
  return homes.length > 0 ? homes : within('host', 'route');
}

function wrongChoice(
  text: string,
  values: readonly string[],
  reasons: Readonly<Record<string, string>>,
): [message: string, suggestion: string | null] {
  const expectation = `expected ${values.map((value) => JSON.stringify(value)).join(', ')}`;
  const reason = Object.hasOwn(reasons, text) ? reasons[text] : undefined;
  if (reason !== undefined) {
    return [`"${text}" is refused: ${reason}; ${expectation}`, null];
  }
  return [`${expectation}, got ${describe(text)}`, nearest(text, values)];
}
