import { describe, expect, it, vi } from 'vitest';
import { type Successor, Takeover } from '../../src/proxy/takeover.ts';
import { captureLog } from './fixture.ts';

interface Told {
  readonly takeover: Takeover;
  readonly log: Record<string, unknown>[];
  readonly taken: number[];
  readonly kills: number[];
}

function takeover(
  ready: () => Promise<void>,
  deadlineMillis = 60_000,
  reloaded: Promise<void> | null = null,
): Told {
  const { log, logger } = captureLog('info');
  const taken: number[] = [];
  const kills: number[] = [];
  let pid = 100;
  const launch = (): Successor => {
    pid += 1;
    const own = pid;
    return { pid: own, ready: ready(), kill: () => kills.push(own) };
  };
  const whileUnchanged = (work: () => Promise<void>) => reloaded?.then(work) ?? work();
  const options = { launch, sockets: () => [], whileUnchanged, logger, deadlineMillis };
  const made = new Takeover({ ...options, onTaken: (successor) => taken.push(successor) });
  return { takeover: made, log, taken, kills };
}

describe('a takeover', () => {
  it('happens once', async () => {
    const told = takeover(() => Promise.resolve());
    await told.takeover.begin();
    await told.takeover.begin();
    expect(told).toMatchObject({ taken: [101], kills: [] });
    expect(told.log.at(-1)).toMatchObject({ event: 'takeover', result: 'ignored' });
  });

  it('that fails ends the successor, says why, and may be tried again', async () => {
    const results = [Promise.reject(new Error('no key')), Promise.resolve()];
    const told = takeover(() => results.shift() ?? Promise.resolve());
    await told.takeover.begin();
    expect(told.log.at(-1)).toMatchObject({ result: 'failure', err: { message: 'no key' } });
    await told.takeover.begin();
    expect(told).toMatchObject({ taken: [102], kills: [101] });
  });

  it('takes no longer than its deadline', async () => {
    const told = takeover(() => new Promise(() => {}), 1);
    await told.takeover.begin();
    expect(told).toMatchObject({ taken: [], kills: [101] });
    expect(told.log.at(-1)).toMatchObject({ level: 'error', result: 'failure' });
  });

  it('is one at a time, and ends with the process that it would replace', async () => {
    let fail: (error: Error) => void = () => {};
    const told = takeover(
      () =>
        new Promise((_resolve, reject) => {
          fail = reject;
        }),
    );
    const first = told.takeover.begin();
    await told.takeover.begin();
    expect(told.log.at(-1)).toMatchObject({ result: 'ignored' });
    told.takeover.abort();
    expect(told.kills).toEqual([101]);
    fail(new Error('killed'));
    await first;
    await told.takeover.begin();
    expect(told.taken).toEqual([]);
    expect(told.log.at(-1)).toMatchObject({ result: 'ignored' });
  });

  it('is not begun when the process is told to end while a reload is waited for', async () => {
    let end = () => {};
    const reloaded = new Promise<void>((resolve) => {
      end = resolve;
    });
    const told = takeover(() => Promise.resolve(), 60_000, reloaded);
    const first = told.takeover.begin();
    await told.takeover.begin();
    expect(told.log.at(-1)).toMatchObject({ result: 'ignored' });
    told.takeover.abort();
    end();
    await first;
    expect(told).toMatchObject({ taken: [], kills: [] });
  });

  it('does not wait for ever for a reload, and does nothing once it was given up', async () => {
    let end = () => {};
    const reloaded = new Promise<void>((resolve) => {
      end = resolve;
    });
    const told = takeover(() => Promise.resolve(), 1, reloaded);
    await told.takeover.begin();
    const err = { message: 'a reload under way was not ready within 1 ms' };
    expect(told.log.at(-1)).toMatchObject({ result: 'failure', err });
    end();
    await reloaded;
    expect(told).toMatchObject({ taken: [], kills: [] });
  });

  it('that has succeeded is not ended by the end of the predecessor', async () => {
    const told = takeover(() => Promise.resolve());
    const { takeover: made, taken } = told;
    const begun = made.begin();
    await vi.waitFor(() => expect(taken).toEqual([101]));
    made.abort();
    await begun;
    made.abort();
    expect(told.kills).toEqual([]);
  });
});
