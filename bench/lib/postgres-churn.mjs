/** Churn against a real PostgreSQL behind the proxy: node-postgres queries, cancels, kills and terminates backends. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { locatePostgres } from '../../dist/cli/demo/postgres-binaries.js';
import { PostgresCluster } from '../../dist/cli/demo/postgres-cluster.js';
import {
  createTemporaryDirectory,
  findServerIdentity,
} from '../../dist/cli/demo/server-identity.js';
import { pause } from './proxy.mjs';

/** @typedef {{ rounds: number, failures: string[] }} Tally */

/** A cluster that removes itself when it is stopped. */
export async function startPostgres() {
  const identity = findServerIdentity();
  const directory = createTemporaryDirectory('pgtls-soak-', identity);
  const remove = () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  try {
    const binaries = await locatePostgres(identity, directory);
    const cluster = await PostgresCluster.create({
      binaries,
      identity,
      directory: join(directory, 'data'),
    });
    await cluster.start();
    return {
      port: cluster.port,
      password: cluster.password,
      stop: async () => {
        await cluster.stop();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/** Plays until `end` (milliseconds since 1970). @param {pg.ClientConfig} config @param {number} players @param {number} end @param {Tally} tally */
export async function postgresChurn(config, players, end, tally) {
  const player = async (/** @type {number} */ number) => {
    for (let round = number; Date.now() < end; round += 1) {
      try {
        await LIVES[round % LIVES.length]?.(config);
      } catch (error) {
        tally.failures.push(
          `postgres round ${round}: ${error instanceof Error ? error.message : error}`,
        );
      }
      tally.rounds += 1;
      await pause(100 + 50 * number);
    }
  };
  await Promise.all(Array.from({ length: players }, (_, number) => player(number)));
}

/** @type {Array<(config: pg.ClientConfig) => Promise<void>>} */
const LIVES = [queries, cancelled, queries, terminated, queries, vanished];

/** @param {pg.ClientConfig} config */
async function connected(config) {
  const client = new pg.Client(config);
  // Those that are killed on purpose are expected to fail, and awaited where they do.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** @param {pg.ClientConfig} config */
async function queries(config) {
  const client = await connected(config);
  const { rows } = await client.query(
    "select n, repeat('x', 1000) as x from generate_series(1, $1::int) n",
    [500],
  );
  if (rows.length !== 500 || rows[499].n !== 500 || rows[499].x.length !== 1000) {
    throw new Error('the answer to a query is wrong');
  }
  await client.end();
}

/** @param {Promise<unknown>} promise @param {string} code */
async function mustFail(promise, code) {
  const outcome = await promise.then(
    () => 'success',
    (error) => error.code ?? error.message,
  );
  if (outcome !== code) {
    throw new Error(`${outcome} in place of ${code}`);
  }
}

/** @param {pg.ClientConfig} config */
async function cancelled(config) {
  const client = await connected(config);
  const other = await connected(config);
  const slow = mustFail(client.query('select pg_sleep(20)'), '57014');
  await untilItSleeps(other, client);
  await other.query('select pg_cancel_backend($1)', [/** @type {any} */ (client).processID]);
  await slow;
  await client.query('select 1');
  await Promise.all([client.end(), other.end()]);
}

/** Waits until the first client's query runs. @param {pg.Client} other @param {pg.Client} client */
async function untilItSleeps(other, client) {
  const pid = /** @type {any} */ (client).processID;
  for (;;) {
    const found = await other.query(
      "select pid from pg_stat_activity where pid = $1 and query like '%pg_sleep%' and state = 'active'",
      [pid],
    );
    if (found.rows.length > 0) {
      return;
    }
    await pause(10);
  }
}

/** @param {pg.ClientConfig} config */
async function terminated(config) {
  const client = await connected(config);
  const other = await connected(config);
  const doomed = mustFail(client.query('select pg_sleep(20)'), '57P01');
  await untilItSleeps(other, client);
  await other.query('select pg_terminate_backend($1)', [/** @type {any} */ (client).processID]);
  await doomed;
  await other.end();
  await client.end().catch(() => undefined);
}

/** @param {pg.ClientConfig} config */
async function vanished(config) {
  const client = await connected(config);
  const running = client.query('select pg_sleep(20)').catch(() => undefined);
  await pause(20);
  /** @type {any} */ (client).connection.stream.destroy();
  await running;
}
