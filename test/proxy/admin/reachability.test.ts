import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { BackendAddress } from '../../../src/config/schema.ts';
import { Reachability } from '../../../src/proxy/admin/reachability.ts';
import { until } from '../../support/until.ts';

/** A server that counts its connections. */
async function counting(path?: string): Promise<{ server: Server; count: () => number }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on('error', () => undefined).resume();
  });
  server.listen(path ?? { port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return { server, count: () => connections };
}

function addressOf(server: Server): BackendAddress {
  return { kind: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

async function gone(): Promise<BackendAddress> {
  const { server } = await counting();
  const address = addressOf(server);
  server.close();
  await once(server, 'close');
  return address;
}

it('finds the one that is there among those that are not', async () => {
  const { server } = await counting();
  const reachability = new Reachability();
  expect(await reachability.any([await gone(), addressOf(server), await gone()])).toBe(true);
  expect(await reachability.any([await gone()])).toBe(false);
  expect(await reachability.any([])).toBe(false);
});

it('reaches unix sockets', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-reach-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'socket');
  await counting(path);
  const reachability = new Reachability();
  expect(await reachability.any([{ kind: 'unix', path }])).toBe(true);
  expect(await reachability.any([{ kind: 'unix', path: `${path}-not` }])).toBe(false);
});

it('connects once for all who ask at the same time, and not again within a second', async () => {
  const { server, count } = await counting();
  const reachability = new Reachability();
  const addresses = [addressOf(server)];
  const begun = performance.now();
  await Promise.all(Array.from({ length: 50 }, () => reachability.any(addresses)));
  await reachability.any(addresses);
  const took = performance.now() - begun;
  await until('it was connected to', () => count() > 0);
  if (took < 1_000) {
    expect(count()).toBe(1);
  }
});

it('looks again when a second has passed', async () => {
  const { server } = await counting();
  const reachability = new Reachability();
  const addresses = [addressOf(server)];
  expect(await reachability.any(addresses)).toBe(true);
  server.close();
  await until('it is noticed', async () => !(await reachability.any(addresses)));
});

it('leaves the others alone while the one that answered last still does', async () => {
  const [one, other] = [await counting(), await counting()];
  const reachability = new Reachability();
  expect(await reachability.any([addressOf(one.server)])).toBe(true);
  const both = [addressOf(other.server), addressOf(one.server)];
  expect(await reachability.any(both)).toBe(true);
  expect(other.count()).toBe(0);
});
