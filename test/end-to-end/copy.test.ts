/**
 * COPY in bulk, both directions, with equal checksums.
 *
 * 100 MB by default; PGTLS_COPY_MEGABYTES=1024 makes it the gigabyte of a release check.
 */
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { copyIn, copyOut } from '../support/copy.ts';
import { material } from '../support/material.ts';
import { openNegotiatedTls, openTcp, startSession } from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';

const MEGABYTES = Number(process.env['PGTLS_COPY_MEGABYTES'] ?? 100);
const MEGABYTE = 1 << 20;
const ROW_BYTES = 1024;
const TIMEOUT_MILLIS = 60_000 + MEGABYTES * 1000;

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const { plain, tls: tlsCluster } = material();
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'plain', backend: plainBackend(plain.port) },
      { name: 'tls', backend: { address: `127.0.0.1:${tlsCluster.port}`, sslmode: 'require' } },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

async function sessionStream(route: string | null, cluster: { port: number }): Promise<Duplex> {
  const channel =
    route === null
      ? await openTcp(cluster.port)
      : await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  await startSession(channel);
  onTestFinished(() => channel.destroy());
  return channel.release();
}

/** Rows of 1024 bytes, each different, the newline included. */
const ROWS = `copy (select rpad(md5(n::text), ${ROW_BYTES - 1}, md5((n * 7)::text)) from generate_series(1, ${
  (MEGABYTES * MEGABYTE) / ROW_BYTES
}) n) to stdout`;

describe.each(['plain', 'tls'])('through route %s', (route) => {
  const cluster = () => (route === 'plain' ? material().plain : material().tls);

  test(`COPY TO STDOUT of ${MEGABYTES} MB has the checksum of the direct way`, {
    timeout: TIMEOUT_MILLIS,
  }, async () => {
    const direct = await copyOut(await sessionStream(null, cluster()), ROWS);
    const proxied = await copyOut(await sessionStream(route, cluster()), ROWS);

    expect(direct.bytes).toBe(MEGABYTES * MEGABYTE);
    expect(proxied).toEqual(direct);
  });

  test(`COPY FROM STDIN of ${MEGABYTES} MB is read back with the checksum of what was sent`, {
    timeout: TIMEOUT_MILLIS,
  }, async () => {
    const table = `copied_in_${route}`;
    const stream = await sessionStream(route, cluster());
    const block = Buffer.from(
      Array.from(
        { length: 64 },
        (_, n) => `${String(n).padEnd(ROW_BYTES - 1, 'abcdefghij')}\n`,
      ).join(''),
    );
    await copyOut(stream, `create unlogged table ${table} (line text)`);
    const sent = await copyIn(
      stream,
      `copy ${table} from stdin`,
      block,
      (MEGABYTES * MEGABYTE) / block.length,
    );
    const readBack = await copyOut(await sessionStream(null, cluster()), `copy ${table} to stdout`);
    await copyOut(stream, `drop table ${table}`);

    expect(readBack).toEqual(sent);
  });
});
