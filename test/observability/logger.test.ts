/** The shape of the log. */
import { Writable } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/config/diagnostics.ts';
import { PgtlsError } from '../../src/errors.ts';
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

  it('carries what pgtls throws with its type and code, once and without a stack', () => {
    const { lines, destination } = capture();
    const logger = createLogger({ level: 'error', format: 'json', destination });
    const cause = new Error('no PEM in it');
    const err = new PgtlsError('PGTLS_TLS_CONFIG_INVALID', 'no PEM in it', { cause });
    logger.error({ event: 'cert.reload', err }, 'failed');
    const place = { keyPath: 'workers', line: 1, column: 2, suggestion: null };
    const diagnostics = [{ ...place, message: 'expected a number' }];
    logger.error({ event: 'config.reload', err: new ConfigError('p.toml', diagnostics) }, 'failed');
    const code = 'PGTLS_CONFIG_INVALID';
    const message = 'p.toml:1:2: workers: expected a number';
    expect(lines.map((line) => JSON.parse(line).err)).toEqual([
      { type: 'PgtlsError', code: err.code, message: err.message },
      { type: 'ConfigError', code, message, file: 'p.toml', diagnostics },
    ]);
  });

  it('is for people when it is pretty', async () => {
    const { lines, destination } = capture();
    const logger = createLogger({ level: 'info', format: 'pretty', destination });
    logger.info({ event: 'listener.bind' }, 'listening');
    await vi.waitFor(() => expect(lines.join('')).toMatch(/INFO.*listening/));
    expect(lines.join('')).not.toMatch(/^{/);
  });
});
