/**
 * The first pgtls's names of today's keys, by table. Imports types only.
 *
 * `mtls` and `tls_enabled` stand for sslmode but have values of their own; sslmode.ts gives them their meaning.
 */
import type { KeyPath } from './diagnostics.ts';
import type { TableName } from './keys.ts';

/** Today's key and the first pgtls's. */
export type AliasPair = readonly [key: string, alias: string];

const RENAMED: Readonly<Record<TableName, readonly AliasPair[]>> = {
  top: [],
  admin: [],
  proxy: [],
  listener: [
    ['ssl_cert_file', 'server_cert'],
    ['ssl_key_file', 'server_key'],
    ['ssl_ca_file', 'client_ca'],
  ],
  backend: [
    ['sslrootcert', 'root_ca'],
    ['sslcert', 'client_cert'],
    ['sslkey', 'client_key'],
  ],
  host: [],
  route: [],
};

const REPLACED: Readonly<Record<TableName, readonly AliasPair[]>> = {
  top: [],
  admin: [],
  proxy: [],
  listener: [['sslmode', 'mtls']],
  backend: [['sslmode', 'tls_enabled']],
  host: [],
  route: [],
};

/** Pairs that must not stand together in one table. */
export function aliasPairs(table: TableName): readonly AliasPair[] {
  return [...RENAMED[table], ...REPLACED[table]];
}

/** The other name under which a value of `key` may stand, or null. */
export function aliasOf(table: TableName, key: string): string | null {
  return RENAMED[table].find((pair) => pair[0] === key)?.[1] ?? null;
}

/** The kind of the table at `path`; what has no aliases counts as `proxy`. */
export function tableOf(path: KeyPath): TableName {
  const [parent, table] = [path.at(-2), path.at(-1)];
  if (table === 'backend' || parent === 'backends') {
    return 'backend';
  }
  return table === 'listener' ? 'listener' : 'proxy';
}

/** Today's name of `key` in the table at `path`, whichever spelling it has. */
export function canonicalKey(path: KeyPath, key: string): string {
  return RENAMED[tableOf(path)].find((pair) => pair[1] === key)?.[0] ?? key;
}
