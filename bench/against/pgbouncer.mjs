/** PgBouncer with TLS towards its clients, as a pool of sessions and as a pool of transactions. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../dist/cli/demo/free-port.js';
import { Child } from '../lib/child.mjs';
import { firstLine } from '../lib/machine.mjs';
import { certificateFor, USER } from '../lib/stage.mjs';

/** @typedef {import('../lib/contestants.mjs').Contestant} Contestant */
/** @typedef {import('../lib/contestants.mjs').Setting} Setting */

const PROGRAMS = ['pgbouncer', '/usr/sbin/pgbouncer'];
/** The first version that follows prepared statements through a pool of transactions. */
const FIRST_WITH_PREPARED = [1, 21];

/** @returns {{ program: string, version: string } | null} */
function find() {
  for (const program of PROGRAMS) {
    const version = firstLine(program, ['--version']);
    if (version !== null) {
      return { program, version: version.replace('PgBouncer ', '') };
    }
  }
  return null;
}

const missing = () => (find() === null ? 'PgBouncer is not installed' : null);
const version = () => find()?.version ?? null;

/** Defaults but for limits; its log is written, as everybody's. @param {Setting} setting @param {number} port @param {'session' | 'transaction'} mode */
function configOf({ directory, leg, certificate, port: backend, identity }, port, mode) {
  const { certFile, keyFile } = certificateFor(certificate, directory, identity);
  return `[databases]
* = host=127.0.0.1 port=${backend} user=${USER}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
max_client_conn = 12000
default_pool_size = 500
max_prepared_statements = 100
client_tls_sslmode = require
client_tls_cert_file = ${certFile}
client_tls_key_file = ${keyFile}
server_tls_sslmode = ${leg === 'tls' ? 'require' : 'disable'}
logfile = ${join(directory, 'pgbouncer.log')}
`;
}

/** @param {'session' | 'transaction'} mode @returns {Contestant['start']} */
function starter(mode) {
  return async (setting) => {
    const { directory, place, identity } = setting;
    const found = find();
    if (found === null) {
      throw new Error('PgBouncer is not installed');
    }
    const port = await freePort();
    const file = join(directory, 'pgbouncer.ini');
    const text = configOf(setting, port, mode);
    const knowsPrepared = isAtLeast(found.version, FIRST_WITH_PREPARED);
    writeFileSync(file, knowsPrepared ? text : text.replace(/^max_prepared.*\n/m, ''));
    const child = new Child(place, found.program, ['-q', file], identity.ids);
    await child.accepts(port, 'PgBouncer');
    return { pid: child.pid, port, clientTls: true, stop: () => child.stop() };
  };
}

/** @param {string} text @param {readonly number[]} wanted */
function isAtLeast(text, [wantedMajor = 0, wantedMinor = 0]) {
  const [major = 0, minor = 0] = text.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

/** @type {Contestant} */
export const PGBOUNCER = {
  name: 'pgbouncer',
  kind: 'pooler',
  about:
    'PgBouncer, pool_mode = session: backends are kept and used again, so a new client costs it no login',
  legs: ['plain', 'tls'],
  missing,
  version,
  start: starter('session'),
};

/** @type {Contestant} */
export const PGBOUNCER_TRANSACTION = {
  ...PGBOUNCER,
  name: 'pgbouncer-transaction',
  about: 'PgBouncer, pool_mode = transaction',
  legs: ['plain'],
  lacks: (measure) => {
    if (measure === 'connections') {
      return null;
    }
    if (measure !== 'small-queries') {
      return 'as with session pooling';
    }
    const installed = version() ?? '';
    return isAtLeast(installed, FIRST_WITH_PREPARED)
      ? null
      : `PgBouncer ${installed} takes no prepared statements through a pool of transactions (1.21 does)`;
  },
  start: starter('transaction'),
};
