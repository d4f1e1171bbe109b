/** Keys of libpq's connection strings and of other programs, and how pgtls says the same. May import keys.ts only. */
import type { TableName } from './keys.ts';

const ADDRESS = 'write host and port as one: address = "host:port"';
const BIND_ADDRESS = 'write address and port as one: bind_address = "host:port"';
const FROM_CLIENT = (what: string) => `pgtls passes the client's ${what} on`;

const HINTS: Readonly<Partial<Record<TableName, Readonly<Record<string, string>>>>> = {
  listener: {
    port: BIND_ADDRESS,
    listen: BIND_ADDRESS,
    listen_address: BIND_ADDRESS,
    listen_addresses: BIND_ADDRESS,
    listen_port: BIND_ADDRESS,
  },
  backend: {
    host: ADDRESS,
    hostaddr: ADDRESS,
    port: ADDRESS,
    user: FROM_CLIENT('user'),
    username: FROM_CLIENT('user'),
    password: FROM_CLIENT('password'),
    dbname: FROM_CLIENT('database'),
    database: FROM_CLIENT('database'),
  },
};

/** What to do about a key that `table` doesn't have but others do; null = nothing is known of it. */
export function hintOn(table: TableName, key: string): string | null {
  const hints = HINTS[table] ?? {};
  return Object.hasOwn(hints, key) ? (hints[key] ?? null) : null;
}
