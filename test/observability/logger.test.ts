/** The shape of the log. */
import { Writable } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { createLogger } from '../../src/observability/logger.ts';

function capture() {
  const lines: string[] = [];
  const destination = new Writable({
    decodeStrings: false,
    write: (line, _encoding, done) => {
      lines.push(String(line));
      done();
    },
  });
  return { lines, destination };
}

describe('the log', () => {
  it('is one flat JSON object a line, with time and level in words', () => {
    const { lines, destination } = capture();
    const logger = createLogger({ level: 'info', format: 'json', destination });
    logger.info({ event: 'listener.bind', route: 'orders' }, 'listening');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      event: 'listener.bind',
      route: 'orders',
      msg: 'listening',
    });
  });

  it('leaves out what is below its level', () => {
    const { lines, destination } = capture();
    createLogger({ level: 'warn', format: 'json', destination }).info({}, 'quiet');
    expect(lines).toEqual([]);
  });

  it('carries an error with its code and cause', () => {
    const { lines, destination } = capture();
    const logger = createLogger({ level: 'error', format: 'json', destination });
    const cause = new Error('because');
    const err = Object.assign(new Error('no', { cause }), { code: 'C' });
    logger.error({ event: 'x', err }, 'failed');
    const { err: logged } = JSON.parse(lines[0] ?? '');
    expect(logged).toMatchObject({ message: expect.stringContaining('no'), code: 'C' });
    expect(JSON.stringify(logged)).toContain('because');
  });

  it('is for people when it is pretty', async () => {
    const { lines, destination } = capture();
    const logger = createLogger({ level: 'info', format: 'pretty', destination });
    logger.info({ event: 'listener.bind' }, 'listening');
    await vi.waitFor(() => expect(lines.join('')).toMatch(/INFO.*listening/));
    expect(lines.join('')).not.toMatch(/^{/);
  });
});
