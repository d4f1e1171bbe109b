/** What an embedding program is told when a part of the data plane dies; what the data plane tells is put into its mouth here. */
import { expect, it, onTestFinished, vi } from 'vitest';
import type { DataPlaneEvent } from '../../../src/data-plane/data-plane.ts';
import { createProxy, PgtlsError } from '../../../src/index.ts';
import { report } from '../../data-plane/report-fixture.ts';

let tell: (event: DataPlaneEvent) => void = () => {};

vi.mock(import('../../../src/data-plane/data-plane.ts'), async (original) => {
  const real = await original();
  return {
    ...real,
    startDataPlane: (options, onEvent) => {
      tell = onEvent;
      return real.startDataPlane(options, onEvent);
    },
  };
});

async function embed() {
  const proxy = createProxy({
    proxy: [
      {
        name: 'a',
        listener: { bind_address: '127.0.0.1:0', sslmode: 'disable' },
        backend: { address: '127.0.0.1:1' },
      },
    ],
  });
  onTestFinished(() => proxy.close());
  await proxy.listen();
  return proxy;
}

it('a worker that was restarted is an error event, which nobody has to listen to', async () => {
  const proxy = await embed();
  tell({ type: 'worker-restarted', worker: 1, reason: 'it panicked' });
  const errors: PgtlsError[] = [];
  proxy.on('error', (error) => void errors.push(error));
  tell({ type: 'worker-restarted', worker: 2, reason: 'it panicked' });
  tell({ type: 'thread-restarted', thread: 'keeper', reason: 'so did this' });
  expect(errors.every((error) => error instanceof PgtlsError)).toBe(true);
  expect(errors.map(({ code, message }) => [code, message])).toEqual([
    ['PGTLS_WORKER_RESTARTED', 'worker 2 was restarted: it panicked'],
    ['PGTLS_WORKER_RESTARTED', 'thread keeper was restarted: so did this'],
  ]);
  expect(proxy.stats().phase).toBe('ready');
});

it('a session listener that throws keeps no other report from being told', async () => {
  const uncaught = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(() => {});
  onTestFinished(() => uncaught.mockRestore());
  const proxy = await embed();
  const told: number[] = [];
  proxy.on('session', ({ connectionId }) => {
    told.push(connectionId);
    throw new Error('mine');
  });
  const reports = [
    report({ connectionId: 1, routeId: 0 }),
    report({ connectionId: 2, routeId: 0 }),
  ];
  tell({ type: 'connections-closed', reports });
  expect(told).toEqual([1, 2]);
  expect(uncaught).toHaveBeenCalledTimes(2);
});
