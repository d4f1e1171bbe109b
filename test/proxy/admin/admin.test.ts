/** The admin server around a start and an end of the proxy that the test holds up. */
import { expect, it, onTestFinished, vi } from 'vitest';
import { startProxy } from '../../../src/proxy/proxy.ts';
import { config, proxyConfig } from '../../data-plane/configuration.ts';
import { askAdmin } from '../../support/admin-client.ts';
import { captureLog, FakeDataPlane, type LogLine } from '../fixture.ts';

const ADMIN = {
  bindAddress: { kind: 'tcp', host: '127.0.0.1', port: 0 },
  identity: null,
  authTokenFile: null,
} as const;

function portIn(log: readonly LogLine[]): Promise<number> {
  return vi.waitFor(() => {
    const line = log.find(({ event }) => event === 'admin.bind');
    const port = Number(/:(\d+)$/.exec(String(line?.['listener_addr']))?.[1]);
    expect(port).toBeGreaterThan(0);
    return port;
  });
}

it('says that the proxy starts for as long as it does, and only then that it is there', async () => {
  const { log, logger } = captureLog('info');
  let goOn = () => {};
  const gate = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const starting = startProxy(config([proxyConfig('a')], { admin: ADMIN }), {
    logger,
    createDataPlane: async (options, onEvent) => {
      await gate;
      return new FakeDataPlane(options, onEvent);
    },
  });
  const port = await portIn(log);
  expect(await askAdmin(port, '/readyz')).toMatchObject({ status: 503, body: 'starting\n' });
  expect(await askAdmin(port, '/healthz')).toMatchObject({ status: 200, body: 'alive\n' });
  expect((await askAdmin(port, '/metrics')).body).toContain('pgtls_build_info{');
  expect(JSON.parse((await askAdmin(port, '/status')).body)).toMatchObject({
    readiness: 'starting',
    routes: [],
  });
  goOn();
  const proxy = await starting;
  onTestFinished(() => proxy.close());
  expect(await askAdmin(port, '/readyz')).toMatchObject({
    status: 503,
    body: 'no route has a reachable backend\n',
  });
});

it('goes with a start that fails', async () => {
  const { log, logger } = captureLog('info');
  const starting = startProxy(config([proxyConfig('a')], { admin: ADMIN }), {
    logger,
    createDataPlane: () => Promise.reject(new Error('no data plane')),
  });
  await expect(starting).rejects.toThrow('no data plane');
  await expect(askAdmin(await portIn(log), '/healthz')).rejects.toThrow();
});

it('is the last to end', async () => {
  const { log, logger } = captureLog('info');
  let dataPlane: FakeDataPlane | null = null;
  const proxy = await startProxy(config([proxyConfig('a')], { admin: ADMIN }), {
    logger,
    createDataPlane: async (options, onEvent) => {
      dataPlane = new FakeDataPlane(options, onEvent);
      dataPlane.liveSessions = 1;
      return dataPlane;
    },
  });
  const port = await portIn(log);
  const draining = proxy.drain();
  await vi.waitFor(async () => {
    expect(await askAdmin(port, '/readyz')).toMatchObject({ status: 503, body: 'draining\n' });
  });
  expect((await askAdmin(port, '/metrics')).status).toBe(200);
  (dataPlane as FakeDataPlane | null)?.finishDrain({ drained: 1, cut: 0 });
  await draining;
  await expect(askAdmin(port, '/healthz')).rejects.toThrow();
});
