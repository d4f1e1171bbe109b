import { describe, expect, it } from 'vitest';
import { RouteIds } from '../../src/proxy/route-ids.ts';
import { ServiceManager } from '../../src/proxy/service-manager.ts';
import { ProxyState } from '../../src/proxy/state.ts';
import { captureLog } from './fixture.ts';

function manager(notify: (message: string) => void) {
  const { log, logger } = captureLog('info');
  const state = new ProxyState();
  const told = { notify, state, watchdogMicros: 0, monotonicMicros: () => 7n, logger };
  return { log, state, manager: new ServiceManager(told) };
}

describe('the service manager', () => {
  it('hears of a reload only while the proxy is ready', () => {
    const messages: string[] = [];
    const { state, manager: told } = manager((message) => messages.push(message));
    told.reload('begins');
    state.enter('ready');
    told.reload('begins');
    state.enter('draining');
    told.reload('ends');
    const firsts = messages.map((message) => message.split('\n')[0]);
    expect(firsts).toEqual(['READY=1', 'RELOADING=1', 'STOPPING=1']);
    expect(messages[1]).toContain('MONOTONIC_USEC=7');
  });

  it('that cannot be told is one warning, and harms nothing', () => {
    const { log, state } = manager(() => {
      throw new Error('no such socket');
    });
    state.enter('ready');
    state.enter('draining');
    expect(log).toEqual([expect.objectContaining({ level: 'warn', event: 'service.notify' })]);
  });
});

describe('a state', () => {
  it('never goes back', () => {
    const state = new ProxyState();
    state.enter('draining');
    state.enter('ready');
    expect(state.phase).toBe('draining');
  });
});

describe('route ids', () => {
  it('belong to names for good', () => {
    const ids = new RouteIds();
    expect(['a', 'b', 'a', 'c'].map((name) => ids.idOf(name))).toEqual([0, 1, 0, 2]);
    expect(ids.names).toEqual(['a', 'b', 'c']);
  });
});
