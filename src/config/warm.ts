/**
 * warm_connections and warm_max_age.
 *
 * May import the other files of config/ only.
 */
import type { WarmConfig } from './schema.ts';
import type { TableReader } from './table-reader.ts';

/** More would keep a server busy with forking without a client in sight. */
const MAX_CONNECTIONS = 1024;
/** PostgreSQL's default of authentication_timeout, and the most that it can be set to. */
const AUTHENTICATION_TIMEOUT_MILLIS = 60_000;
const MAX_AUTHENTICATION_TIMEOUT_MILLIS = 600_000;

/** Reads how many connections are made ahead; null = none. */
export function readWarm(reader: TableReader): WarmConfig | null {
  const connections = reader.integer('warm_connections', 0, { min: 0, max: MAX_CONNECTIONS });
  const maxAgeMillis = reader.duration('warm_max_age', 30_000, {
    min: 1000,
    max: MAX_AUTHENTICATION_TIMEOUT_MILLIS,
  });
  if (connections === 0) {
    return null;
  }
  if (maxAgeMillis >= AUTHENTICATION_TIMEOUT_MILLIS) {
    const message =
      "is not less than the default of PostgreSQL's authentication_timeout, 1 min, after which a server ends " +
      'a connection that has not logged in';
    reader.context.problems.warn(reader.pathOf('warm_max_age'), message);
  }
  return { connections, maxAgeMillis };
}
