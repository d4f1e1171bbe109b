import { describe, expect, it } from 'vitest';
import { type Successor, Takeover } from '../../src/proxy/takeover.ts';
import { captureLog } from './fixture.ts';

interface Told {
  readonly takeover: Takeover;
  readonly log: Record<string, unknown>[];
  readonly taken: number[];
  readonly kills: number[];
}

function takeover(ready: () => Promise<void>, deadlineMillis = 60_000): Told {
  const { log, logger } = captureLog('info');
  const taken: number[] = [];
  const kills: number[] = [];
  let pid = 100;
  const launch = (): Successor => {
    pid += 1;
    const own = pid;
    return { pid: own, ready: ready(), kill: () => kills.push(own) };
  };
  const options = { launch, sockets: () => [], logger, deadlineMillis };
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
});
